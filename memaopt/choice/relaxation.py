"""Lagrangian bounds: a byte of each budget has a price, and of a shared kernel each stage that uses it pays a share.

Price + multiplier * (used - budget) is a lower bound for any multiplier that is not negative, and a kernel costs no
less than what its users pay if their shares are together no more than the whole. So it does not matter how they were
found: from a first idea they go along a subgradient towards the bound of the linear relaxation. The bound itself is in
integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from memaopt.choice.dominance import ARENA, CODE, DATA, FLASH, PRICE, SUMS, Array
from memaopt.choice.label_stages import NEVER, WHOLE, Costs, Layers, Shares
from memaopt.choice.offers import Option

#: Multipliers are fractions of this.
UNIT = 1 << 16
#: How a first idea is found: rounds over all multipliers, the largest, and the bits they are found to.
_ROUNDS, _MOST, _ROUGH = 2, 1 << 34, 4
#: Steps along the subgradient, those without a gain before they are halved, and how often they are halved. There may be
#: a ``_HOPE``-th of the bound to gain; less than a ``_GAIN``-th of what a step hopes for is no gain. Near where they
#: begin, they have been halved ``_NEAR`` times.
_STEPS, _PATIENCE, _HALVINGS, _GAIN, _HOPE, _NEAR = 400, 8, 14, 1 << 10, 1 << 6, 4


class Relaxation:
    """The bound for multipliers of budgets (``taken``, by name, for the ``room`` that there is) and shares of kernels;
    ``column`` is what is to be the least."""

    def __init__(
        self, layers: Layers, column: int, taken: Mapping[str, int], room: Mapping[str, int], shares: Shares
    ) -> None:
        self.layers, self.column, self.taken, self.room = layers, column, taken, room
        flash, code, data, ram = (taken.get(name, 0) for name in ("flash", "code", "data", "ram"))
        self._of = flash + UNIT * (column == FLASH), code + ram, data + ram
        self._price = UNIT * (column == PRICE)
        self.worth = [self._of[0] * kernel.flash + self._of[1] * kernel.code for kernel in layers.kernels]
        self._shares = shares

    @cached_property
    def parts(self) -> list[dict[int, int]]:
        """What each stage pays of each kernel."""
        borne = zip(self.worth, self._shares, strict=True)
        return [{i: worth * share >> WHOLE for i, share in each.items()} for worth, each in borne]

    @cached_property
    def weights(self) -> Costs:
        """What each row adds."""
        return self.layers.apart(self._flat)

    @cached_property
    def _flat(self) -> Array:
        """What each row in the table adds."""
        multipliers = np.zeros(SUMS + 2, np.int64)
        multipliers[[PRICE, FLASH, CODE, DATA]] = self._price, *self._of
        return self.layers.own @ multipliers + self._borne[self.layers.share_of]

    @cached_property
    def _borne(self) -> Array:
        """All of ``parts``, as the rows number them."""
        return np.array([*(part for each in self.parts for part in each.values()), 0], np.int64)

    def weight(self, own: Sequence[int], kernel: int, stage: int) -> int:
        """What a row adds that takes so much for itself and uses a shared kernel (or none, -1) at a stage."""
        flash, code, data = self._of
        part = self.parts[kernel][stage] if kernel >= 0 else 0
        return self._price * own[PRICE] + flash * own[FLASH] + code * own[CODE] + data * own[DATA] + part

    @cached_property
    def to_go(self) -> list[Array]:
        """For each stage and each state before it, the least sum of weights from there to the end."""
        return self.layers.to_go_of(self._flat)

    @cached_property
    def ahead(self) -> Array:
        """For each stage, the parts of each kernel that stages from there on still pay."""
        ahead = np.zeros((len(self.layers.rows) + 1, len(self.parts)), np.int64)
        for k, parts in enumerate(self.parts):
            for stage, part in parts.items():
                ahead[: stage + 1, k] += part
        return ahead

    @property
    def spare(self) -> int:
        """What the budgets are worth."""
        return sum(multiplier * self.room[name] for name, multiplier in self.taken.items())

    def with_kernel(self, kernel: int) -> int:
        """What no choice that uses a shared kernel weighs less than: it pays for all of it, whoever its users are."""
        first, of = sum(map(len, self._shares[:kernel])), self.layers.share_of
        here = (first <= of) & (of < first + len(self._shares[kernel]))
        flat = self._flat - np.where(here, self._borne[of], 0)
        return int(self.layers.to_go_of(flat)[0][0]) + self.worth[kernel]

    @property
    def whole(self) -> int:
        """The bound in fractions of what is to be the least."""
        return int(self.to_go[0][0]) - self.spare

    def bound(self) -> int:
        """What no choice is below."""
        return -(-self.whole // UNIT)

    def in_arena(self, least: int, most: int, beyond: int) -> int:
        """What no choice is below whose arena has ``least`` to ``most`` bytes: ``beyond`` those that the bound reckons
        with already. NEVER if there is none."""
        rows = zip(self.weights, self.layers.rows, strict=True)
        weights = [
            [w if row.own[ARENA] <= most else int(NEVER) for w, row in zip(costs, here, strict=True)]
            for costs, here in rows
        ]
        total = int(self.layers.to_go(weights)[0][0])
        spare = self.spare - self.taken.get("ram", 0) * (least - beyond)
        return int(NEVER) if total >= NEVER else -((spare - total) // UNIT)


def used(name: str, sums: Sequence[int]) -> int:
    """What sums take of a budget."""
    _, flash, code, data = sums
    return {"flash": flash, "code": code, "data": data, "ram": code + data}[name]


def rough(layers: Layers, column: int, room: Mapping[str, int]) -> Relaxation:
    """A first idea of multipliers: one after the other raised until its budget is kept."""
    best = dict.fromkeys(room, 0)

    def within(taken: Mapping[str, int], name: str) -> bool:
        relaxed = Relaxation(layers, column, taken, room, layers.shares)
        return used(name, layers.used(layers.path(relaxed.weights, relaxed.to_go))) <= room[name]

    for _ in range(_ROUNDS if len(room) > 1 else 1):
        for name in room:
            low, high = 0, max(2 * best[name], UNIT)
            while high < _MOST and not within({**best, name: high}, name):
                low, high = high, 4 * high
            while high - low > max(1, high >> _ROUGH):
                middle = (low + high) // 2
                low, high = (low, middle) if within({**best, name: middle}, name) else (middle, high)
            best = {**best, name: high}
    return Relaxation(layers, column, best, room, layers.shares)


def tightened(layers: Layers, first: Relaxation, *, near: bool = False) -> tuple[Relaxation, Shares]:
    """Multipliers and shares that nearly give the highest bound: steps along the subgradient, ever smaller ones, and
    small from the first where that is ``near``."""
    room, column, scale = first.room, first.column, _scales(layers, first.room)
    best, shares, theta, idle = first, layers.shares, 0.5**_NEAR if near else 1.0, 0
    now, divided = best, shares
    hope = max(abs(first.whole) // _HOPE, UNIT)
    for _ in range(_STEPS):
        if idle > _PATIENCE:
            theta, idle, now, divided = theta / 2, 0, best, shares
            if theta < 0.5**_HALVINGS:
                break
        path = layers.path(now.weights, now.to_go)
        users = _users(path)
        sums = layers.used(path, divided)
        slope = {name: used(name, sums) - limit for name, limit in room.items()}
        norm = math.fsum(
            [len(at) - len(at) ** 2 / len(divided[k]) for k, at in users.items() if now.worth[k]]
            + [(over * scale[name]) * (over * scale[name]) for name, over in slope.items()]
        )
        if not norm:
            break
        step = theta * hope / norm
        divided = [
            _shifted(each, users[k], int(step * (1 << WHOLE) / now.worth[k])) if k in users and now.worth[k] else each
            for k, each in enumerate(divided)
        ]
        taken = {
            name: max(0, min(2 * value + UNIT, value + int(step * slope[name] * scale[name] * scale[name]), _MOST))
            for name, value in now.taken.items()
        }
        now = Relaxation(layers, column, taken, room, divided)
        gain = now.whole - best.whole
        idle = 0 if gain > hope * theta / _GAIN else idle + 1
        if gain > 0:
            best, shares = now, divided
    return best, shares


def _users(path: Sequence[Option]) -> dict[int, list[int]]:
    """The stages of a path that use each shared kernel."""
    users: dict[int, list[int]] = {}
    for row in path:
        if row.kernel >= 0:
            users.setdefault(row.kernel, []).append(row.stage)
    return users


def _scales(layers: Layers, room: Mapping[str, int]) -> dict[str, float]:
    """For each budget one by what a stage takes of it, so that steps for all are alike."""
    scales = {}
    for name in room:
        most = [max((used(name, layers.whole(row)) for row in rows), default=0) for rows in layers.rows]
        scales[name] = len(most) / max(sum(most), 1)
    return scales


def _shifted(shares: Mapping[int, int], users: Sequence[int], more: int) -> dict[int, int]:
    """Shares with more for the users: the nearest that are not negative and together the whole, rounded down."""
    raised = {stage: share + more * (stage in users) for stage, share in shares.items()}
    less, total = 0, -(1 << WHOLE)
    for count, value in enumerate(sorted(raised.values(), reverse=True), 1):
        total += value
        if value * count <= total:
            break
        less = -(-total // count)
    return {stage: max(value - less, 0) for stage, value in raised.items()}
