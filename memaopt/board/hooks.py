"""The native hook: counts, times and checks every instruction at some twenty nanoseconds apiece.

Unicorn calls the function at :data:`ON_INSTRUCTION` (a numba ``cfunc``, by its C address) before each
instruction. It finds the instruction's decoded row, computes the address of its access from the registers
(a memory hook would corrupt IT blocks), and updates the counters and clocks of :mod:`memaopt.board.layout`.
"""

# Numba compiles these functions; to mypy they are untyped.
# mypy: ignore-errors

from hashlib import sha256
from pathlib import Path

import numpy as np
from numba import carray, cfunc, njit, types

from memaopt.board import layout
from memaopt.board.fetch import contend, issue, restart, speculate_branch
from memaopt.board.layout import IDEAL, LOAD, LOADS, REAL, ROW, STATE, STORE, STORE_MANY, STORES
from memaopt.board.memories import bank_cost, data_wait, memory_at
from memaopt.board.native import buffer_at, emu_stop, forget_row, pointer, register, row_at
from memaopt.board.system import note_access, see_stores

_SP = 12  # UC_ARM_REG_SP
_MASK = np.uint64(0xFFFFFFFF)
_PERIPHERALS = np.uint64(0x4000_0000)
_ONE = np.uint64(1)
_MOST_STACK = np.uint64(1 << 20)


@njit
def _stop(uc, s, reason, address, access):
    s.stop = reason
    s.stop_address = address
    s.fault_address = access
    emu_stop(uc)


@njit
def _spend(s, row, cycles):
    """Cycles of the core itself, the same with and without wait states."""
    s.lanes[IDEAL].cycles += cycles
    row.cycles[IDEAL] += cycles
    if s.waits:
        s.lanes[REAL].cycles += cycles
        row.cycles[REAL] += cycles


@njit
def _issue(s, row, address):
    """Wait for the instruction to be fetched."""
    row.cycles[IDEAL] += issue(s, s.lanes[IDEAL], address, row.size, False)
    if s.waits:
        row.cycles[REAL] += issue(s, s.lanes[REAL], address, row.size, True)


@njit
def _arrive(s, rows, address, size):
    """How the core came here: by a taken branch, or past instructions that an IT block skipped."""
    last = rows[s.last]
    if address == s.expected and (last.flags & layout.CONDITIONAL or not last.flags & layout.BRANCH):
        if s.waits and last.flags & layout.CONDITIONAL:
            speculate_branch(s, s.lanes[REAL], np.uint64(last.offset))
        return
    if last.flags & layout.BRANCH:
        _spend(s, last, np.int64(last.refill))
        restart(s, s.lanes[IDEAL], address, size, False)
        if s.waits:
            restart(s, s.lanes[REAL], address, size, True)
        return
    at = s.expected
    while at < address:
        n = row_at(s, at)
        if n == 0:
            break
        _issue(s, rows[n], at)
        _spend(s, rows[n], s.skipped)
        s.skips += 1
        s.previous = 0
        at += np.uint64(rows[n].size)


@njit
def _whole(lane):
    """The whole cycles of what loads have cost in sixteenths."""
    whole = lane.sixteenths >> 4
    lane.sixteenths &= 15
    return whole


@njit
def _wait(s, row, memory, at, width, words, store, table):
    """Wait states of an instruction's accesses to one memory, from cycle ``lane.cycles`` on."""
    lane = s.lanes[REAL]
    now = lane.cycles
    wait = max(np.int64(0), lane.stored - now)
    contend(s, lane, memory, now + wait, np.int64(words))
    if s.bank_count and not store:
        lane.sixteenths += np.int64(words) * bank_cost(s, at)
    # A single store leaves its wait states to the store buffer.
    buffered = store and words == 1
    for i in range(np.uint64(words)):
        states = data_wait(memory, at + i * width, width, now + wait + np.int64(i))
        if buffered:
            lane.stored = now + wait + 1 + states
        else:
            wait += states
    if table and memory.first == 0:
        lane.sixteenths += np.int64(words) * s.table_sixteenths
    wait += _whole(lane)
    lane.cycles += wait
    lane.waiting += wait
    row.cycles[REAL] += wait


