"""What a function in assembly does to the stack, read from the very text that is emitted."""

import math
import re
from collections.abc import Sequence

from memaopt.access import Access, loads, stores
from memaopt.kernels.assembly_code import listed

_MULTIPLE, _SINGLE = re.compile(r"^v?(push|pop)\s+(\{.*\})"), re.compile(r"^v?(ldr|str)(d?)\S*\s.*\[sp\b")


def by_depth(text: str) -> tuple[Access, ...]:
    """What a call does outside its loops, in a turn of a loop, of a loop within that, and so on.

    Loops are branches back to numbered labels.
    """
    lines = [line.strip() for line in text.splitlines()]
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    for i, line in enumerate(lines):
        if line[:-1].isdecimal() and line.endswith(":"):
            labels[line[:-1]] = i
        elif (back := re.match(r"b\S*\s+(\d+)b$", line)) is not None:
            ends[labels[back[1]]] = i
    found: list[Access] = []
    for i, line in enumerate(lines):
        depth = sum(first <= i <= last for first, last in ends.items())
        found += [Access()] * (depth + 1 - len(found))
        found[depth] += _accesses(line)
    return tuple(found)


def of_call(depths: Sequence[Access], *turns: int) -> Access:
    """What a call does (:func:`by_depth`), if the outermost loop makes ``turns[0]`` turns, the one within ``turns[1]``
    in each of these; those not named make one.
    """
    times = (math.prod(turns[:depth]) for depth in range(len(depths)))
    return sum((each.times(count) for each, count in zip(depths, times, strict=True)), Access())


def _accesses(line: str) -> Access:
    """What an instruction does to the stack."""
    if (many := _MULTIPLE.match(line)) is not None:
        return (stores if many[1] == "push" else loads)(listed(many[2]), 4)
    if (one := _SINGLE.match(line)) is not None:
        return (stores if one[1] == "str" else loads)(2 if one[2] else 1, 4)
    return Access()
