"""Decode one Thumb-2 instruction into what the board needs to know of it: accesses, registers, cost.

Capstone gives mnemonic and operands; this module says what they mean for memory and for the pipeline.
Conditional branches and IT are told by their encodings (Arm ARM DDI 0403, A5), since Capstone keeps the
state of an IT block between calls.
"""

from typing import Any, NamedTuple

import capstone
from capstone import arm_const as cs
from unicorn import arm_const as uc

from memaopt.board import layout
from memaopt.board.cores.cortex_m4 import Timing

_CORE = {cs.ARM_REG_R0 + n: n for n in range(13)} | {cs.ARM_REG_SP: 13, cs.ARM_REG_LR: 14, cs.ARM_REG_PC: 15}
_SINGLES = {cs.ARM_REG_S0 + n: 1 << n for n in range(32)}
_DOUBLES = {cs.ARM_REG_D0 + n: 3 << 2 * n for n in range(16)}
_FLOATS = _SINGLES | _DOUBLES
_UNICORN = [uc.UC_ARM_REG_R0 + n for n in range(13)] + [uc.UC_ARM_REG_SP, uc.UC_ARM_REG_LR, uc.UC_ARM_REG_PC]
_SP, _PC = 13, 15
_MOST_SEEN = 1 << 16

_WIDTHS = {"b": 1, "sb": 1, "h": 2, "sh": 2}
_STOPS = {"udf": layout.UNDEFINED, "svc": layout.SUPERVISOR}
_STOPS |= dict.fromkeys(
    ("mrc", "mrc2", "mcr", "mcr2", "mrrc", "mrrc2", "mcrr", "mcrr2", "cdp", "cdp2", "ldc", "ldc2", "stc", "stc2"),
    layout.COPROCESSOR,
)
# Arm semihosting on M profile cores: BKPT 0xAB asks the host for something.
_HOST = 0xAB
# Hints by their numbers (Arm ARM DDI 0403, A5.2.5 and A5.3.4); the others do nothing.
_HINTS = {1: layout.YIELD, 2: layout.WAIT_EVENT, 3: layout.SLEEP, 4: layout.SEND_EVENT}
_NO_RESULT = {"cmp", "cmn", "tst", "teq", "vcmp", "vcmpe", "msr", "vmsr"}
_LONG = {
    *("umull", "smull", "umlal", "smlal", "umaal", "smlald", "smlaldx", "smlsld", "smlsldx"),
    *("smlalbb", "smlalbt", "smlaltb", "smlaltt"),
}
_ACCUMULATE = {"vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"}
# TRM: the results of these cannot be read by the very next instruction without a stall.
_ARITHMETIC = {"vadd", "vsub", "vmul", "vnmul", "vdiv", "vsqrt", "vcvt", "vcvtr", "vcvtb", "vcvtt"} | _ACCUMULATE


class Row(NamedTuple):
    """One instruction, in the fields of :data:`memaopt.board.layout.ROW`; masks have bit n for rn or sn."""

    offset: int = 0
    address_registers: int = 0
    loaded: int = 0
    late: int = 0
    float_reads: int = 0
    float_late: int = 0
    flags: int = 0
    base: int = 0
    index_register: int = 0
    shift: int = 0
    kind: int = layout.OTHER
    size: int = 2
    cost: int = 1
    refill: int = 0
    words: int = 0
    width: int = 0
    divisor: int = 0
    dividend: int = 0


