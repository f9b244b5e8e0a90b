"""A walk over the blocks of a nest: its loop order with the level at which each operand's tile is held.

A tile of X at hold level j spans blocks along the first j loops and the full extent along the others, so level 0 is the
whole operand and level 3 its part of one block. At level 4 there is no tile: X moves straight between its memory and
the registers. What a walk costs follows from 0/1 flags, given as integers or, for many walks at once, as arrays.
"""

from collections.abc import Mapping
from functools import cache
from itertools import groupby, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.schedule import BLOCK_LEVEL, ORDERS, REGISTER_LEVEL, Hold, Order, Schedule, Space
from memaopt.problems.gemm import INDEXED_BY, OPERANDS, REVISITED_BY, Dim, Gemm, Operand

#: An integer, or an array of them: every formula works on both.
Ints = int | npt.NDArray[np.int64]
#: A truth value, or an array of them, to multiply with.
Flags = Ints | bool | npt.NDArray[np.bool_]

_PAIRS = tuple((x, d) for x in OPERANDS for d in INDEXED_BY[x])
#: Flags of a walk: of each pair whether it is blocked, returns and turns, and of each operand whether it is direct.
_FLAGS = 3 * len(_PAIRS) + len(OPERANDS)


class BlockWalk(NamedTuple):
    """Flags of one walk, or of several as arrays.

    ``blocked``: the operand's tile is cut along the loop. ``returns``: if that loop runs more than once, running the
    loop that does not index the operand brings the same tiles back. ``direct``: the operand has no tile. ``turns``: the
    loop runs there and back, so that the operand's tile stays at each turn; where it is not named it does not.
    """

    blocked: Mapping[tuple[Operand, Dim], Flags]
    returns: Mapping[tuple[Operand, Dim], Flags]
    direct: Mapping[Operand, Flags]
    turns: Mapping[tuple[Operand, Dim], Flags] = {}

    @property
    def key(self) -> tuple[Flags, ...]:
        """Walks of equal keys cost the same."""
        turns = (self.turns.get(key, 0) for key in _PAIRS)
        return *self.blocked.values(), *self.returns.values(), *self.direct.values(), *turns


class WalkChoice(NamedTuple):
    """A loop order, the hold level of each operand, and whether the middle loop turns."""

    order: Order
    hold: Hold
    turning: bool = False


class Walks(NamedTuple):
    """Walks of kernels that keep the same operand in registers, with their flags: a row each, a column a walk."""

    choices: tuple[WalkChoice, ...]
    flags: npt.NDArray[np.int64]

    def at(self, index: npt.NDArray[np.int64]) -> BlockWalk:
        """Those with these numbers, one for each place."""
        rows = iter(self.flags[:, index])
        return BlockWalk(
            {key: next(rows) for key in _PAIRS},
            {key: next(rows) for key in _PAIRS},
            {x: next(rows) for x in OPERANDS},
            dict(zip(_PAIRS, rows, strict=True)) if any(choice.turning for choice in self.choices) else {},
        )

    @property
    def every(self) -> BlockWalk:
        """All of them, each flag a column."""
        return self.at(np.arange(len(self.choices))[:, None])

    def some(self, index: npt.NDArray[np.int64]) -> "Walks":
        """Those with these numbers."""
        return Walks(tuple(self.choices[i] for i in index), self.flags[:, index])

    def named(self, among: "Walks") -> npt.NDArray[np.int64]:
        """The number here of each of ``among``, all of which are here."""
        number = {choice: i for i, choice in enumerate(self.choices)}
        return np.array([number[choice] for choice in among.choices], dtype=np.int64)


def walk(space: Space, order: Order, hold: Hold, turning: bool = False) -> BlockWalk:
    """The flags of a loop order and hold levels; the sums of a C in SRAM are kept until they are done."""
    return _walk(space.staged, order, hold, turning)


@cache
def _walk(staged: frozenset[Operand], order: Order, hold: Hold, turning: bool = False) -> BlockWalk:
    at, level = {d: i for i, d in enumerate(order)}, dict(zip(OPERANDS, hold, strict=True))
    if "C" not in staged:
        level["C"] = at["k"]
    return BlockWalk(
        {(x, d): int(at[d] < level[x]) for x, d in _PAIRS},
        {(x, d): int(at[REVISITED_BY[x]] < at[d] < level[x]) for x, d in _PAIRS},
        {x: int(level[x] == REGISTER_LEVEL) for x in OPERANDS},
        {(x, order[1]): 1 for x in OPERANDS if turning and x == kept_by(order)},
    )


