"""How much code each loop of a plan runs through, whatever machine it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from memaopt.kernels.code import Call, Loop, Node, Small, Staged, Straight
from memaopt.kernels.executed import body_of


class Turns(NamedTuple):
    """Code that lies directly in some loops, in one turn of theirs: its words and cycles. ``around`` are those loops,
    the innermost first: the words that each runs through in a turn, whatever is called, and how often it turns."""

    words: int
    cycles: float
    around: tuple[tuple[int, float], ...] = ()


class _Within(NamedTuple):
    """What nodes run through: words of their own, those of routines by name, and all code in them."""

    words: int
    routines: dict[str, int]
    turns: tuple[Turns, ...]


def turns_of(nodes: tuple[Node, ...]) -> tuple[Turns, ...]:
    """All straight code of nodes, summed by the loops that it lies in."""
    return _within(nodes).turns


def _within(nodes: tuple[Node, ...]) -> _Within:
    own, words, cycles, routines = 0, 0, 0.0, dict[str, int]()
    inside: list[Turns] = []
    for node in nodes:
        if isinstance(node, Straight):
            own += len(node.cycles)
            cycles += sum(node.cycles)
        elif isinstance(node, (Loop, Staged)):
            inner = _within(node.body)
            words += inner.words
            routines |= inner.routines
            inside += inner.turns if isinstance(node, Staged) else _around(node, inner)
        elif isinstance(node, Call):
            inner = _within(body_of(node))
            size = node.routine.size // 4 if isinstance(node.routine, Small) else inner.words
            routines |= {**inner.routines, node.routine.name: size}
            inside += inner.turns
    return _Within(own + words, routines, (Turns(own, cycles), *inside) if own else tuple(inside))


def _around(loop: Loop, inner: _Within) -> Iterator[Turns]:
    """The code of a loop's body, with the loop around it."""
    size = inner.words + sum(inner.routines.values())
    for turns in inner.turns:
        yield turns._replace(around=(*turns.around, (size, loop.trips)))
