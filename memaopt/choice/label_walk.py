"""One pass over the stages of a network: labels, what bounds them, and which of them stay.

What labels are, :mod:`memaopt.choice.labels` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from memaopt.choice.dominance import (
    ARENA,
    CODE,
    DATA,
    FLASH,
    PRICE,
    STACK,
    SUMS,
    Array,
    Bits,
    Effort,
    TooMuchError,
    undominated,
)
from memaopt.choice.knapsack import Knapsack
from memaopt.choice.label_stages import NEVER, WHOLE, Edge, Layers, most_of
from memaopt.choice.offers import Option
from memaopt.choice.relaxation import UNIT, Relaxation, rough, tightened, used

Least = Literal["price", "flash", "arena", "sram"]
#: Pairs of labels that are compared before the search gives up; fewer once there are clashes, each of which asks anew.
_MOST_PAIRS, _MOST_AFTER_CLASHES = 100_000_000, 10_000_000


class Found(NamedTuple):
    """The best picks (None: there are none, or none below what was asked for), their value, and whether that is proven;
    ``bound`` is what no choice is below. ``hopeless``: there was so much left that it was not tried."""

    picks: tuple[int, ...] | None
    value: int
    bound: int
    proven: bool
    hopeless: bool = False


class LabelWalk:
    """Passes over the stages for one value that is to be the least. ``rough``: only multipliers are found, roughly;
    ``first``: those of more stages, rows or room, near which they are looked for."""

    def __init__(
        self, layers: Layers, least: Least, *, rough: bool = False, first: Mapping[str, int] | None = None
    ) -> None:
        self.layers, self.least, self.rough, self.first = layers, least, rough, first
        count = len(layers.kernels)
        self.flash = np.array([kernel.flash for kernel in layers.kernels], np.int64)
        self.code = np.array([kernel.code for kernel in layers.kernels], np.int64)
        twin = {(k.names, k.in_ram): i for i, k in enumerate(layers.kernels)}
        self.rival = [twin.get((k.names, not k.in_ram), -1) for k in layers.kernels]
        # What was paid for matters as long as a stage may use it, in whichever place.
        last = [kernel.stages[-1] for kernel in layers.kernels]
        self.ends = np.array([max(last[k], last[r] if r >= 0 else 0) for k, r in enumerate(self.rival)], np.int64)
        self.contested = np.array([rival >= 0 for rival in self.rival], bool)
        self.narrow = {column: layers.narrow(column) for column in (ARENA, STACK)}
        self.relaxed: list[Relaxation] = []
        self.impossible = bool(self.narrow[ARENA][0][0] >= NEVER)
        if self.impossible:
            return
        self.most: list[list[int]] = [most_of(layers, column) for column in range(SUMS)]
        # A network whose outputs are all known has no rows.
        own = [row.own for rows in layers.rows for row in rows]
        arena = max([*(row[ARENA] for row in own), *(clash.arena for clash in layers.clashes)], default=0)
        self.widest = arena, max((row[STACK] for row in own), default=0)
        self.relaxed = self._relaxations()
        if rough:
            return
        self.tables = self._tables()
        self.sums = [layers.to_go(layers.sums_of(column)) for column in range(SUMS)]
        # For each stage, the bytes of each kernel that stages from there on still bear.
        self.ahead = np.zeros((2, len(layers.stages) + 1, count), np.int64)
        for k, kernel in enumerate(layers.kernels):
            for i, share in layers.shares[k].items():
                for place, size in enumerate((kernel.flash, kernel.code)):
                    self.ahead[place, : i + 1, k] += size * share >> WHOLE

    def _room(self) -> dict[str, int]:
        """The budgets that some path exceeds, by name: what sums must not exceed, whatever the maxima are."""
        layers, room = self.layers, {}
        for column, name in ((FLASH, "flash"), (CODE, "code"), (DATA, "data")):
            limit = layers.limits[column]
            if limit is not None and self.most[column][0] > limit:
                room[name] = limit
        if layers.budgets.sram is not None:
            left = layers.budgets.sram - int(self.narrow[ARENA][0][0]) - int(self.narrow[STACK][0][0])
            if self.most[CODE][0] + self.most[DATA][0] > left:
                room["ram"] = left
        return room

    def _relaxations(self) -> list[Relaxation]:
        """The bound without multipliers, and that with them if a budget is short."""
        layers, column = self.layers, PRICE if self.least == "price" else FLASH
        if self.least in ("arena", "sram"):
            return []
        made = [Relaxation(layers, column, {}, {}, layers.shares)]
        room = self._room()
        if self.least == "price" and room:
            if self.first is None:
                best = rough(layers, column, room)
            else:
                near = {name: self.first.get(name, 0) for name in room}
                best = Relaxation(layers, column, near, room, layers.shares)
            if not self.rough:
                best, layers.shares = tightened(layers, best, near=self.first is not None)
            made.append(best)
        return made

    def _tables(self) -> list[tuple[str, Relaxation, Knapsack]]:
        """For each budget that is exceeded, what is to go by what is left of it, with multipliers for the others."""
        if len(self.relaxed) < 2:
            return []
        layers, best, made = self.layers, self.relaxed[-1], []
        for name, limit in best.room.items():
            others = {other: value for other, value in best.taken.items() if other != name}
            relaxed = Relaxation(layers, best.column, others, best.room, layers.shares)
            sizes = [[used(name, layers.weights(row)) for row in rows] for rows in layers.rows]
            made.append((name, relaxed, Knapsack(layers, relaxed.weights, sizes, limit)))
        return made

    @property
    def price_of_ram(self) -> int:
        """What a byte of RAM is worth, by the multipliers."""
        return self.relaxed[-1].taken.get("ram", 0) if self.relaxed else 0

    @property
    def least_arena(self) -> int:
        """What every choice needs."""
        return int(self.narrow[ARENA][0][0])

    def bound(self) -> int:
        """What no choice is below."""
        if not self.relaxed:
            column = self.narrow[ARENA][0][0]
            return int(column if self.least == "arena" else column + self.narrow[STACK][0][0])
        bounds = [relaxed.bound() for relaxed in self.relaxed]
        for name, relaxed, table in self.tables:
            least = int(table.least(0, 0, np.array([relaxed.room[name]]))[0])
            bounds.append(-((relaxed.spare - least) // UNIT))
        return max(bounds)

    def within(self, below: int) -> LabelWalk:
        """The walk over what may end below a value: rows and shared kernels go that even the bound with them is not
        below."""
        if not self.relaxed:
            return self
        layers, relaxed = self.layers, self.relaxed[-1]
        limit = (below - 1 - (layers.overhead if relaxed.column == FLASH else 0)) * UNIT + relaxed.spare
        before = layers.so_far(relaxed.weights)
        dear = {k for k in range(len(layers.kernels)) if relaxed.with_kernel(k) > limit}

        def beyond(i: int, state: int, edge: Edge) -> bool:
            if layers.rows[i][edge.row].kernel in dear:
                return True
            here = before[i][state] + relaxed.weights[i][edge.row]
            return bool(here + relaxed.to_go[i + 1][edge.to] > limit)

        return LabelWalk(layers.without(beyond), self.least, first=relaxed.taken)

    def in_arena(self, least: int, most: int) -> LabelWalk:
        """The walk over what may take an arena of ``most`` bytes at most, ``least`` of which are taken in any case."""
        first = self.relaxed[-1].taken if self.relaxed else None
        return LabelWalk(self.layers.in_arena(least, most), self.least, first=first)

    def effort(self) -> Effort:
        """What may be compared before the search gives up."""
        return Effort(_MOST_AFTER_CLASHES if self.layers.clashes else _MOST_PAIRS)

    def run(self, below: int | None, beam: int | None, most: int, effort: Effort | None = None) -> Found:
        """One pass; with a ``beam`` only the most promising labels of each state are kept, if there are more, and no
        ``effort`` is too much. TooMuchError if another pass makes more than ``most`` labels or takes more effort."""
        layers = self.layers
        whole, made = True, 0
        effort = (effort or self.effort()) if beam is None else None
        back: list[tuple[Array, Array]] = []
        labels = {(0, 0): (np.zeros((1, 6), np.int64), np.zeros((1, len(layers.kernels)), bool))}
        starts = {(0, 0): 0}
        for i, rows in enumerate(layers.rows):
            grown: dict[tuple[int, int], list[tuple[Array, Bits, Array, int]]] = {}
            for (state, mask), (values, paid) in labels.items():
                origin = starts[state, mask] + np.arange(len(values))
                for edge in layers.edges[i][state]:
                    row = rows[edge.row]
                    kept = self._extend(i, row, mask, values, paid)
                    if kept is None:
                        continue
                    which, new, bits, key = kept
                    grown.setdefault((edge.to, key), []).append((new, bits, origin[which], row.pick))
            labels, starts, total = {}, {}, 0
            origins: list[Array] = []
            picks: list[Array] = []
            for (state, mask), parts in grown.items():
                new = np.concatenate([part[0] for part in parts])
                bits = np.concatenate([part[1] for part in parts])
                source = np.concatenate([part[2] for part in parts])
                taken = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
                made += len(new)
                if made > most:
                    raise TooMuchError
                promise, alive = self._promise(i + 1, state, mask, new, bits, below)
                index = np.nonzero(alive)[0]
                index = index[np.lexsort((new[index, ARENA], new[index, FLASH], promise[index]))]
                index = index[undominated(*self._comparable(i + 1, new[index], bits[index]), beam, effort)]
                if beam is not None and len(index) > beam:
                    whole, index = False, index[:beam]
                if not len(index):
                    continue
                labels[state, mask] = new[index], bits[index]
                starts[state, mask] = total
                total += len(index)
                origins.append(source[index])
                picks.append(taken[index])
            if not labels:
                return Found(None, 0, 0, whole)
            back.append((np.concatenate(origins), np.concatenate(picks)))
        ends = np.concatenate([values for values, _ in labels.values()])
        value = self._value(ends)
        at = np.lexsort((ends[:, FLASH], ends[:, ARENA], value))[0]
        return Found(_picks(back, int(at)), int(value[at]), 0, whole)

    def _extend(
        self, i: int, row: Option, mask: int, values: Array, paid: Bits
    ) -> tuple[Array, Array, Bits, int] | None:
        """Which labels can take a row, what they become, and the clashes that they then may complete."""
        k, layers = row.kernel, self.layers
        which = np.arange(len(values))
        if k >= 0 and self.rival[k] >= 0:
            # One function has one place.
            which = np.nonzero(~paid[:, self.rival[k]])[0]
        if not len(which):
            return None
        new = values[which]
        new[:, :SUMS] += np.array(row.own[:SUMS])
        np.maximum(new[:, SUMS:], np.array(row.own[SUMS:]), out=new[:, SUMS:])
        bits = paid[which]
        if k >= 0:
            missing = ~bits[:, k]
            new[:, FLASH] += missing * self.flash[k]
            new[:, CODE] += missing * self.code[k]
            bits[:, k] = True
        following = 0
        for number, clash in enumerate(layers.clashes):
            if i < clash.first or (i > clash.first and not mask >> number & 1):
                continue
            if i <= clash.last and not row.meets >> number & 1:
                continue
            # What bounds the code matters until all of that is known.
            if i < clash.last or clash.code:
                following |= 1 << number
            else:
                np.maximum(new[:, ARENA], clash.arena, out=new[:, ARENA])
        bits[:, self.ends <= i] = False
        return which, new, bits, following

    def _value(self, values: Array) -> Array:
        """What is to be the least, of ends."""
        match self.least:
            case "price":
                return values[:, PRICE]
            case "flash":
                return values[:, FLASH] + self.layers.overhead
            case "arena":
                return values[:, ARENA]
        return values[:, CODE] + values[:, DATA] + values[:, ARENA] + values[:, STACK]

    def _promise(self, i: int, state: int, mask: int, new: Array, paid: Bits, below: int | None) -> tuple[Array, Bits]:
        """For labels before stage ``i``: a lower bound of what they end with, and whether that may do."""
        layers, budgets = self.layers, self.layers.budgets
        new[:, ARENA] = np.maximum(new[:, ARENA], self.narrow[ARENA][i][state])
        new[:, STACK] = np.maximum(new[:, STACK], self.narrow[STACK][i][state])
        refund = paid @ self.ahead[:, i].T
        ends = new[:, :SUMS] + np.array([column[i][state] for column in self.sums])
        ends[:, FLASH] -= refund[:, 0]
        ends[:, CODE] -= refund[:, 1]
        np.maximum(ends, new[:, :SUMS], out=ends)
        alive = np.ones(len(new), bool)
        for column in (FLASH, CODE, DATA):
            limit = layers.limits[column]
            if limit is not None:
                alive &= ends[:, column] <= limit
        for number, clash in enumerate(layers.clashes):
            if clash.code and clash.last < i and mask >> number & 1:
                alive &= ends[:, CODE] < clash.code
        if budgets.arena is not None:
            alive &= new[:, ARENA] <= budgets.arena
        sram = ends[:, CODE] + ends[:, DATA] + new[:, ARENA] + new[:, STACK]
        if budgets.sram is not None:
            alive &= sram <= budgets.sram
        if not self.relaxed:
            promise = new[:, ARENA] if self.least == "arena" else sram
        else:
            room, promise = layers.limits, np.full(len(new), -NEVER)
            column = PRICE if self.least == "price" else FLASH
            flash, code, data = new[:, FLASH], new[:, CODE], new[:, DATA]
            # What is used beyond each budget, so far, and what of it the stages to come bear once more.
            beyond = {
                "flash": flash - (room[FLASH] or 0),
                "code": code - (room[CODE] or 0),
                "data": data - (room[DATA] or 0),
                "ram": code + data + new[:, ARENA] + new[:, STACK] - (budgets.sram or 0),
            }
            again = {"flash": refund[:, 0], "code": refund[:, 1], "data": np.zeros_like(data), "ram": refund[:, 1]}
            sums = [(relaxed, relaxed.to_go[i][state]) for relaxed in self.relaxed]
            for name, relaxed, table in self.tables:
                sums.append((relaxed, table.least(i, state, again[name] - beyond[name])))
            for relaxed, least in sums:
                total = UNIT * new[:, column] + least - paid @ relaxed.ahead[i]
                for name, multiplier in relaxed.taken.items():
                    if multiplier:
                        total += multiplier * beyond[name]
                promise = np.maximum(promise, -(-total // UNIT))
            if column == FLASH:
                promise = promise + layers.overhead
        if below is not None:
            alive &= promise < below
        return promise, alive

    def _comparable(self, i: int, new: Array, paid: Bits) -> tuple[Array, Bits, Array, Bits]:
        """Labels before stage ``i`` without the differences that can no longer matter, and the bytes of kernels."""
        layers, sram = self.layers, self.layers.budgets.sram
        made, sizes = new.copy(), np.stack([self.flash, self.code])
        tight = sram is not None and sum(self.widest) + self.most[CODE][0] + self.most[DATA][0] > sram
        for column in (FLASH, CODE, DATA):
            counted = self.least == "flash" if column == FLASH else tight or self.least == "sram"
            if counted:
                continue
            # Below this the rest can take what it likes.
            limits = [layers.limits[column], *(c.code - 1 for c in layers.clashes if c.code and column == CODE)]
            known = [limit for limit in limits if limit is not None]
            free = max(min(known) - self.most[column][i], 0) if known else int(NEVER)
            made[:, column] = np.maximum(made[:, column], free)
            if column != DATA and bool((made[:, column] == free).all()):
                sizes[column - FLASH] = 0
        if self.least in ("price", "flash"):
            rest = self.most[CODE][0] + self.most[DATA][0]
            for column, other in ((ARENA, self.widest[1]), (STACK, self.widest[0])):
                free = int(NEVER) if sram is None else max(sram - rest - other, 0)
                made[:, column] = np.maximum(made[:, column], free)
        return made, paid & (sizes.any(axis=0) | self.contested), sizes, self.contested


def _picks(back: Sequence[tuple[Array, Array]], at: int) -> tuple[int, ...]:
    picks = []
    for origins, taken in reversed(back):
        picks.append(int(taken[at]))
        at = int(origins[at])
    return tuple(reversed(picks))