class Decoder:
    """Decodes instructions for one set of timing rules, and remembers encodings it has met.

    ``fpv5``: the FPU has VSEL, VMAXNM and the others that came with Armv8.
    """

    def __init__(self, timing: Timing, fpv5: bool = False) -> None:
        self._timing = timing
        self._md = capstone.Cs(
            capstone.CS_ARCH_ARM,
            capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | (capstone.CS_MODE_V8 if fpv5 else 0),
        )
        self._md.detail = True
        self._seen: dict[tuple[bytes, int], Row] = {}

    def decode(self, code: bytes, address: int) -> Row:
        """The instruction at the start of ``code`` (4 bytes, or 2 at the end of memory), at ``address``."""
        first = int.from_bytes(code[:2], "little")
        size = 4 if first >> 11 in (0b11101, 0b11110, 0b11111) else 2
        key = (code[:size], address & 3)
        row = self._seen.get(key)
        if row is None:
            row = self._decode(code[:size], address, first)
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[key] = row
        if row.base == layout.LITERAL:
            # The remembered offset is relative to the instruction.
            row = row._replace(offset=(row.offset + address) & 0xFFFFFFFF)
        return row

    def text(self, code: bytes, address: int) -> str:
        """The instruction as assembly text."""
        for i in self._md.disasm(code, address, 1):
            return f"{i.mnemonic} {i.op_str}".strip()
        return ".word " + code[::-1].hex()

    def _decode(self, code: bytes, address: int, first: int) -> Row:
        t = self._timing
        size = len(code)
        if first & 0xFF00 == 0xBF00 and first & 0xF:
            mask = first & 0xF
            return Row(size=2, cost=t.it, flags=layout.IT_BLOCK, words=4 - (mask & -mask).bit_length() + 1)
        hint = _hint(code, first)
        if hint is not None:
            return Row(size=size, cost=t.simple, flags=_HINTS.get(hint, 0))
        branch = _conditional_branch(code, first)
        if branch is not None:
            refill = t.refill_backward if branch < 0 else t.refill
            return self._conditional(size, branch, refill)
        i = next(self._md.disasm(code, address, 1), None)
        if i is None or i.size != size:
            return Row(size=size, flags=layout.UNDEFINED)
        name = i.insn_name().split(".")[0]
        if name in _STOPS:
            return Row(size=size, flags=_STOPS[name])
        if name == "bkpt":
            return Row(size=size, flags=layout.HOST if first & 0xFF == _HOST else layout.BREAKPOINT)
        if name in ("cbz", "cbnz"):
            return self._conditional(size, i.operands[1].imm - address - 4, t.refill)
        if name in ("b", "bl") and i.operands[0].type == cs.ARM_OP_IMM:
            return self._jump(size, i.operands[0].imm - address, name == "b")
        if name in ("blx", "bx"):
            return Row(size=size, cost=t.branch, refill=t.refill, flags=layout.BRANCH)
        if name in ("tbb", "tbh"):
            return self._table_branch(i, name, address)
        if name.startswith(("ldm", "stm", "vldm", "vstm")) or name in ("push", "pop", "vpush", "vpop"):
            return self._multiple(i, name)
        if name.startswith(("ldr", "str", "vldr", "vstr")):
            return self._single(i, name, address)
        return self._processing(i, name)

    def _conditional(self, size: int, displacement: int, refill: int) -> Row:
        """A branch that may fall through: its target stands where a load has its literal's address."""
        return Row(
            offset=displacement + 4,
            base=layout.LITERAL,
            size=size,
            cost=self._timing.branch,
            refill=refill,
            flags=layout.BRANCH | layout.CONDITIONAL,
        )

    def _jump(self, size: int, displacement: int, plain: bool) -> Row:
        """B or BL, its target stored likewise. A branch to itself never ends on a board without interrupts."""
        return Row(
            offset=displacement,
            base=layout.LITERAL,
            size=size,
            cost=self._timing.branch,
            refill=self._timing.refill,
            flags=layout.BRANCH | (layout.HALT if plain and displacement == 0 else 0),
        )

    def _single(self, i: Any, name: str, address: int) -> Row:
        """LDR, STR, their widths, doubles and exclusives, VLDR and VSTR."""
        t = self._timing
        store, floating, exclusive = "str" in name, name.startswith("v"), "ex" in name
        operand = next(o for o in i.operands if o.type == cs.ARM_OP_MEM)
        registers = [o.reg for o in i.operands if o.type == cs.ARM_OP_REG]
        kind = name.removeprefix("v")[3:].removeprefix("ex").removesuffix("t")
        double = kind == "d" or registers[0] in _DOUBLES
        base = _CORE[operand.mem.base]
        index = _CORE[operand.mem.index] if operand.mem.index else None
        loaded = 0 if store or floating else _core_mask(registers[: 2 if double else 1])
        jump = bool(loaded >> _PC)
        flags = layout.ACCESSES | (layout.FLOAT if floating else 0)
        if double or floating or (exclusive and kind == ""):
            flags |= layout.MUST_ALIGN
        if jump:
            flags |= layout.BRANCH
        if i.writeback and base == _SP:
            flags |= layout.WRITES_SP
        if loaded >> _SP & 1:
            flags |= layout.WRITES_SP | layout.MOVES_SP
        if double:
            cost = t.double
        elif store:
            cost = t.vstr if floating else t.store
        else:
            cost = t.load
        single, many = (layout.STORE, layout.STORE_MANY) if store else (layout.LOAD, layout.LOAD_MANY)
        row = _addressed(base, index, operand.shift.value, operand.mem.disp, address)
        return row._replace(
            loaded=loaded,
            late=_core_mask(registers[:1]) if store and exclusive else 1 << base if store and i.writeback else 0,
            float_reads=_float_mask(registers) if store else 0,
            flags=flags,
            kind=many if double or jump else single,
            size=i.size,
            cost=cost,
            refill=t.refill if jump else 0,
            words=2 if double else 1,
            width=4 if double or floating else _WIDTHS.get(kind, 4),
        )

    def _multiple(self, i: Any, name: str) -> Row:
        """LDM, STM, PUSH, POP and their VFP forms."""
        t = self._timing
        store = "st" in name or "push" in name
        registers = [o.reg for o in i.operands]
        stack = name in ("push", "pop", "vpush", "vpop")
        base = _SP if stack else _CORE[registers.pop(0)]
        writeback = stack or i.writeback
        floating = name.startswith("v")
        words = sum(2 if r in _DOUBLES else 1 for r in registers)
        loaded = 0 if store or floating else _core_mask(registers)
        jump = bool(loaded >> _PC)
        flags = layout.ACCESSES | layout.MUST_ALIGN | (layout.BRANCH if jump else 0)
        flags |= layout.FLOAT if floating else 0
        if (writeback and base == _SP) or loaded >> _SP & 1:
            flags |= layout.WRITES_SP
        down = name.endswith("db") or name in ("push", "vpush")
        return Row(
            offset=-4 * words if down else 0,
            address_registers=1 << base,
            loaded=loaded,
            float_reads=_float_mask(registers) if store else 0,
            flags=flags,
            base=_UNICORN[base],
            kind=layout.STORE_MANY if store else layout.LOAD_MANY,
            size=i.size,
            cost=t.multiple + words,
            refill=t.refill if jump else 0,
            words=words,
            width=4,
        )

    def _table_branch(self, i: Any, name: str, address: int) -> Row:
        memory = i.operands[0].mem
        shift = 1 if name == "tbh" else 0
        base = _CORE[memory.base]
        row = _addressed(base, _CORE[memory.index], shift, 0, address)
        if base == _PC:
            row = row._replace(offset=4)  # not rounded down to a word, unlike a literal's
        return row._replace(
            flags=layout.ACCESSES | layout.BRANCH,
            kind=layout.LOAD_MANY,
            size=i.size,
            cost=self._timing.table_branch,
            refill=self._timing.refill,
            words=1,
            width=1 << shift,
        )

    def _processing(self, i: Any, name: str) -> Row:
        """Everything that leaves memory alone."""
        t = self._timing
        registers = [o.reg for o in i.operands if o.type == cs.ARM_OP_REG]
        count = 0 if name in _NO_RESULT else 2 if name in _LONG else 1
        results = registers[:count]
        flags, refill = 0, 0
        if any(_CORE.get(r) == _PC for r in results):
            flags, refill = layout.BRANCH, t.refill
        if any(_CORE.get(r) == _SP for r in results):
            flags |= layout.WRITES_SP | (layout.MOVES_SP if name == "mov" else 0)
        if name == "msr":
            flags |= layout.WRITES_SP | layout.MOVES_SP
        late = _core_mask(results)
        cost = t.simple
        divisor = dividend = 0
        if name in ("udiv", "sdiv"):
            flags |= layout.DIVIDE | (layout.SIGNED if name == "sdiv" else 0)
            dividend, divisor = (_UNICORN[_CORE[r]] for r in registers[1:3])
            cost = 0
        elif name.startswith(("v", "fconst")):
            cost = self._float_cost(name)
            flags |= layout.FLOAT
            if name == "vmov" and sum(r in _CORE for r in registers) == 2:
                cost = t.vmov_two
                late = _core_mask(registers[1:2]) if registers[0] in _CORE else 0
        return Row(
            late=late,
            float_reads=_float_mask(registers[count:]) if name != "vmov" else _vmov_reads(registers),
            float_late=_float_mask(results) if name in _ARITHMETIC else 0,
            flags=flags,
            size=i.size,
            cost=cost,
            refill=refill,
            divisor=divisor,
            dividend=dividend,
        )

    def _float_cost(self, name: str) -> int:
        t = self._timing
        if name in _ACCUMULATE:
            return t.float_accumulate
        return t.float_divide if name in ("vdiv", "vsqrt") else t.float_simple