@njit
def _reason(flags):
    """Why an instruction that stops the run does so."""
    if flags & layout.UNDEFINED:
        return layout.FAULT_UNDEFINED
    if flags & layout.SUPERVISOR:
        return layout.FAULT_SUPERVISOR
    if flags & layout.SLEEP:
        return layout.STOP_SLEEP
    if flags & layout.COPROCESSOR:
        return layout.FAULT_COPROCESSOR
    if flags & layout.IN_BLOCK:
        return layout.FAULT_BLOCK
    return layout.STOP_BREAKPOINT if flags & layout.BREAKPOINT else layout.STOP_HALT


@njit
def _watch_stack(uc, s):
    """SP was written: how deep the stack is, and whether SP went to another one."""
    moved = s.watch_stack & layout.MOVES_SP
    s.watch_stack = 0
    sp = register(uc, s, _SP)
    # The limit of one stack may be the top of another, where that begins.
    if moved and not s.stack_limit < sp <= s.stack_top:
        _change_stack(s, sp)
    if sp < s.stack_low:
        s.stack_low = sp
        if sp < s.stack_limit:
            _stop(uc, s, layout.FAULT_STACK, s.last_address, sp)


@njit
def _change_stack(s, sp):
    """SP goes to another stack: the one that it left before, or the object or the free bytes that lie below it."""
    top, limit, low = s.stack_top, s.stack_limit, s.stack_low
    if s.left_limit < sp <= s.left_top:
        s.stack_top, s.stack_limit, s.stack_low = s.left_top, s.left_limit, s.left_low
    else:
        s.left_bytes = max(s.left_bytes, np.int64(s.left_top - s.left_low))
        limit_now, holds = sp, buffer_at(s, (sp - _ONE) & _MASK)
        while holds and buffer_at(s, (limit_now - _ONE) & _MASK) == holds and sp - limit_now < _MOST_STACK:
            limit_now -= _ONE
        s.stack_top, s.stack_limit, s.stack_low = sp, limit_now, sp
    s.left_top, s.left_limit, s.left_low = top, limit, low


@njit
def _division(uc, s, row):
    """Cycles of a division, -1 for a divisor of zero."""
    divisor = register(uc, s, row.divisor)
    dividend = register(uc, s, row.dividend)
    if divisor == 0:
        return np.int64(-1)
    if dividend == 0:
        return s.divide_zero
    if row.flags & layout.SIGNED:
        if dividend >> np.uint64(31):
            dividend = np.uint64(0x100000000) - dividend
        if divisor >> np.uint64(31):
            divisor = np.uint64(0x100000000) - divisor
    longer = _bits(dividend) - _bits(divisor)
    return s.divide_short if longer < 0 else s.divide + (longer + 3) // 4


@njit
def _bits(number):
    bits = np.int64(0)
    while number:
        number >>= _ONE
        bits += 1
    return bits