def walk_of(space: Space, schedule: Schedule) -> BlockWalk:
    """The flags of a schedule."""
    return walk(space, schedule.order, schedule.hold, schedule.turning)


def kept_by(order: Order) -> Operand:
    """The operand whose tile stays where the middle loop of this order turns: the outermost does not index it."""
    return next(x for x in OPERANDS if REVISITED_BY[x] == order[0])


def turning_choices(space: Space, stationary: Operand) -> tuple[WalkChoice, ...]:
    """The walks whose middle loop turns, with kernels that keep ``stationary`` in registers.

    The operand that is kept over the turn is A or B and has a tile of one block; the innermost loop runs once, so
    that for the others a tile of one block is as good as any, or none.
    """
    return _turning_choices(space.staged, stationary) if space.may_turn else ()


@cache
def _turning_choices(staged: frozenset[Operand], stationary: Operand) -> tuple[WalkChoice, ...]:
    found = []
    for order in ORDERS:
        kept = kept_by(order)
        if kept == "C" or kept not in staged:
            continue
        free = {x for x in staged - {kept} if x in (stationary, "C")}
        options = [[BLOCK_LEVEL, *([REGISTER_LEVEL] if x in free else [])] for x in OPERANDS]
        found += [WalkChoice(order, (a, b, c), True) for a, b, c in product(*options)]
    return tuple(found)


def choices(space: Space, stationary: Operand) -> tuple[WalkChoice, ...]:
    """The walks that can be best with kernels that keep ``stationary`` in registers, one of each cost.

    For each operand: a tile of one block, one that is kept while the loop that does not index it runs, or none. Any
    other level has as many visits as one of these and no smaller a tile.
    """
    return _choices(space.staged, stationary)


@cache
def _choices(staged: frozenset[Operand], stationary: Operand) -> tuple[WalkChoice, ...]:
    found: dict[tuple[Flags, ...], WalkChoice] = {}
    for order in ORDERS:
        options = [[BLOCK_LEVEL] for _ in OPERANDS]
        for x, levels in zip(OPERANDS, options, strict=True):
            if x in staged:
                levels += [order.index(REVISITED_BY[x])]
                levels += [REGISTER_LEVEL] if x in (stationary, "C") else []
        for a, b, c in product(*options):
            found.setdefault(_walk(staged, order, (a, b, c)).key, WalkChoice(order, (a, b, c)))
    return tuple(found.values())


@cache
def together(staged: frozenset[Operand], found: tuple[WalkChoice, ...]) -> Walks:
    """Several walks as one."""
    return Walks(found, np.array([_walk(staged, *each).key for each in found], dtype=np.int64).reshape(-1, _FLAGS).T)


def walks_of(space: Space, stationary: Operand) -> Walks:
    """:func:`choices`, together."""
    return together(space.staged, choices(space, stationary))


def turning_walks(space: Space, stationary: Operand) -> list[Walks]:
    """:func:`turning_choices`, those of one order together."""
    by_order = groupby(turning_choices(space, stationary), key=lambda choice: choice.order)
    return [together(space.staged, tuple(each)) for _, each in by_order]


def visits(path: BlockWalk, trips: Mapping[Dim, Ints], operand: Operand) -> Ints:
    """How often each tile of ``operand`` is moved."""
    again: Ints = path.direct[operand] | 0
    for d in INDEXED_BY[operand]:
        again = again | (path.returns[operand, d] & (trips[d] > 1))
    return 1 + (trips[REVISITED_BY[operand]] - 1) * again


def tile_elements(problem: Gemm, path: BlockWalk, operand: Operand, block: Mapping[Dim, Ints]) -> Ints:
    """Elements of the largest tile of ``operand``, where it has one."""
    total: Ints = 1
    for d in INDEXED_BY[operand]:
        size = problem.sizes[d]
        total = total * (size + path.blocked[operand, d] * (block[d] - size))
    return total
