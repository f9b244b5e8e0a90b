# Numba compiles these functions; to mypy they are untyped.
# mypy: ignore-errors
"""The native hook: counts, times and checks every instruction at some ten nanoseconds apiece.

Unicorn calls :data:`ON_INSTRUCTION` (a numba ``cfunc``, by its C address) before each instruction. It finds
the instruction's decoded row, computes the address of its access from the registers (a memory hook would
corrupt IT blocks), and updates counters that live in numpy arrays. Everything that it reads and writes is
in the layouts below; they stay in this file because numba's cache follows one file's changes.
"""

import ctypes

import numpy as np
from llvmlite import binding as llvm
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic
from unicorn.unicorn_py3.unicorn import uclib

# What an instruction does to memory, and how the pipeline sees it.
OTHER, LOAD, STORE, LOAD_MANY, STORE_MANY = range(5)

# Flags of a row.
BRANCH = 1  # may change the PC
CONDITIONAL = 2  # may fall through (Bcc, CBZ; inside an IT block a branch that runs is taken)
IT_BLOCK = 4  # the IT instruction itself
MUST_ALIGN = 8  # faults on an address that is no multiple of 4
DIVIDE = 16
SIGNED = 32
WRITES_SP = 64
UNDEFINED = 128
ACCESSES = 256  # moves data between the core and memory

# Why the run stopped, besides returning.
RUNNING, NOT_DECODED, FAULT_UNMAPPED, FAULT_READ_ONLY, FAULT_UNALIGNED = range(5)
FAULT_UNDEFINED, FAULT_STACK, FAULT_DIVIDE, BUDGET = range(5, 9)

LITERAL = 0xFFFF  # a base "register": the row's offset is the address

ROW = np.dtype(
    [
        ("executed", "i8"),
        ("cycles", "i8"),
        ("offset", "i8"),
        ("address_registers", "u4"),  # bit n for rn, as the four masks below
        ("loaded", "u4"),  # written by a load, late for the next load's address
        ("late", "u4"),  # written too late for the next instruction's address
        ("float_reads", "u4"),  # bit n for sn; the addend of an accumulation is not among them
        ("float_late", "u4"),  # a result that the next instruction should not read
        ("flags", "u2"),
        ("base", "u2"),  # Unicorn's register number, LITERAL, or 0
        ("index", "u2"),
        ("shift", "u1"),
        ("kind", "u1"),
        ("size", "u1"),  # bytes of the instruction
        ("cost", "u1"),
        ("refill", "u1"),  # cycles beyond `cost` when the branch is taken
        ("words", "u1"),  # accesses
        ("width", "u1"),  # bytes of each
        ("divisor", "u1"),  # Unicorn's register number
        ("dividend", "u1"),
    ],
    align=True,
)

STATE = np.dtype(
    [
        ("instructions", "i8"),
        ("skips", "i8"),
        ("cycles", "i8"),
        ("stop", "i8"),
        ("stop_address", "u8"),  # of the instruction
        ("fault_address", "u8"),  # of the access
        ("budget", "i8"),
        ("exit", "u8"),
        ("here", "u8"),  # the address of this record
        ("last", "i8"),  # row of the instruction executed last, 0 for none
        ("previous", "i8"),  # row that stands before this one in the pipeline, 0 for none
        ("expected", "u8"),  # the address after the last instruction
        ("watch_stack", "i8"),  # the previous instruction wrote SP
        ("stack_limit", "u8"),
        ("stack_low", "u8"),
        ("trap_divide", "i8"),
        ("register", "u8"),  # where uc_reg_read puts its answer
        ("load_after_load", "i8"),  # rules of timing.py that depend on what came before
        ("access_after_store", "i8"),
        ("address_interlock", "i8"),
        ("unaligned_halfword", "i8"),
        ("unaligned_word", "i8"),
        ("unaligned_word_odd", "i8"),
        ("refill_unaligned", "i8"),
        ("skipped", "i8"),
        ("float_result", "i8"),
        ("divide_zero", "i8"),
        ("divide", "i8"),
        ("rows", "u8"),  # addresses of the arrays
        ("code_pages", "u8"),
        ("code_map", "u8"),
        ("data_pages", "u8"),
        ("data_map", "u8"),
        ("writable", "u8"),
        ("counts", "u8"),
    ],
    align=True,
)

