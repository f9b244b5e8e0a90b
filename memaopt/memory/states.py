"""Where the states of a network lie, one behind the other in memory that the caller keeps from run to run."""

from __future__ import annotations

from dataclasses import dataclass

from memaopt.alignment import align
from memaopt.networks.graph import Graph


@dataclass(frozen=True)
class StatePlan:
    """The byte offset of each state, by number, and what all of them take."""

    offsets: tuple[int, ...]
    bytes: int


def of(graph: Graph, alignment: int) -> StatePlan:
    """The states of a network in order, each at a multiple of ``alignment``."""
    offsets, end = [], 0
    for state in graph.states:
        offsets.append(end)
        end = align(end + graph.tensors[state.read].nbytes, alignment)
    return StatePlan(tuple(offsets), end)
