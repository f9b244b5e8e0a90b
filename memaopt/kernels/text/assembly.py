"""Helpers that the assembly templates call: constants, address arithmetic and VFP register lists for Thumb-2."""

import re

from memaopt.kernels.text import thumb
from memaopt.kernels.text.thumb import REACH, encodable

#: Instructions that also have a form of 16 bits, and the conditions with which the templates use them.
_SHORT = frozenset(
    f"{mnemonic}{condition}"
    for mnemonic in (
        *("mov", "mvn", "add", "adds", "sub", "subs", "rsb", "cmp", "cmn", "lsl", "lsls", "lsr", "asr", "eor", "and"),
        *("ldr", "ldrb", "ldrh", "ldrsb", "str", "strb", "strh", "ldmia", "stmia"),
    )
    for condition in ("", "lt", "gt")
) | {"b", "bne", "beq", "bge", "blt", "bhs", "blo"}

_IMMEDIATE = re.compile(r"#-?\d+")


def load_imm(register: str, value: int) -> str:
    """``register`` = ``value``, 0 to 2^32 - 1, in one instruction or two."""
    if value < 0 or value >= 1 << 32:
        raise ValueError(f"{value} does not fit a register")
    if value < 1 << 16:
        return f"movw {register}, #{value}"
    low, high = value & 0xFFFF, value >> 16
    return f"movw {register}, #{low}\n  movt {register}, #{high}"


def add_imm(target: str, source: str, value: int, scratch: str) -> str:
    """``target`` = ``source`` + ``value``; ``scratch`` (not ``source``) is used only for a value out of reach, and
    may be empty where there is none.
    """
    operation, size = ("add", value) if value >= 0 else ("sub", -value)
    if size == 0:
        return "" if target == source else f"mov {target}, {source}"
    if encodable(size) or size <= REACH:
        wide = "" if encodable(size) else "w"
        return f"{operation}{wide} {target}, {source}, #{size}"
    low, high = size & 0xFFF, size & ~0xFFF
    if encodable(high):
        return f"{operation} {target}, {source}, #{high}\n  {operation}w {target}, {target}, #{low}"
    if scratch in ("", source):
        raise ValueError(f"no scratch register to add {value} to {source}")
    return f"{load_imm(scratch, size)}\n  {operation} {target}, {source}, {scratch}"


def numberless(text: str) -> str:
    """The text with its immediates left out: what is the same has the same instructions."""
    return _IMMEDIATE.sub("#", text)


def _vfp(operation: str, single: str, base: str, first: int, count: int, writeback: str) -> str:
    if count == 1 and not writeback:
        return f"{single} s{first}, [{base}]"
    last = first + count - 1
    registers = f"s{first}" if count == 1 else f"s{first}-s{last}"
    return f"{operation} {base}{writeback}, {{{registers}}}"


def vload(base: str, first: int, count: int, writeback: str = "") -> str:
    """Load ``count`` single-precision registers from s``first`` on; ``writeback`` is "!" to advance ``base``."""
    return _vfp("vldmia", "vldr", base, first, count, writeback)


def vstore(base: str, first: int, count: int) -> str:
    """Store ``count`` single-precision registers from s``first`` on."""
    return _vfp("vstmia", "vstr", base, first, count, "")


def quote(text: str) -> str:
    """Assembly lines as the C string literals of one asm statement, columns aligned, blank lines dropped.

    A line that starts with ``@`` becomes a C comment between the literals. OutOfReachError if something in the text
    cannot be encoded.
    """
    return _quoted(_lines(text))


def wide_quote(text: str) -> str:
    """:func:`quote` with every instruction in its 32-bit form.

    So all of them lie at multiples of 4 (IT aside): a core whose fetch queue has 3 words falls behind in runs of
    32-bit instructions at addresses 2 mod 4.
    """
    return _quoted([_widened(line) for line in _lines(text)])


def _lines(text: str) -> list[str]:
    """All but blank lines, without what is around them."""
    return [line for raw in text.splitlines() if (line := raw.strip())]


def _widened(line: str) -> str:
    mnemonic, space, operands = line.partition(" ")
    return f"{mnemonic}.w {operands}" if space and mnemonic in _SHORT else line


def _quoted(lines: list[str]) -> str:
    instructions = [line for line in lines if line[0] != "@"]
    thumb.check_lines(instructions)
    code = [line if line[0].isdigit() else "  " + line for line in instructions]
    width = max(map(len, code))
    if len(code) == len(lines):
        return "\n".join([f'        "{line:<{width}}\\n"' for line in code])
    made, rest = [], iter(code)
    for line in lines:
        made.append(f"        /* {line[1:].strip()} */" if line[0] == "@" else f'        "{next(rest):<{width}}\\n"')
    return "\n".join(made)
