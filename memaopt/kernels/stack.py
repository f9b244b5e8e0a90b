"""What a function in assembly does to the stack, read from the very text that is emitted."""

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from memaopt.access import Access, loads, stores
from memaopt.kernels.text.thumb import listed

_MULTIPLE, _SINGLE = re.compile(r"^v?(push|pop)\s+(\{.*\})"), re.compile(r"^v?(ldr|str)(d?)\S*\s.*\[sp\b")
_BACK = re.compile(r"b\S*\s+(\d+)b$")
_NOTHING = Access()


@lru_cache(maxsize=1024)
def by_depth(text: str) -> tuple[Access, ...]:
    """What a call does outside its loops, in a turn of a loop, of a loop within that, and so on.

    Loops are branches back to numbered labels.
    """
    lines = [line.strip() for line in text.splitlines()]
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    stacked: list[tuple[int, Access]] = []
    for i, line in enumerate(lines):
        if line.endswith(":") and line[:-1].isdecimal():
            labels[line[:-1]] = i
        elif line.endswith("b") and (back := _BACK.match(line)) is not None:
            ends[labels[back[1]]] = i
        elif ("{" in line or "[sp" in line) and (done := _accesses(line)) != _NOTHING:
            stacked.append((i, done))

    def depth(at: int) -> int:
        return sum(first <= at <= last for first, last in ends.items())

    found = [_NOTHING] * (1 + max(map(depth, ends), default=0))
    for i, done in stacked:
        found[depth(i)] += done
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
        return (stores if many[1] == "push" else loads)(len(listed(many[2])), 4)
    if (one := _SINGLE.match(line)) is not None:
        return (stores if one[1] == "str" else loads)(2 if one[2] else 1, 4)
    return Access()
