"""Straight runs of code as what fetching needs to know of them: what their words cost and load, and where they lie."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.code import REWIND, TABLE, Straight


class Text(NamedTuple):
    """What a straight run is wherever it lies: what its words cost and load. Each text has a ``number`` of its own."""

    number: int
    cycles: tuple[float, ...]
    loads: tuple[int, ...]
    step: float
    total: float
    #: (cycles before it, loads) of each word that loads, and the cycles after the last.
    reads: tuple[tuple[float, int], ...]
    rest: float
    #: How far it comes in the constants at most, in words, and whether it starts again with them.
    constants: float
    rewinds: bool
    #: The loads with nothing between them but other instructions, together, and where constants start again.
    passes: tuple[int, ...]
    #: All of its loads, those of tables too.
    loaded: int


class PlacedRun(NamedTuple):
    """A placed straight run. ``flash``: it waits for the flash. ``lines``: those of the cache that hold it, with the
    bits of the reads in each.
    """

    text: Text
    start: int
    flash: bool
    lines: tuple[tuple[int, int], ...]


_numbers = itertools.count()


@lru_cache(maxsize=1 << 14)
def text_of(node: Straight) -> Text:
    """What is the same wherever the run lies."""
    reads: list[tuple[float, int]] = []
    passed = 0.0
    for cycles, loads in zip(node.cycles, node.loads, strict=True):
        if loads:
            reads.append((passed, loads))
            passed = 0.0
        passed += cycles
    farthest = REWIND - min(min(node.loads, default=0), REWIND)
    passes: list[int] = []
    for loads in [loads for _, loads in reads if loads <= TABLE]:
        if loads > 0 and passes and passes[-1] > 0:
            passes[-1] += loads
        else:
            passes.append(loads)
    constants = sum(loads for loads in passes if loads > 0) * node.step + farthest
    return Text(
        next(_numbers),
        node.cycles,
        node.loads,
        node.step,
        sum(node.cycles),
        tuple(reads),
        passed,
        constants,
        min(node.loads, default=0) <= REWIND,
        tuple(passes),
        sum(loads - TABLE if loads > TABLE else loads for _, loads in reads if loads > 0),
    )


def run_of(node: Straight, at: int, flash: bool, per_read: int, per_line: int) -> PlacedRun:
    """A straight run at a word's address; a read of the flash has so many words (0: no cache), a line so many reads."""
    lines: dict[int, int] = {}
    if per_read:
        for read in range(at // per_read, (at + len(node.cycles) - 1) // per_read + 1):
            lines[read // per_line] = lines.get(read // per_line, 0) | 1 << read % per_line
    return PlacedRun(text_of(node), at, flash, tuple(lines.items()))
