"""The knee of a network's front: where the arena is least among choices about as cheap as the best of all.

Each step asks for the best choice in an arena a hundredth smaller, so the least is found to a hundredth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol, TypeVar

from memaopt.choice.problem import Problem
from memaopt.choice.stages import ALIGNMENT
from memaopt.errors import InputError
from memaopt.spelling import option

#: How much more than the best of all the default may cost.
WITHIN = 0.004
#: How much more is little, for one who would save a tenth of the arena.
NEAR = 0.05
_STEP = 100
_MOST = 10


def refuse_slack(within: float | None) -> None:
    """InputError for what no choice can cost more than the best: less than nothing, or no number."""
    if within is not None and not 0 <= within <= _MOST:
        raise InputError(f"{option('within')} is {within:g}: give a fraction from 0 to {_MOST}, as in 0.05")


def in_arena(problem: Problem, arena: int) -> Problem:
    """The problem with that much arena at the most."""
    return dataclasses.replace(problem, limits=dataclasses.replace(problem.limits, arena=arena))


class InArena(Protocol):
    """A plan, as far as it matters here."""

    @property
    def arena_bytes(self) -> int: ...


P = TypeVar("P", bound=InArena)


def knee(made: Callable[[int, int], P | None], price: int, best: P, within: float) -> tuple[P, P | None]:
    """The plan in the least arena that costs at most ``within`` of ``price`` more, which is what the ``best`` costs;
    and one in a tenth less still, None if that costs more than :data:`NEAR`.

    ``made`` gives the best plan in so much arena that costs so much at most, None if there is none. A plan may take
    less than its limit, which holds for one order of the operators, in the order that suits it best.
    """
    chosen = best
    while (smaller := made(_less(chosen.arena_bytes), price + int(price * within))) is not None:
        chosen = smaller
    return chosen, made(chosen.arena_bytes * 9 // 10, price + int(price * max(NEAR, within)))


def _less(arena: int) -> int:
    """A hundredth less."""
    return arena - max(ALIGNMENT, arena // _STEP)