# The rules of timing.py that the hook applies itself, since they depend on what happens at run time.
RULES = (
    *("load_after_load", "access_after_store", "address_interlock", "float_result", "refill_unaligned"),
    *("unaligned_halfword", "unaligned_word", "unaligned_word_odd", "skipped", "divide_zero", "divide"),
)

PAGE = 4096  # both maps are arrays of pages, and a table of 2**20 gives the page of an address
LOADS, LOAD_BYTES, STORES, STORE_BYTES = range(4)

_SP = 12  # UC_ARM_REG_SP
_REGISTER = STATE.fields["register"][1]
_ROW_SIZE = ROW.itemsize

llvm.add_symbol("memaopt_uc_reg_read", ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value)
llvm.add_symbol("memaopt_uc_emu_stop", ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value)
_reg_read = types.ExternalFunction("memaopt_uc_reg_read", types.int32(types.voidptr, types.int32, types.voidptr))
_emu_stop = types.ExternalFunction("memaopt_uc_emu_stop", types.int32(types.voidptr))


@intrinsic
def _pointer(context, address):
    """The address, an integer, as a C pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.uint64), generate


@njit(inline="always")
def _register(uc, s, here, number):
    s.register = np.uint64(0)
    _reg_read(uc, np.int32(number), _pointer(here + np.uint64(_REGISTER)))
    return s.register & np.uint64(0xFFFFFFFF)


@njit(inline="always")
def _row_at(s, address):
    """The number of the row decoded for an address, 0 if there is none."""
    pages = carray(_pointer(s.code_pages), (1 << 20,), np.uint32)
    rows = carray(_pointer(s.code_map), (1 << 40,), np.uint32)
    page = np.uint64(pages[address >> np.uint64(12)])
    return np.int64(rows[page * np.uint64(PAGE // 2) + ((address & np.uint64(PAGE - 1)) >> np.uint64(1))])


@njit(inline="always")
def _buffer_at(s, address):
    """The number of the buffer that holds a byte, 0 if nothing is mapped there."""
    pages = carray(_pointer(s.data_pages), (1 << 20,), np.uint32)
    buffers = carray(_pointer(s.data_map), (1 << 40,), np.uint16)
    page = np.uint64(pages[address >> np.uint64(12)])
    return np.uint64(buffers[page * np.uint64(PAGE) + (address & np.uint64(PAGE - 1))])


@njit(inline="always")
def _bits(x):
    n = 0
    while x:
        x >>= np.uint64(1)
        n += 1
    return n


@njit(inline="always")
def _stop(uc, s, reason, address, access):
    s.stop = reason
    s.stop_address = address
    s.fault_address = access
    _emu_stop(uc)


@njit
def _account_skipped(s, rows, address):
    """Cost of the instructions between the previous one and this: those that an IT block skipped."""
    at = s.expected
    while at < address:
        n = _row_at(s, at)
        if n == 0:
            break
        rows[n].cycles += s.skipped
        s.cycles += s.skipped
        s.skips += 1
        at += np.uint64(rows[n].size)
    s.previous = 0


@njit
def _division(uc, s, here, row):
    """Cycles of a division beyond the row's cost, -1 for a divisor of zero."""
    divisor = _register(uc, s, here, row.divisor)
    dividend = _register(uc, s, here, row.dividend)
    if divisor == 0:
        return np.int64(-1)
    if row.flags & SIGNED:
        if dividend >> np.uint64(31):
            dividend = np.uint64(0x100000000) - dividend
        if divisor >> np.uint64(31):
            divisor = np.uint64(0x100000000) - divisor
    quotient = dividend // divisor
    if quotient == 0:
        return s.divide_zero
    return s.divide + np.int64((_bits(quotient) + 3) // 4)


@njit
def _access(uc, s, here, row, before, address):
    """Checks and counts the memory accesses of an instruction; their cycles beyond its cost, -1 for a fault."""
    at = np.uint64(row.offset)
    if row.base != LITERAL:
        at += _register(uc, s, here, row.base)
    if row.index != 0:
        at += _register(uc, s, here, row.index) << np.uint64(row.shift)
    at &= np.uint64(0xFFFFFFFF)

    store = row.kind == STORE or row.kind == STORE_MANY
    width = np.uint64(row.width)
    if row.flags & MUST_ALIGN and at & np.uint64(3):
        _stop(uc, s, FAULT_UNALIGNED, address, at)
        return np.int64(-1)
    writable = carray(_pointer(s.writable), (1 << 16,), np.uint8)
    counts = carray(_pointer(s.counts), (1 << 16, 4), np.int64)
    column = STORES if store else LOADS
    for i in range(np.uint64(row.words)):
        byte = (at + i * width) & np.uint64(0xFFFFFFFF)
        buffer = _buffer_at(s, byte)
        if buffer == 0 or (width > 1 and _buffer_at(s, (byte + width - np.uint64(1)) & np.uint64(0xFFFFFFFF)) == 0):
            _stop(uc, s, FAULT_UNMAPPED, address, byte)
            return np.int64(-1)
        if store and not writable[buffer]:
            _stop(uc, s, FAULT_READ_ONLY, address, byte)
            return np.int64(-1)
        counts[buffer, column] += 1
        counts[buffer, column + 1] += np.int64(width)

    extra = np.int64(0)
    if before.kind == STORE or before.kind == STORE_MANY:
        extra += s.access_after_store
    elif before.kind == LOAD and row.kind == LOAD and not (before.loaded & row.address_registers):
        extra += s.load_after_load - np.int64(row.cost)
    if before.late & row.address_registers:
        extra += s.address_interlock
    if width == 4:
        if at & np.uint64(1):
            extra += s.unaligned_word_odd
        elif at & np.uint64(2):
            extra += s.unaligned_word
    elif width == 2 and at & np.uint64(1):
        extra += s.unaligned_halfword
    return extra


@njit
def _instruction(uc, address, s, here):
    rows = carray(_pointer(s.rows), (1 << 30,), ROW)
    if s.watch_stack:
        s.watch_stack = 0
        sp = _register(uc, s, here, _SP)
        if sp < s.stack_low:
            s.stack_low = sp
            if sp < s.stack_limit:
                _stop(uc, s, FAULT_STACK, s.expected, sp)
                return
    n = np.int64(0)
    if address != s.exit:
        n = _row_at(s, address)
        if n == 0:
            _stop(uc, s, NOT_DECODED, address, address)
            return
    row = rows[n]

    last = rows[s.last]
    if address != s.expected or not last.flags & CONDITIONAL:
        if last.flags & BRANCH:
            refill = np.int64(last.refill)
            if row.size == 4 and address & np.uint64(2):
                refill += s.refill_unaligned
            last.cycles += refill
            s.cycles += refill
        elif address != s.expected:
            _account_skipped(s, rows, address)
    if n == 0:
        return
    if s.instructions >= s.budget:
        _stop(uc, s, BUDGET, address, address)
        return

    before = rows[s.previous]
    cycles = np.int64(row.cost)
    flags = row.flags
    if flags & (UNDEFINED | DIVIDE):
        if flags & UNDEFINED:
            _stop(uc, s, FAULT_UNDEFINED, address, address)
            return
        extra = _division(uc, s, here, row)
        if extra < 0:
            if s.trap_divide:
                _stop(uc, s, FAULT_DIVIDE, address, address)
                return
            extra = s.divide_zero
        cycles += extra
    if flags & ACCESSES:
        extra = _access(uc, s, here, row, before, address)
        if s.stop:
            return
        cycles += extra
    if before.float_late & row.float_reads:
        cycles += s.float_result
    if flags & WRITES_SP:
        s.watch_stack = 1
    row.executed += 1
    row.cycles += cycles
    s.cycles += cycles
    s.instructions += 1
    s.expected = address + np.uint64(row.size)
    s.last = n
    # A folded IT takes no place in the pipeline: what stood before it still stands before its successor.
    if not flags & IT_BLOCK:
        s.previous = n


def _hook(uc, address, size, here):
    s = carray(here, 1, STATE)[0]
    _instruction(uc, address, s, s.here)


_SIGNATURE = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)


def _compiled() -> int:
    """The hook's C address. Numba keeps the machine code in its cache, where there is a folder for it."""
    try:
        hook = cfunc(_SIGNATURE, cache=True)(_hook)
    except RuntimeError:  # no folder that can be written
        hook = cfunc(_SIGNATURE)(_hook)
    return int(hook.address)


ON_INSTRUCTION = _compiled()
