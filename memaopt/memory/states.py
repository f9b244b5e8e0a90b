"""Where the states of a network lie, one behind the other in memory that the caller keeps from run to run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from memaopt.alignment import align
from memaopt.networks.graph import Graph


@dataclass(frozen=True)
class StatePlan:
    """The byte offset of each state, by number: of its first copy. What all of them take. ``apart`` has, for each
    number of copies but one, the bytes from a copy of such states to the next: theirs lie together.
    """

    offsets: tuple[int, ...]
    bytes: int
    apart: Mapping[int, int]

    @property
    def turns(self) -> int:
        """After how many runs the first copy of every state is taken again."""
        return math.lcm(*self.apart)


def of(graph: Graph, alignment: int) -> StatePlan:
    """The states of a network in order, those of one copy first, each at a multiple of ``alignment``."""
    offsets, apart, end = [0] * len(graph.states), dict[int, int](), 0
    for copies in sorted({state.copies for state in graph.states}):
        start = end
        for number, state in enumerate(graph.states):
            if state.copies == copies:
                offsets[number] = end
                end = align(end + graph.tensors[state.read].nbytes, alignment)
        if copies > 1:
            apart[copies] = end - start
            end += (copies - 1) * (end - start)
    return StatePlan(tuple(offsets), end, apart)
