"""The knee of a network's front: where the arena is least among choices about as cheap as the best of all.

Each step asks for the best choice in an arena a hundredth smaller, so the least is found to a hundredth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from memaopt.choice.problem import ALIGNMENT, Problem
from memaopt.choice.solution import search
from memaopt.problems.words import Objective

#: How much more than the best of all the default may cost.
WITHIN = 0.004
#: How much more is little, for one who would save a tenth of the arena.
NEAR = 0.05
_STEP = 100


def in_arena(problem: Problem, arena: int) -> Problem:
    """The problem with that much arena at the most."""
    return dataclasses.replace(problem, limits=dataclasses.replace(problem.limits, arena=arena))


def knee(
    problems: Sequence[Problem], objective: Objective, price: int, arena: int, within: float
) -> tuple[int | None, int | None]:
    """The limit of the arena under which the best choice has the least that costs at most ``within`` of ``price`` more,
    None for no limit; and one under which it has a tenth less still, None if that costs more than :data:`NEAR`.

    ``price`` and ``arena`` are those of the best choice of all. A choice may take less than its limit, which holds
    for one order of the operators, in the order that suits it best.
    """
    found: int | None = None
    while True:
        limit = arena - max(ALIGNMENT, arena // _STEP)
        smaller = _arena(problems, objective, limit, price + int(price * within))
        if smaller is None:
            break
        found, arena = limit, smaller
    tenth = arena * 9 // 10
    near = _arena(problems, objective, tenth, price + int(price * max(NEAR, within)))
    return found, None if near is None else tenth


def _arena(problems: Sequence[Problem], objective: Objective, limit: int, most: int) -> int | None:
    """The arena of the best choice within ``limit`` bytes, None if that costs more than ``most``."""
    arena: int | None = None
    for problem in problems if limit > 0 else ():
        found = search(in_arena(problem, limit), objective, most + 1, solver=False)
        if found.choice is not None and found.memory is not None:
            arena, most = found.memory.arena_bytes, found.choice.price - 1
    return arena
