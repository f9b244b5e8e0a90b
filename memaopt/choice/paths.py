"""Shortest paths over positions of a network's operators, whose states have the formats of what is still to be read.

A path may be asked for that has none of some clashes of steps: then states also tell which of these it has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from memaopt.choice.clashes import Demand, StepClash
from memaopt.kernels.plan import Format

Formats = frozenset[tuple[int, Format]]
"""Tensors that are not plain int8."""


class _From(Protocol):
    """A step that leads from a position."""

    @property
    def first(self) -> int: ...


_State = TypeVar("_State")
_Step = TypeVar("_Step", bound=_From)


class PathStep(NamedTuple):
    """From one position to another: a value, and the formats that the state has afterwards. ``known``: the value is
    the step's own, and no lower bound. ``demand``: what its kernel asks for, where that is known; ``met``: the clashes
    whose demand of this step that meets."""

    first: int
    last: int
    value: int
    formats: Formats
    known: bool = True
    demand: Demand | None = None
    met: frozenset[int] = frozenset()


class PathState(NamedTuple):
    """What a path left to be read, and the clashes that it has the beginning of."""

    formats: Formats
    begun: frozenset[int]


Reached = list[dict[PathState, tuple[int, PathStep | None, PathState | None]]]
"""At each position the states: the least value of a way there, its last step, the state before that."""


class Potentials(NamedTuple):
    """What proves a path the shortest of those that have none of the ``clashes``. ``states``: of each (a position, the
    tensors still to be read that are not plain int8, and the clashes that are begun) the value that no way there is
    below."""

    clashes: tuple[StepClash, ...]
    states: tuple[tuple[int, tuple[tuple[int, Format], ...], tuple[int, ...], int], ...]


NO_POTENTIALS = Potentials((), ())


def begun(before: frozenset[int], step: PathStep, besides: Sequence[StepClash]) -> frozenset[int] | None:
    """The clashes that a path has begun after a step, and ``before``; None if it has one altogether."""
    found = frozenset(k for k in step.met if k in before or besides[k].first == step.first)
    return None if any(besides[k].last == step.last for k in found) else found


def reached(
    count: int,
    steps: Callable[[int, Formats], Iterator[PathStep]],
    joined: Callable[[int, int], int],
    besides: Sequence[StepClash] = (),
) -> Reached:
    """What ``steps`` from the first to the last of ``count`` positions reach, by paths with none of ``besides``."""
    best: Reached = [{} for _ in range(count + 1)]
    best[0][PathState(frozenset(), frozenset())] = (0, None, None)
    for i in range(count):
        for state, (far, _, _) in best[i].items():
            for step in steps(i, state.formats):
                left = begun(state.begun, step, besides)
                if left is None:
                    continue
                after, total = PathState(step.formats, left), joined(far, step.value)
                known = best[step.last].get(after)
                if known is None or total < known[0]:
                    best[step.last][after] = (total, step, state)
    return best


def path(found: Sequence[Mapping[_State, tuple[int, _Step | None, _State | None]]]) -> tuple[int, list[_Step]] | None:
    """The value of the shortest to the last position, and its steps; None if there is none."""
    if not found[-1]:
        return None
    state: _State | None = min(found[-1], key=lambda each: found[-1][each][0])
    assert state is not None
    value, at, taken = found[-1][state][0], len(found) - 1, list[_Step]()
    while at:
        assert state is not None
        _, step, state = found[at][state]
        assert step is not None
        taken.append(step)
        at = step.first
    return value, taken[::-1]


def potentials(found: Reached, besides: Sequence[StepClash] = ()) -> Potentials:
    """The values of the states, in the order of positions and formats."""
    states = (
        (i, tuple(sorted(state.formats)), tuple(sorted(state.begun)), total)
        for i, each in enumerate(found)
        for state, (total, *_) in each.items()
    )
    return Potentials(tuple(besides), tuple(sorted(states)))