def _hint(code: bytes, first: int) -> int | None:
    """The number of a hint (NOP is 0), None for anything else."""
    if len(code) == 2:
        return first >> 4 & 0xF if first & 0xFF0F == 0xBF00 else None
    second = int.from_bytes(code[2:4], "little")
    return second & 0xFF if first == 0xF3AF and second & 0xFF00 == 0x8000 else None


def _conditional_branch(code: bytes, first: int) -> int | None:
    """The displacement of a conditional branch in bytes (encodings T1 and T3 of B), None for anything else.

    It is relative to the PC, which is four bytes ahead of the instruction.
    """
    if len(code) == 2:
        if first >> 12 != 0b1101 or first >> 8 & 0xF >= 0xE:
            return None
        return 2 * ((first & 0xFF) - ((first & 0x80) << 1))
    second = int.from_bytes(code[2:4], "little")
    if first >> 11 != 0b11110 or second & 0xD000 != 0x8000 or first >> 7 & 0x7 == 0x7:
        return None
    sign, j1, j2 = first >> 10 & 1, second >> 13 & 1, second >> 11 & 1
    return ((second & 0x7FF) << 1 | (first & 0x3F) << 12 | (j1 << 18) | (j2 << 19)) - (sign << 20)


def _addressed(base: int, index: int | None, shift: int, offset: int, address: int) -> Row:
    """The address part of a row: a literal's offset is kept relative to the instruction."""
    mask = 0 if base == _PC else 1 << base
    if index is not None:
        mask |= 1 << index
    return Row(
        offset=offset + ((address + 4) & ~3) - address if base == _PC else offset,
        address_registers=mask,
        base=layout.LITERAL if base == _PC else _UNICORN[base],
        index_register=0 if index is None else _UNICORN[index],
        shift=shift,
    )


def _vmov_reads(registers: list[int]) -> int:
    """Floating-point sources of a VMOV: to core registers, or from another floating-point register."""
    if registers[0] in _CORE:
        return _float_mask(registers)
    return _float_mask(registers[1:]) if registers[-1] not in _CORE else 0


def _core_mask(registers: list[int]) -> int:
    return sum(1 << _CORE[r] for r in registers if r in _CORE)


def _float_mask(registers: list[int]) -> int:
    mask = 0
    for r in registers:
        mask |= _FLOATS.get(r, 0)
    return mask
