"""Partitions into chains, one after the other, for where the cheapest does not pack although each of its steps would.

Why it does not is a stretch of its steps that clash (:mod:`memaopt.choice.conflicts`). The next one is the cheapest
without such a stretch. So one that packs with other kernels may be passed over, and the bound stays that of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from memaopt.choice.best import best_of
from memaopt.choice.choice import Budgets
from memaopt.choice.conflicts import explain
from memaopt.choice.partition import Partition, Partitions
from memaopt.choice.paths import Stretch
from memaopt.choice.problem import Problem
from memaopt.choice.solution import unlimited
from memaopt.networks.chains import Chains, depth_first
from memaopt.networks.graph import Graph

_MOST = 8
"""Partitions that are looked at."""


def ways(
    partitions: Partitions, limits: Budgets, prepared: Callable[[Graph], Problem], below: int | None = None
) -> Iterator[tuple[Partition, Problem]]:
    """The cheapest partition with its problem, as it is ``prepared``, then as long as that is asked for those that may
    pack where the ones before did not; ``below`` a price as in :meth:`Partitions.cheapest`."""
    graph, besides = partitions.problem.graph, list[Stretch]()
    while len(besides) < _MOST and (found := partitions.cheapest(limits, besides, below)) is not None:
        problem = prepared(depth_first(graph, found.chains))
        yield found, problem
        if not problem.stages:
            return  # nothing runs, in one way
        besides.append(_clash(problem, steps_of(found.chains, len(graph.operators)), limits))


def steps_of(chains: Chains, count: int) -> Stretch:
    """Every step of a partition of so many operators."""
    starts, at, steps = dict(chains), 0, list[tuple[int, int]]()
    while at < count:
        steps.append((at, starts.get(at, at + 1)))
        at = steps[-1][1]
    return tuple(steps)


def _clash(problem: Problem, steps: Stretch, limits: Budgets) -> Stretch:
    """The steps of a partition that do not go together; all of them where nothing shows which."""
    if limits.arena is None:
        return steps
    # Of candidates that fit by themselves: with others a step alone would be to blame.
    stages = tuple(
        replace(stage, candidates=tuple(c for c in stage.candidates if c.arena_bytes <= limits.arena))
        for stage in problem.stages
    )
    if not all(stage.candidates for stage in stages):
        return steps
    fitting = unlimited(replace(problem, stages=stages))
    smallest = best_of(fitting, "arena", solver=False)
    if smallest.picks is None or smallest.value <= limits.arena:
        return steps
    clash = explain(fitting, smallest.picks, limits.arena, smallest.value)
    if clash is None:
        return steps
    return steps[problem.positions[clash.first] : problem.positions[clash.last] + 1]
