"""Partitions into chains, one after the other, for where the cheapest does not pack although each of its steps would.

Why it does not is a clash of its steps (:mod:`memaopt.choice.step_conflicts`), and no partition packs that has it. So
the cheapest without such a clash is next, until one packs: the cheapest that does. What else may be in the way, flash
or what lies in RAM beside the arena, is found out by who asks; then that partition is passed over, but the bound stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from memaopt.choice.choice import Budgets
from memaopt.choice.clashes import StepClash
from memaopt.choice.partition import Partition, Partitions
from memaopt.choice.problem import Problem
from memaopt.choice.step_conflicts import clash_of, room_of, steps_of
from memaopt.networks.chains import depth_first
from memaopt.networks.graph import Graph

_MOST = 8
"""Partitions that are looked at."""
_MOST_CLASHES = 64
"""Of steps, before a partition is looked at that does not pack as it is."""


def ways(
    partitions: Partitions, limits: Budgets, prepared: Callable[[Graph], Problem], below: int | None = None
) -> Iterator[tuple[Partition, Problem]]:
    """The cheapest partition that packs with its problem, as it is ``prepared``, then as long as that is asked for the
    next ones, whose values are no bounds of all; ``below`` a price as in :meth:`Partitions.cheapest`."""
    graph, besides = partitions.problem.graph, tuple[StepClash, ...]()
    for _ in range(_MOST):
        found = packing(partitions, limits, besides, below)
        if found is None:
            return
        problem = prepared(depth_first(graph, found.chains))
        yield found, problem
        if not problem.stages:
            return  # nothing runs, in one way
        besides = (*found.potentials.clashes, passed_over(found, len(graph.operators)))


def passed_over(found: Partition, count: int) -> StepClash:
    """A partition of so many operators, whatever its kernels ask for."""
    steps = steps_of(found.chains, count)
    return StepClash(steps, (None,) * len(steps))


def packing(
    partitions: Partitions, limits: Budgets, besides: Sequence[StepClash] = (), below: int | None = None
) -> Partition | None:
    """The cheapest partition that packs, as far as clashes of steps show it, which its potentials have after
    ``besides``; None if there is none. ``below`` a price as in :meth:`Partitions.cheapest`."""
    room, problem = room_of(limits), partitions.problem
    while (found := partitions.cheapest(limits, besides, below)) is not None:
        if not found.steps or room is None or len(besides) >= _MOST_CLASHES:
            break
        ends = tuple((step.first, step.last) for step in found.steps)
        clash = clash_of(problem, partitions.segments, ends, [step.demand for step in found.steps], room)
        if clash is None:
            break
        besides = (*besides, clash)
    return found