@njit
def _access(uc, s, row, before, address):
    """Check and count an instruction's memory accesses: their cycles beyond its cost, -1 after a fault."""
    at = np.uint64(row.offset)
    if row.base != layout.LITERAL:
        at += register(uc, s, row.base)
    if row.index != 0:
        at += register(uc, s, row.index) << np.uint64(row.shift)
    at &= _MASK

    store = row.kind == STORE or row.kind == STORE_MANY
    column = STORES if store else LOADS
    width = np.uint64(row.width)
    if row.flags & layout.MUST_ALIGN and at & np.uint64(3):
        _stop(uc, s, layout.FAULT_UNALIGNED, address, at)
        return np.int64(-1)
    writable = carray(pointer(s.writable), (1 << 16,), np.uint8)
    counts = carray(pointer(s.counts), (1 << 16, 4), np.int64)
    if at >= _PERIPHERALS:
        note_access(s, at, at + np.uint64(row.words) * width, store)
    for i in range(np.uint64(row.words)):
        byte = (at + i * width) & _MASK
        buffer = buffer_at(s, byte)
        if buffer == 0 or buffer_at(s, (byte + width - _ONE) & _MASK) == 0:
            _stop(uc, s, layout.FAULT_UNMAPPED, address, byte)
            return np.int64(-1)
        if store and not writable[buffer]:
            _stop(uc, s, layout.FAULT_READ_ONLY, address, byte)
            return np.int64(-1)
        counts[buffer, column] += 1
        counts[buffer, column + 1] += np.int64(width)
        if buffer == s.stack_buffer:
            row.stack[column] += 1
            row.stack[column + 1] += np.int64(width)
        if store:
            forget_row(s, byte, width)
    memory_of = carray(pointer(s.memory_of), (1 << 16,), np.uint8)
    memory = memory_at(s, np.int64(memory_of[buffer_at(s, at)]))
    # A table beside the code: both come from one flash.
    table = not store and memory.array and memory.port == memory_at(s, s.code).port
    ideal = s.lanes[IDEAL]
    if table:
        ideal.sixteenths += np.int64(row.words) * s.table_sixteenths
        whole = _whole(ideal)
        ideal.cycles += whole
        ideal.waiting += whole
        row.cycles[IDEAL] += whole
    ideal.accessed = ideal.cycles
    if s.waits:
        _wait(s, row, memory, at, width, row.words, store, table)
        s.lanes[REAL].accessed = s.lanes[REAL].cycles

    extra = np.int64(0)
    if before.kind == STORE:
        if not store:
            extra += s.load_after_store
    elif before.kind == LOAD and row.kind == LOAD and not (before.loaded & row.address_registers):
        extra += s.load_after_load - np.int64(row.cost)
    if before.late & row.address_registers and row.kind != STORE_MANY:
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
def _instruction(uc, address, s):
    # Inside an IT block the emulator goes on to the block's end.
    if s.stop:
        return
    rows = carray(pointer(s.rows), (1 << 30,), ROW)
    if s.touched_end:
        see_stores(s)
    if s.watch_stack:
        _watch_stack(uc, s)
        if s.stop:
            return
    n = row_at(s, address)
    if n == 0 and address != s.exit:
        _stop(uc, s, layout.NOT_DECODED, address, address)
        return
    _arrive(s, rows, address, rows[n].size)
    if n == 0:
        return
    if address == s.until:
        _stop(uc, s, layout.STOP_UNTIL, address, address)
        return
    if s.instructions >= s.budget:
        _stop(uc, s, layout.BUDGET, address, address)
        return

    row = rows[n]
    _issue(s, row, address)
    before = rows[s.previous]
    flags = row.flags
    cycles = np.int64(row.cost)
    if flags & (layout.STOPS | layout.DIVIDE):
        if flags & layout.STOPS:
            _stop(uc, s, _reason(flags), address, address)
            return
        extra = _division(uc, s, row)
        if extra < 0:
            if s.trap_divide:
                _stop(uc, s, layout.FAULT_DIVIDE, address, address)
                return
            extra = s.divide_zero
        cycles += extra
    if s.fpu_off and flags & layout.FLOAT:
        _stop(uc, s, layout.FAULT_FPU, address, address)
        return
    if flags & layout.ACCESSES:
        extra = _access(uc, s, row, before, address)
        if s.stop:
            return
        cycles += extra
    if before.float_late & row.float_reads:
        cycles += s.float_result
    if flags & layout.WRITES_SP:
        s.watch_stack = flags
    row.executed += 1
    _spend(s, row, cycles)
    s.instructions += 1
    s.expected = address + np.uint64(row.size)
    s.last = n
    s.last_address = address
    # A folded IT takes no place in the pipeline: what stood before it still stands before its successor.
    if not flags & layout.IT_BLOCK:
        s.previous = n
    if flags & (layout.STEPS | layout.SEND_EVENT):
        _hint(uc, s, flags, address)


@njit
def _hint(uc, s, flags, address):
    """SEV, WFE, YIELD or a semihosting request: the emulator knows the first only, so the run goes on behind it."""
    if flags & layout.SEND_EVENT:
        s.event = 1
        return
    if flags & layout.WAIT_EVENT and not s.event:
        _stop(uc, s, layout.STOP_SLEEP, address, address)
        return
    if flags & layout.WAIT_EVENT:
        s.event = 0
    _stop(uc, s, layout.HOST_REQUEST if flags & layout.HOST else layout.STEP, address, address)


def _compiled() -> int:
    """The hook's C address. Numba keeps the machine code in its cache, where there is a folder for it."""
    # Numba's cache looks at this file only; as part of the closure, the digest makes it see the others.
    here = Path(__file__)
    sources = [here.with_name(f"{name}.py") for name in ("layout", "native", "memories", "fetch", "system", "hooks")]
    digest = sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()

    def hook(uc, address, size, here):
        digest  # noqa: B018
        _instruction(uc, address, carray(here, 1, STATE)[0])

    signature = types.void(types.voidptr, types.uint64, types.uint32, types.voidptr)
    try:
        return int(cfunc(signature, cache=True)(hook).address)
    except RuntimeError:  # no folder that can be written
        return int(cfunc(signature)(hook).address)


ON_INSTRUCTION = _compiled()
