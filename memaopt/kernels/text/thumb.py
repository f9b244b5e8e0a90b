"""What Thumb-2 can encode: every immediate, offset, register list and branch of an assembly text, checked as rendered.

A kernel's class offers no plan that its text cannot keep. This is the net below: a text out of reach ends here, with
the line that is at fault, not in somebody's assembler. It knows the forms that the templates use and no others, so a
new instruction is added with its limits. The limits are those of the Armv7-M Architecture Reference Manual, A7.7.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from memaopt.machines.core import least_reach

_REACH = least_reach()
REACH = _REACH.offset
_CONDITIONS = ("", "eq", "ne", "lt", "gt", "ge", "le", "hs", "lo")


class OutOfReachError(AssertionError):
    """A rendered kernel has an instruction that cannot be encoded: a fault of its class, not of the user's input."""


def encodable(value: int) -> bool:
    """Whether ``value`` is a modified immediate constant (A5.3.2)."""
    if value < 256:
        return value >= 0
    if any(value == pattern * (value & 0xFF) for pattern in (0x01010101, 0x00010001)):
        return True
    if value & 0xFF00 and value == 0x01000100 * (value >> 8 & 0xFF):
        return True
    shift = max(0, value.bit_length() - 8)
    return shift <= 24 and value >> shift << shift == value


def _either_sign(value: int) -> bool:
    """ADD for SUB, CMP for CMN: assemblers turn one into the other."""
    return encodable(abs(value))


def _added(value: int) -> bool:
    return _either_sign(value) or abs(value) <= REACH


def _inverted(value: int) -> bool:
    """AND for BIC, MOV for MVN."""
    return encodable(value & 0xFFFFFFFF) or encodable(~value & 0xFFFFFFFF)


def _moved(value: int) -> bool:
    return _inverted(value) or 0 <= value < 1 << 16


def _within(low: int, high: int) -> Callable[[int], bool]:
    return lambda value: low <= value <= high


