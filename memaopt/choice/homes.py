"""Which tensors of a network live outside the chip, whole, where those inside must not take more than so many bytes.

A tensor outside is written once there and read once by each of its readers at least: that is what it costs. The sets of
least cost are found exactly, along the order of execution: what decides how it goes on are the tensors inside that are
still to be read. Which of these sets suits a network best is for the choice of kernels to find out
(:mod:`memaopt.choice.compile`): kernels read a tensor more often than once, and need SRAM besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memaopt.errors import UnfinishedError
from memaopt.memory import liveness
from memaopt.networks.graph import Graph

#: Eighths of the SRAM given that tensors may take.
EIGHTHS = tuple(range(8, 0, -1))
_MOST_STATES = 20_000

_Path = tuple[int, tuple[int, ...]]


def rooms(sram: int) -> tuple[int, ...]:
    """The bytes for tensors that are tried, the most first."""
    return tuple(sram * eighths // 8 for eighths in EIGHTHS)


def away(
    graph: Graph, order: Sequence[int], room: int, alignment: int, ends: frozenset[int] = frozenset()
) -> frozenset[int] | None:
    """The tensors (alias roots) outside; None if what must be inside takes more than ``room`` bytes.

    Of the network's inputs and outputs those of ``ends`` are outside, the others inside. No output lies on an input
    here. Raises UnfinishedError where too many tensors are alive at once.
    """
    p = liveness.problem(graph, alignment, lambda *_: (), {}, ends)
    start = frozenset(p.roots[t] for t in graph.inputs if t in p.roots)
    fixed = start | p.kept
    cost = {root: graph.tensors[root].nbytes * (1 + readers.bit_count()) for root, readers in p.readers.items()}
    paths: dict[frozenset[int], _Path] = {start: (0, ())}
    done = 0
    for position in order:
        made = p.writes(position)
        done |= 1 << position
        found: dict[frozenset[int], _Path] = {}
        for inside, (paid, gone) in paths.items():
            for during, path in _options(inside, made, fixed, (paid, gone), cost):
                if sum(p.sizes[root] for root in during) <= room:
                    after = frozenset(r for r in during if r in p.kept or p.readers[r] & ~done)
                    found[after] = min(found.get(after, path), path)
        if len(found) > _MOST_STATES:
            raise UnfinishedError(f"{graph.name}: too many tensors are alive at once to place them outside the chip")
        paths = found
    return frozenset(min(paths.values())[1]) | ends if paths else None


def _options(
    inside: frozenset[int], made: int | None, fixed: frozenset[int], path: _Path, cost: dict[int, int]
) -> Iterator[tuple[frozenset[int], _Path]]:
    """What is inside while an operator runs, if its output is, and if it is not."""
    if made is None:
        yield inside, path
        return
    yield inside | {made}, path
    if made not in fixed:
        yield inside, (path[0] + cost[made], tuple(sorted((*path[1], made))))
