"""What the stages of a choice offer: the candidates that can be chosen at all, as rows for the exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import le
from typing import NamedTuple

import numpy as np

from memaopt.choice.choice import Budgets, Candidate, Stage, fits
from memaopt.choice.clashes import Clash
from memaopt.choice.dominance import ARENA, FLASH, PRICE, undominated
from memaopt.choice.in_ram import code_room, constants_room
from memaopt.kernels.registry import Format

#: What a candidate costs; None if it is not to be had.
Price = Callable[[Candidate], int | None]

#: Rows that are compared one by one.
_FEW = 32

_Key = tuple[tuple[int | None, ...], tuple[int, ...]]


class Option(NamedTuple):
    """A candidate as the search sees it: ``pick`` is its place in the stage, ``kernel`` a shared kernel in its place
    (or -1), ``own`` what it takes for itself, ``meets`` the clashes whose demand at this stage it meets, as bits."""

    pick: int
    stage: int
    wanted: Format
    made: Format
    kernel: int
    own: tuple[int, ...]
    meets: int

    def in_arena(self, least: int) -> Option:
        """The row with so many bytes of arena at least."""
        if self.own[ARENA] >= least:
            return self
        return self._replace(own=(*self.own[:ARENA], least, *self.own[ARENA + 1 :]))


@dataclass(frozen=True)
class SharedKernel:
    """A kernel that several stages can share, in flash or in RAM: its bytes, and the stages that can use it."""

    names: tuple[str, ...]
    in_ram: bool
    flash: int
    code: int
    stages: tuple[int, ...]


class Offered(NamedTuple):
    """A candidate that fits, without its price: ``own`` is what it takes beside that."""

    pick: int
    candidate: Candidate
    kernel: int
    own: tuple[int, ...]


class Offers:
    """The candidates of stages that fit budgets and formats, but for their prices and clashes.

    Rows are made again only of stages whose prices have changed or which a new clash speaks of.
    """

    def __init__(self, stages: Sequence[Stage], plain: frozenset[int], budgets: Budgets) -> None:
        self.stages, self.budgets = stages, budgets
        self.kernels, number = _shared(stages)
        self.offered = [_offered(stage, plain, budgets, number) for stage in stages]
        self._made: list[tuple[_Key, list[Option]] | None] = [None] * len(stages)

    def rows(self, clashes: Sequence[Clash], price: Price) -> list[list[Option]]:
        """For each stage its rows, without those that another one replaces everywhere."""
        return [self._rows(i, clashes, price) for i in range(len(self.stages))]

    def _rows(self, i: int, clashes: Sequence[Clash], price: Price) -> list[Option]:
        offered = self.offered[i]
        costs = tuple([price(offer.candidate) for offer in offered])
        here = [(1 << bit, clash) for bit, clash in enumerate(clashes) if clash.first <= i <= clash.last]
        meets = tuple([sum(bit for bit, clash in here if clash.met(i, o.candidate)) for o in offered]) if here else ()
        key, made = (costs, meets), self._made[i]
        if made is None or made[0] != key:
            made = self._made[i] = key, _undominated(i, offered, costs, meets or (0,) * len(offered))
        return made[1]


def _undominated(i: int, offered: Sequence[Offered], costs: Sequence[int | None], meets: Sequence[int]) -> list[Option]:
    """The rows of a stage at these prices."""
    found: dict[tuple[object, ...], list[Option]] = {}
    for offer, cost, met in zip(offered, costs, meets, strict=True):
        if cost is None:
            continue
        plan = offer.candidate.plan
        wanted, made = plan.input_format, plan.output_format
        row = Option(offer.pick, i, wanted, made, offer.kernel, (cost, *offer.own), met)
        found.setdefault((wanted, made, offer.kernel, met), []).append(row)
    rows = []
    for alike in found.values():
        rows += alike if len(alike) == 1 else one_by_one(alike) if len(alike) <= _FEW else by_arrays(alike)
    return rows


def one_by_one(alike: Sequence[Option]) -> list[Option]:
    """What :func:`by_arrays` finds, one by one: of a few rows that takes less time than arrays do."""
    left: list[Option] = []
    # No row is replaced by one that comes after it in this order.
    for row in sorted(alike, key=_all_of):
        if not any(all(map(le, other.own, row.own)) for other in left):
            left.append(row)
    return sorted(left, key=_first_of) if len(left) > 1 else left


def by_arrays(alike: Sequence[Option]) -> list[Option]:
    """The rows that no other one replaces, the cheapest first."""
    alike = sorted(alike, key=_first_of)
    values = np.array([row.own for row in alike], np.int64)
    none = np.zeros((len(alike), 0), bool)
    kept = undominated(values, none, np.zeros((2, 0), np.int64), np.zeros(0, bool))
    return [alike[k] for k in kept.tolist()]


def _first_of(row: Option) -> tuple[int, ...]:
    return row.own[PRICE], row.own[FLASH], row.own[ARENA], row.pick


def _all_of(row: Option) -> tuple[int, ...]:
    return row.own[PRICE], row.own[FLASH], row.own[ARENA], *row.own, row.pick


def _offered(
    stage: Stage, plain: frozenset[int], budgets: Budgets, number: dict[tuple[tuple[str, ...], bool], int]
) -> list[Offered]:
    """The candidates of a stage that fit by themselves, and whose formats the stage can have."""
    offered = []
    for pick, candidate in enumerate(stage.candidates):
        plan, where = candidate.plan, candidate.where
        if not fits(candidate, budgets) or (plan.output_format is not Format.S8 and stage.output in plain):
            continue
        if plan.input_format is not Format.S8 and None in stage.inputs:
            continue
        kernel = number.get((plan.kernels, where.code), -1) if plan.kernels else -1
        flash = candidate.flash_bytes - (plan.shared_bytes if kernel >= 0 else 0)
        code = code_room(plan) if where.code and kernel < 0 else 0
        data = constants_room(plan) if where.data else 0
        own = flash, code, data, candidate.arena_bytes, candidate.stack_bytes
        offered.append(Offered(pick, candidate, kernel, own))
    return offered


def _shared(stages: Sequence[Stage]) -> tuple[list[SharedKernel], dict[tuple[tuple[str, ...], bool], int]]:
    """The kernels that several stages can have, once for each place that they can have, and their numbers."""
    users: dict[tuple[str, ...], set[int]] = {}
    places: dict[tuple[tuple[str, ...], bool], tuple[set[int], Candidate]] = {}
    for i, stage in enumerate(stages):
        for key, candidate in stage.kernels.items():
            users.setdefault(key[0], set()).add(i)
            places.setdefault(key, (set(), candidate))[0].add(i)
    kernels: list[SharedKernel] = []
    number: dict[tuple[tuple[str, ...], bool], int] = {}
    for key, (where, one) in places.items():
        if len(users[key[0]]) > 1:
            number[key] = len(kernels)
            code = code_room(one.plan) if key[1] else 0
            kernels.append(SharedKernel(key[0], key[1], one.plan.shared_bytes, code, tuple(sorted(where))))
    return kernels, number
