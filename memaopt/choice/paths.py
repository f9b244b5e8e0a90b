"""Shortest paths over positions of a network's operators, whose states have the formats of what is still to be read.

A path may be asked for that has none of some stretches of steps: then states also tell which of these it may have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from memaopt.kernels.plan import Format

Formats = frozenset[tuple[int, Format]]
"""Tensors that are not plain int8."""
Stretch = tuple[tuple[int, int], ...]
"""Steps one behind the other, each from a position to another."""


class PathStep(NamedTuple):
    """From one position to another: a value, and the formats that the state has afterwards. ``known``: the value is
    the step's own, and no lower bound."""

    first: int
    last: int
    value: int
    formats: Formats
    known: bool = True


class PathState(NamedTuple):
    """What a path left to be read, and the stretches that it has the beginning of, or has not come to."""

    formats: Formats
    ahead: frozenset[Stretch]


Reached = list[dict[PathState, tuple[int, PathStep | None, PathState | None]]]
"""At each position the states: the least value of a way there, its last step, the state before that."""
Potentials = tuple[tuple[int, tuple[tuple[int, Format], ...], int], ...]
"""Of states (a position, and the tensors still to be read that are not plain int8), the value that no way there is
below."""


def reached(
    count: int,
    steps: Callable[[int, Formats], Iterator[PathStep]],
    joined: Callable[[int, int], int],
    besides: Collection[Stretch] = (),
) -> Reached:
    """What ``steps`` from the first to the last of ``count`` positions reach, by paths with none of ``besides``."""
    best: Reached = [{} for _ in range(count + 1)]
    best[0][PathState(frozenset(), frozenset(besides))] = (0, None, None)
    for i in range(count):
        for state, (far, _, _) in best[i].items():
            for step in steps(i, state.formats):
                ahead = frozenset(each for each in state.ahead if step.last <= each[0][0] or step[:2] in each)
                if any(step.last == each[-1][1] for each in ahead):
                    continue
                after, total = PathState(step.formats, ahead), joined(far, step.value)
                known = best[step.last].get(after)
                if known is None or total < known[0]:
                    best[step.last][after] = (total, step, state)
    return best


def path(found: Reached) -> list[PathStep] | None:
    """The shortest to the last position; None if there is none."""
    if not found[-1]:
        return None
    state: PathState | None = min(found[-1], key=lambda each: found[-1][each][0])
    at, taken = len(found) - 1, list[PathStep]()
    while at:
        assert state is not None
        _, step, state = found[at][state]
        assert step is not None
        taken.append(step)
        at = step.first
    return taken[::-1]


def potentials(found: Reached) -> Potentials:
    """The values of the states, in the order of positions and formats."""
    states = (
        (i, tuple(sorted(state.formats)), total) for i, each in enumerate(found) for state, (total, *_) in each.items()
    )
    return tuple(sorted(states))
