"""Assembly as code, read from the very text that is emitted: its loops are its backward branches.

Words are 4 bytes: the kernels' instructions have their 32-bit forms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.code import REWIND, TABLE, Constants, Loop, Node, Straight
from memaopt.kernels.text.thumb import listed

#: What a quoted line ends with.
_END = '\\n"'


def parse(text: str, constants: Sequence[Constants] = (), *, wide: bool = True, slow: float = 0.0) -> tuple[Node, ...]:
    """The tree of the assembly in a C text: its quoted lines, or the text itself if it has none.

    ``wide``: every instruction has its 32-bit form; else those have 16 bits that the assembler can give so few.
    ``slow``: see :class:`Call`.
    """
    quoted = [before[before.rfind('"') + 1 :] for before in text.split(_END)[:-1]]
    lines = [line.strip() for line in quoted or text.splitlines()]
    reader = _Reader(constants, wide, slow)
    reader.read(_expanded(lines) if ".rept" in text else lines)
    return reader.nodes()


def _expanded(lines: list[str]) -> list[str]:
    """The lines with what ``.rept`` repeats written out."""
    made: list[str] = []
    stack: list[tuple[list[str], int]] = []
    for line in lines:
        if line.startswith(".rept"):
            stack.append((made, int(line.split()[1])))
            made = []
        elif line.startswith(".endr"):
            outer, times = stack.pop()
            made = outer + made * times
        else:
            made.append(line)
    return made


_INSTRUCTION = re.compile(r"^([a-z][a-z0-9]*)(?:\.(?:w|n|f32))*\s*(.*)$")
_REGISTER = re.compile(r"\b(?:r\d+|sp|lr|pc|s\d+)\b")
_OFFSET = re.compile(r"\[(\w+), #(\d+)\]")
_MOVED_ON = re.compile(r"(\w+), \1, #(\d+)")
_BACKWARD = re.compile(r"^b(?:eq|ne|ge|lt|gt|le|hi|lo|hs|ls|cs|cc|pl|mi)?$")
#: UDIV of 2^30 by 1 to 7 (docs/timing.md), which pooling does.
_DIVISION = 12
_AFTER = re.compile(r"\], #(\d+)$")
_STACKED = ("push", "pop", "vpush", "vpop")
_NO_TARGET = ("cmp", "cmn", "tst", "teq", "str", "stm", "b", *_STACKED, "vst", "vcmp")


class _Instruction(NamedTuple):
    """What an instruction is wherever it stands; see docs/timing.md for the cycles.

    ``kind``: a load or a store of one register. ``many``: registers that it loads as one of a list. ``address``: those
    that it addresses with, ``written`` the one that it computes, ``gone`` those that no longer address constants.
    ``label``: that of a branch back. ``narrow``: it has 16 bits. ``forward``: words beyond a register that it loads
    from or moves on. ``passed``: words that its address moves on by after it, where it loads one.
    """

    name: str
    operands: str
    kind: str
    cycles: float
    first: str
    address: frozenset[str]
    many: int
    written: str
    gone: frozenset[str]
    label: str
    narrow: bool
    forward: int
    passed: int


@lru_cache(maxsize=1 << 14)
def _instruction(line: str) -> _Instruction | None:
    """The instruction of a line, None if it has none."""
    match = _INSTRUCTION.match(line)
    if line.startswith((".", "@", "/")) or not match:
        return None
    name, operands = match[1], match[2].strip()
    registers = _REGISTER.findall(operands)
    first = registers[0] if registers else ""
    address = set(_REGISTER.findall(operands[operands.find("[") :])) if "[" in operands else set()
    kind, cycles, many, label = "", 1.0, 0, ""
    if name in _STACKED or name.startswith(("ldm", "stm", "vldm", "vstm")):
        count = len(listed(operands[operands.find("{") :]))
        cycles, address = 1.0 + count + (2 if "pc" in registers else 0), {first} if name not in _STACKED else set()
        many = count if "ld" in name else 0
    elif name == "vmov" and len(registers) == 4:
        cycles = 2
    elif name in ("ldrd", "strd"):
        cycles, many = 3, 2 if name == "ldrd" else 0
    elif name.startswith(("ldr", "vldr")):
        kind = "load"
    elif name.startswith(("str", "vstr")):
        kind, cycles = "store", 2 if name[0] == "v" else 1
    elif _BACKWARD.match(name) or name in ("bx", "bl", "blx"):
        cycles = 3 if name in ("bx", "b", "bl", "blx") else 1
        label = operands[:-1] if operands.endswith("b") else ""
    elif name in ("vmla", "vfma", "vmls", "vfms"):
        cycles = 3
    elif name == "udiv":
        cycles = _DIVISION
    written = "" if kind == "load" or name.startswith(_NO_TARGET) else first
    gone = frozenset(_gone(name, operands, registers))
    narrow = _narrow(name, operands, line)
    source = _OFFSET.search(operands) if "ld" in name else _MOVED_ON.fullmatch(operands) if name == "add" else None
    forward = int(source[2]) // 4 if source else 0
    after = _AFTER.search(operands) if kind == "load" else None
    passed = max(int(after[1]) // 4, 1) if after else 1
    return _Instruction(
        name, operands, kind, cycles, first, frozenset(address), many, written, gone, label, narrow, forward, passed
    )


class _Reader:
    """Reads instructions: what they take depends on those before."""

    def __init__(self, constants: Sequence[Constants], wide: bool, slow: float) -> None:
        self._slow = slow
        self._sources = {f"{held.register}, {held.source}": held for held in constants}
        self._wide = wide
        #: Of each instruction, if not all have two.
        self._halves: list[int] = []
        self._held: set[str] = set()
        self._tables = {held.register for held in constants if held.table and not held.source}
        # The instruction that set a register to where constants start, while nothing was read by it.
        self._started: dict[str, int] = {}
        self._cycles: list[float] = []
        self._loads: list[int] = []
        # The number of instructions before each label passed.
        self._labels: dict[str, int] = {}
        # First instruction -> the one after the last branch back to it.
        self._loops: dict[int, int] = {}

    def read(self, lines: Sequence[str]) -> None:
        """Read lines in their order: one loop for all of them, since there are tens of thousands."""
        labels, held, tables, started, wide = self._labels, self._held, self._tables, self._started, self._wide
        all_cycles, all_loads, halves, slow = self._cycles, self._loads, self._halves, self._slow
        # Of the instruction before.
        before = loaded = written = ""
        for line in lines:
            one = _instruction(line)
            if one is None:
                if line.endswith(":") and line[:-1].isdecimal():
                    labels[line[:-1]] = len(all_cycles)
                    # What comes before is mostly the branch back to here.
                    before = loaded = written = ""
                continue
            name, operands, kind, cycles, first, address, many, target, gone, label, narrow, _, passed = one
            loads, back = 0, label in labels
            if kind == "load":
                cycles = 3 if before == "store" else 1 if before == "load" and loaded not in address else 2
                # Words that are passed by lie in the lines that are read.
                loads = 0 if address.isdisjoint(held) else passed
            elif many:
                cycles += before == "store"
                loads = 0 if address.isdisjoint(held) else many
            elif back:
                cycles = 2
            if tables and (many or kind == "load") and not address.isdisjoint(tables):
                loads = TABLE + (many or 1)
            if slow and name == "ldr" and not loads and "sp" not in address:
                cycles += slow
            if written in address:
                cycles += 1
            before, loaded, written = kind, first if kind == "load" else "", target
            if started:
                self._start_later(one, loads)
            source = self._sources.get(operands) if name in ("ldr", "mov", "mla") else None
            if source is not None and source.table:
                tables.add(source.register)
            elif source is not None:
                held.add(source.register)
                if source.rewinds:
                    loads = REWIND
                    started[source.register] = len(all_loads)
            elif gone:
                held -= gone
                tables -= gone
            if not wide and name.startswith("it"):
                cycles = 0.0
            all_cycles.append(cycles)
            all_loads.append(loads)
            if not wide:
                halves.append(1 if narrow else 2)
            if back:
                self._loops[labels[label]] = len(all_cycles)

    def _start_later(self, one: _Instruction, loads: int) -> None:
        """Constants that are not read from their start on: the register moves on first, or has an offset."""
        for register in one.gone | one.address | {one.written}:
            if (start := self._started.get(register)) is not None:
                if loads or one.written == register:
                    self._loads[start] -= one.forward
                if loads or register in one.gone:
                    del self._started[register]

    def nodes(self) -> tuple[Node, ...]:
        """The tree: loops lie within each other or apart."""
        return self._nodes(0, len(self._cycles), sorted(self._loops.items()))

    def _nodes(self, start: int, end: int, loops: list[tuple[int, int]]) -> tuple[Node, ...]:
        made: list[Node] = []
        at = start
        while loops:
            first, last = loops[0]
            inner = [loop for loop in loops[1:] if loop[1] <= last and loop[0] < last]
            loops = [loop for loop in loops[1:] if loop[0] >= last]
            if first > at:
                made.append(self._straight(at, first))
            made.append(Loop(self._nodes(first, last, inner), 1, left=self._cycles[last - 1] - 1))
            at = last
        if end > at:
            made.append(self._straight(at, end))
        return tuple(made)

    def _straight(self, start: int, end: int) -> Straight:
        if self._wide:
            return Straight(tuple(self._cycles[start:end]), tuple(self._loads[start:end]))
        # An instruction is in the word that it ends in.
        words = -(-sum(self._halves[start:end]) // 2)
        cycles, loads, at = [0.0] * words, [0] * words, 0
        for i in range(start, end):
            at += self._halves[i]
            cycles[(at - 1) // 2] += self._cycles[i]
            loads[(at - 1) // 2] += self._loads[i]
        return Straight(tuple(cycles), tuple(loads))


def _gone(name: str, operands: str, registers: list[str]) -> set[str]:
    """Registers that no longer address constants after an instruction: written from anything but themselves."""
    if (name.startswith(_NO_TARGET) and name != "pop") or not registers:
        return set()
    if name.startswith(("ldm", "pop", "vldm")):
        return set(listed(operands[operands.find("{") :]))
    if name.startswith("ldr"):
        return {registers[0]}
    return set() if registers[0] in registers[1:] else {registers[0]}


_LOW = re.compile(r"r[0-7]")
_FROM_SP = 1020
_OFFSETS = {"ldr": 124, "str": 124, "ldrh": 62, "strh": 62, "ldrb": 31, "strb": 31}


def _narrow(name: str, operands: str, line: str) -> bool:
    """Whether an instruction has 16 bits, as an assembler gives it where its registers and its constant allow."""
    if ".w" in line.split()[0]:
        return False
    parts = operands.replace("[", "").replace("]", "").replace(" ", "").split(",")
    low = all(_LOW.fullmatch(part) for part in parts if not part.startswith("#"))
    value = int(parts[-1][1:], 0) if re.fullmatch(r"#-?(?:0x)?[0-9a-fA-F]+", parts[-1]) else None
    if name in ("push", "pop"):
        return all(r in ("lr", "pc") or int(r[1:]) < 8 for r in _REGISTER.findall(operands))
    if name in _OFFSETS:
        most = _FROM_SP if parts[1:2] == ["sp"] and name in ("ldr", "str") else _OFFSETS[name]
        return (low or (most == _FROM_SP and _LOW.fullmatch(parts[0]) is not None)) and 0 <= (value or 0) <= most
    conditional = re.fullmatch(r"(add|sub|asr|mov|lsl|lsr)(?:ne|eq|lt|gt|ge|le)", name)
    operation = f"{conditional[1]}s" if conditional else name
    if operation in ("adds", "subs"):
        return low and len(parts) == 3 and (value is None or 0 <= value < (256 if parts[0] == parts[1] else 8))
    if operation in ("movs", "cmp"):
        return (low and (value is None or 0 <= value < 256)) or (operation == "cmp" and value is None)
    if operation in ("asrs", "lsls", "lsrs"):
        return low and (value is not None or parts[0] == parts[1])
    if name in ("mov", "add"):
        return value is None and (name == "mov" or (len(parts) == 3 and parts[0] in parts[1:]))
    if name in ("uxth", "sxth", "uxtb", "sxtb"):
        return low and len(parts) == 2
    return name.startswith("it") or name in ("bx", "tst") or bool(_BACKWARD.match(name))