#: Mnemonics whose last operand may be an immediate, and which values of it there are.
_IMMEDIATES: Mapping[str, Callable[[int], bool]] = {
    **dict.fromkeys(("add", "sub"), _added),
    # For the wide forms GCC's assembler takes others, Clang's does not.
    **dict.fromkeys(("add.w", "sub.w"), _either_sign),
    **dict.fromkeys(("cmp.w", "cmn.w"), encodable),
    **dict.fromkeys(("adds", "subs", "cmp", "cmn"), _either_sign),
    **dict.fromkeys(("rsb", "rsbs", "adc", "sbc", "eor", "orr", "orn", "tst", "teq"), encodable),
    **dict.fromkeys(("and", "ands", "bic", "mvn"), _inverted),
    "mov": _moved,
    **dict.fromkeys(("movw", "movt"), _within(0, 0xFFFF)),
    **dict.fromkeys(("addw", "subw"), _within(0, REACH)),
    **dict.fromkeys(("lsl", "lsls"), _within(0, 31)),
    **dict.fromkeys(("lsr", "lsrs", "asr", "asrs"), _within(1, 32)),
    "ror": _within(1, 31),
    "vcvt.s32.f32": _within(1, 32),
}
_SHIFTS = {"lsl": _within(0, 31), "lsr": _within(1, 32), "asr": _within(1, 32), "ror": _within(1, 31)}
_SINGLE = {"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "str", "strb", "strh"}
_DOUBLE = {"ldrd", "strd"}
_FLOAT = {"vldr", "vstr"}
_MULTIPLE = {"ldmia", "stmia"}
_LISTS = {"push", "pop", "vpush", "vpop", "vldmia", "vstmia"}
_REGISTERS = {
    "bfi", "bx", "mla", "mls", "mul", "pkhbt", "pkhtb", "qadd", "sadd16", "sbfx", "sel", "shsub16", "smlabb", "smlabt",
    "smlad", "smlatb", "smlatt", "smlawb", "smlawt", "smmla", "smmlar", "smmul", "smuad", "smulbb", "smulbt",
    "smull", "smultb", "smultt", "ssat", "ssub16", "ssub8", "sxtab16", "sxtah", "sxtb16", "sxth", "ubfx", "udiv",
    "usat", "usat16", "uxtab16", "uxtb", "uxtb16", "uxth", "vadd.f32", "vcvt.f32.s32", "vcvtr.s32.f32", "vfma.f32",
    "vmov", "vmul.f32",
}  # fmt: skip
_KNOWN = {*_IMMEDIATES, *_SINGLE, *_DOUBLE, *_FLOAT, *_MULTIPLE, *_LISTS, *_REGISTERS, "b"}
_ADDRESS = re.compile(
    r"^\[(\w+)(?:, (?:#(?P<offset>[^\]]+)|(?P<index>\w+)(?:, lsl #(?P<shift>\d+))?))?\](?P<back>!)?"
    r"(?:, #(?P<after>.+))?$"
)
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_OPERATIONS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


class _Branch(NamedTuple):
    """A branch from instruction ``at``; ``forward``: to the next such label, else to the last."""

    at: int
    label: str
    forward: bool
    limit: int
    line: str


def check(text: str) -> None:
    """Check an assembly text, one instruction, label or directive a line; OutOfReachError names the first bad line."""
    check_lines([line for raw in text.splitlines() if (line := raw.strip()) and line[0] != "@"])


def check_lines(lines: Sequence[str]) -> None:
    """:func:`check` of lines without what is around them, none of them blank or a comment."""
    branches: list[_Branch] = []
    labels: dict[str, list[int]] = {}
    size = _run(lines, {}, 0, branches, labels)
    for branch in branches:
        places = [at for at in labels.get(branch.label, ()) if (at > branch.at) == branch.forward]
        if not places:
            raise OutOfReachError(f"{branch.line!r}: there is no such label")
        target = min(places) if branch.forward else max(places)
        # An instruction takes 4 bytes at most, an alignment as many.
        if 4 * abs(target - branch.at) >= branch.limit - 4:
            raise OutOfReachError(f"{branch.line!r}: {4 * abs(target - branch.at)} bytes, of {4 * size}")


def _run(
    lines: Sequence[str], symbols: dict[str, int], at: int, branches: list[_Branch], labels: dict[str, list[int]]
) -> int:
    """Check lines from place ``at`` on, repetitions one by one; the place after them, in words."""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line in _PLAIN:
            at += 1
            continue
        directive, _, rest = line.partition(" ")
        if line.endswith(":"):
            labels.setdefault(line[:-1], []).append(at)
        elif directive in (".balign", ".p2align"):
            at += 1
        elif directive == ".set":
            name, _, expression = rest.partition(",")
            symbols[name.strip()] = _value(expression, symbols)
        elif directive == ".rept":
            end = next(i for i, after in enumerate(lines[number:], number) if after == ".endr")
            for _ in range(_value(rest, symbols)):
                at = _run(lines[number:end], symbols, at, branches, labels)
            number = end + 1
        else:
            written = line
            for name, value in symbols.items():
                line = line.replace(name, str(value))
            branch = _checked(line)
            if branch is not None:
                branches.append(branch._replace(at=at))
            elif line == written and len(_PLAIN) < _MOST_PLAIN:
                _PLAIN.add(line)
            at += 1
    return at


#: Instructions that passed, are no branches and have no symbols: most of a text.
_PLAIN: set[str] = set()
_MOST_PLAIN = 1 << 16


@lru_cache(maxsize=_MOST_PLAIN)
def _checked(line: str) -> _Branch | None:
    """Check one instruction; a branch is returned."""
    written, _, operands = line.partition(" ")
    base, condition = (written, "") if written in _KNOWN else _split(written.removesuffix(".w"), line)
    parts = operands.strip()
    if base == "it":
        return None
    if base == "b":
        label, forward = parts[:-1], parts[-1] == "f"
        return _Branch(0, label, forward, _REACH.conditional if condition else _REACH.branch, line)
    if base in _SINGLE | _DOUBLE | _FLOAT:
        _check_address(base, parts, line)
    elif base in _MULTIPLE:
        _check_list(parts, line)
    elif base in ("ssat", "usat", "usat16", "bfi", "ubfx", "sbfx"):
        _check_field(base, parts, line)
    elif base not in _LISTS:
        _check_operands(base, parts, line)
    return None


def _split(mnemonic: str, line: str) -> tuple[str, str]:
    if re.fullmatch("it[te]{0,3}", mnemonic):
        return "it", ""
    for condition in _CONDITIONS:
        base = mnemonic.removesuffix(condition)
        if mnemonic.endswith(condition) and base in _KNOWN:
            return base, condition
    raise OutOfReachError(f"{line!r}: the limits of this instruction are not known")


def _value(expression: str, symbols: Mapping[str, int]) -> int:
    """An assembler's expression: integers, symbols, sums and products."""
    if _DECIMAL.fullmatch(expression):
        return int(expression)  # nearly all are such, and parsing takes a hundred times as long
    for name, value in symbols.items():
        expression = expression.replace(name, str(value))
    return _evaluated(ast.parse(expression.strip(), mode="eval").body)


def _evaluated(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](_evaluated(left), _evaluated(right))
    raise OutOfReachError(f"{ast.unparse(node)!r} is no expression of integers")


def _number(text: str, line: str) -> int:
    try:
        return _value(text, {})
    except SyntaxError:
        raise OutOfReachError(f"{line!r}: {text!r} is no number") from None


def _check(fits: bool, line: str, what: str) -> None:
    if not fits:
        raise OutOfReachError(f"{line!r}: {what} is out of reach")


def _check_address(base: str, operands: str, line: str) -> None:
    registers, bracket, rest = operands.partition("[")
    found = _ADDRESS.match(bracket + rest)
    _check(found is not None and registers.endswith(", "), line, "the address")
    assert found is not None
    offset, after, shift = found["offset"], found["after"], found["shift"]
    moves = after is not None or found["back"] is not None
    value = _number(offset if after is None else after, line) if offset or after else 0
    if base in _SINGLE:
        # Clang's assembler has no negative offset for a load or store that is written as wide.
        low = 0 if line.split(" ")[0].endswith(".w") and not moves else -_REACH.behind
        high = _REACH.behind if moves else REACH
        _check(low <= value <= high, line, f"the offset {value}")
        _check(shift is None or int(shift) <= 3, line, f"the shift of {shift}")
    else:
        _check(found["index"] is None and not (base in _FLOAT and moves), line, "the address")
        _check(abs(value) <= _REACH.pair and value % 4 == 0, line, f"the offset {value}")


def _check_list(operands: str, line: str) -> None:
    """A multiple load or store of one register, or of its own base with writeback, is unpredictable."""
    base, _, registers = operands.partition(", ")
    names = listed(registers)
    _check(len(names) > 1 and not (base.endswith("!") and base[:-1] in names), line, "the list of registers")


def listed(registers: str) -> list[str]:
    """The registers of a list such as {r4-r11, lr} or {s0-s3}, by name."""
    names: list[str] = []
    for part in registers.strip("{} ").split(","):
        first, dash, last = part.strip().partition("-")
        names += [f"{first[0]}{n}" for n in range(int(first[1:]), int(last[1:]) + 1)] if dash else [first]
    return names


def _check_field(base: str, operands: str, line: str) -> None:
    """Saturation to a width, shifted; or a field's place and width."""
    _, first, *rest = (part.strip() for part in operands.split(","))
    if base in ("bfi", "ubfx", "sbfx"):
        low, width = (_number(text.removeprefix("#"), line) for text in rest)
        _check(low in range(32) and width in range(1, 33 - low), line, "the field")
        return
    bits = _number(first.removeprefix("#"), line)
    if base == "usat16":
        _check(0 <= bits <= 15 and len(rest) == 1, line, f"the width {bits}")
        return
    _check((base == "ssat") <= bits <= (32 if base == "ssat" else 31), line, f"the width {bits}")
    for text in rest[1:]:
        kind, amount = text.split(" #")
        shifted = _number(amount, line)
        _check(kind in ("lsl", "asr") and (kind == "asr") <= shifted <= 31, line, f"the shift of {shifted}")


def _check_operands(base: str, operands: str, line: str) -> None:
    parts = [part.strip() for part in operands.split(",")]
    for part in parts:
        if part.startswith("#"):
            value = _number(part[1:], line)
            _check(base in _IMMEDIATES and part == parts[-1] and _IMMEDIATES[base](value), line, f"#{value}")
        elif "#" in part:
            kind, amount = part.split(" #")
            shifted = _number(amount, line)
            rotates = base in ("sxtb16", "uxtb16", "sxtab16", "uxtab16", "sxtah", "sxth", "uxth")
            fits = kind == "ror" and shifted in (8, 16, 24) if rotates else kind in _SHIFTS and _SHIFTS[kind](shifted)
            _check(fits, line, f"the shift of {shifted}")
