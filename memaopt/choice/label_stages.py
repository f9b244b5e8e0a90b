"""The stages of a choice as the exact search walks them: rows to take, states of formats between them, sums to go."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.choice.choice import Stage
from memaopt.choice.clashes import Clash
from memaopt.choice.dominance import ARENA, CODE, FLASH, SUMS, Array
from memaopt.choice.offers import Offers, Option, Price, SharedKernel
from memaopt.kernels.registry import Format

#: The tensors that are still read and are not plain int8, with their formats.
Others = frozenset[tuple[int, Format]]

NEVER = np.int64(1 << 60)

#: For each shared kernel, the share of it that each stage bears that can use it, in fractions of 2 to the ``WHOLE``.
Shares = list[dict[int, int]]
WHOLE = 40

#: What each row of each stage weighs.
Costs = Sequence[Sequence[int]]


class Edge(NamedTuple):
    """From one state of formats to the next, by a row."""

    row: int
    to: int


class _Groups(NamedTuple):
    """The edges by the states that they join: their rows in the table, where each group of them starts, and for each
    stage and each state before it the groups from there and the states that they lead to."""

    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    between: list[list[list[tuple[int, int]]]]


class Layers:
    """All stages as rows and states: what every pass walks."""

    def __init__(self, offers: Offers, clashes: Sequence[Clash], price: Price) -> None:
        self.stages, self.budgets, self.clashes = offers.stages, offers.budgets, clashes
        self.kernels, self.rows = offers.kernels, offers.rows(clashes, price)
        self.states, self.edges = _states(self.stages, self.rows)
        # Of a shared kernel each stage that can use it bears a share; together they never bear more than there is.
        self.shares: Shares = [dict.fromkeys(k.stages, (1 << WHOLE) // len(k.stages)) for k in self.kernels]
        budgets, self.overhead = self.budgets, self.budgets.flash_overhead
        limits = (None, _less(budgets.flash, self.overhead), budgets.code_ram, budgets.constants_ram)
        self.limits: tuple[int | None, ...] = limits
        self._number_rows()
        self._drop_impossible()

    def _number_rows(self) -> None:
        """All rows in one table, with the number of each one's share among all shares (none: the one behind them)."""
        number: dict[tuple[int, int], int] = {}
        for k, shares in enumerate(self.shares):
            for stage in shares:
                number[k, stage] = len(number)
        rows = [row for each in self.rows for row in each]
        self.own = np.array([row.own for row in rows], np.int64).reshape(len(rows), SUMS + 2)
        self.share_of = np.array([number.get((row.kernel, row.stage), len(number)) for row in rows], np.intp)
        self.ends = list(itertools.accumulate((len(each) for each in self.rows), initial=0))
        self._groups: _Groups | None = None

    def apart(self, flat: Array) -> Costs:
        """A value of each row in the table, by stage."""
        values = flat.tolist()
        return [values[start:end] for start, end in itertools.pairwise(self.ends)]

    def sums_of(self, column: int) -> Costs:
        """What each row adds to a sum, as :meth:`weights` has it."""
        sizes = [kernel.flash if column == FLASH else kernel.code if column == CODE else 0 for kernel in self.kernels]
        borne = [size * part >> WHOLE for size, each in zip(sizes, self.shares, strict=True) for part in each.values()]
        return self.apart(self.own[:, column] + np.array([*borne, 0], np.int64)[self.share_of])

    def _drop_impossible(self) -> None:
        first = True
        for column, limit in enumerate(self.limits):
            if limit is not None:
                self._drop_beyond(column, limit, first)
                first = False

    def _drop_beyond(self, column: int, limit: int, first: bool) -> None:
        """Drop the edges on which no path keeps a limit. What one layer alone makes impossible would weaken the bound:
        a mean of it and of something small could seem to be within the limit."""
        costs = self.sums_of(column)
        if not first and sum(max(each, default=0) for each in costs) <= limit:
            return  # and edges that lead nowhere are gone
        to_go = [least.tolist() for least in self.to_go(costs)]
        reached = [0]
        for i, steps in enumerate(self.edges):
            following = [int(NEVER)] * len(self.states[i + 1])
            for state, edges in enumerate(steps):
                here = [edge for edge in edges if reached[state] + costs[i][edge.row] + to_go[i + 1][edge.to] <= limit]
                for edge in here:
                    following[edge.to] = min(following[edge.to], reached[state] + costs[i][edge.row])
                steps[state] = here
            reached = following
        self._groups = None

    def weights(self, row: Option, shares: Shares | None = None) -> tuple[int, ...]:
        """The sums that a row adds, with its share of the kernel that it uses, in whole bytes."""
        price, flash, code, data = row.own[:SUMS]
        if row.kernel >= 0:
            kernel, share = self.kernels[row.kernel], (shares or self.shares)[row.kernel][row.stage]
            flash, code = flash + (kernel.flash * share >> WHOLE), code + (kernel.code * share >> WHOLE)
        return price, flash, code, data

    def whole(self, row: Option) -> tuple[int, ...]:
        """The sums that a row adds if it is the first to use its kernel."""
        price, flash, code, data = row.own[:SUMS]
        if row.kernel >= 0:
            flash, code = flash + self.kernels[row.kernel].flash, code + self.kernels[row.kernel].code
        return price, flash, code, data

    def to_go(self, weights: Costs) -> list[Array]:
        """For each stage and each state before it, the least sum of weights from there to the end."""
        return self.to_go_of(np.array([weight for each in weights for weight in each], np.int64))

    def to_go_of(self, flat: Array) -> list[Array]:
        """:meth:`to_go` of the weights of the rows in the table."""
        never = int(NEVER)
        if self._groups is None:
            self._groups = _groups_of(self.edges, self.ends)
        rows, starts, between = self._groups
        cheapest = np.minimum.reduceat(flat[rows], starts).tolist() if len(rows) else []
        following = [0] * len(self.states[-1])
        least = [following]
        for steps in reversed(between):
            following = [min([cheapest[group] + following[to] for group, to in here] + [never]) for here in steps]
            least.append(following)
        return [np.array(each, np.int64) for each in reversed(least)]

    def so_far(self, weights: Costs) -> list[list[int]]:
        """For each stage and each state before it, the least sum of weights to there."""
        reached = [[0]]
        for i, steps in enumerate(self.edges):
            costs = weights[i]
            following = [int(NEVER)] * len(self.states[i + 1])
            for before, edges in zip(reached[-1], steps, strict=True):
                for row, to in edges:
                    here = before + costs[row]
                    if here < following[to]:
                        following[to] = here
            reached.append(following)
        return reached

    def narrow(self, column: int) -> list[Array]:
        """For each stage and each state before it, the least largest value of a column from there to the end."""
        following = [0] * len(self.states[-1])
        least = [following]
        for costs, steps in zip(reversed(self.apart(self.own[:, column])), reversed(self.edges), strict=True):
            following = [min([max(costs[row], following[to]) for row, to in edges] + [int(NEVER)]) for edges in steps]
            least.append(following)
        return [np.array(each, np.int64) for each in reversed(least)]

    def path(self, weights: Costs, least: list[Array]) -> list[Option]:
        """The rows of one path that attains the least sum of weights."""
        state, taken = 0, []
        for i, (rows, costs) in enumerate(zip(self.rows, weights, strict=True)):
            to_go, most = least[i + 1].tolist(), int(least[i][state])
            for row, to in self.edges[i][state]:
                if costs[row] + to_go[to] == most:
                    taken.append(rows[row])
                    state = to
                    break
        return taken

    def used(self, taken: Sequence[Option], shares: Shares | None = None) -> tuple[int, ...]:
        """The sums of a path."""
        return tuple(map(sum, zip(*(self.weights(row, shares) for row in taken), strict=True)))

    def without(self, beyond: Callable[[int, int, Edge], bool]) -> Layers:
        """The layers without some edges, each given by its stage and state: where a kernel is used by one stage alone,
        or by whatever a stage can be, it is no longer shared."""
        made = copy.copy(self)
        made.edges = [
            [[edge for edge in edges if not beyond(i, state, edge)] for state, edges in enumerate(steps)]
            for i, steps in enumerate(self.edges)
        ]
        made._settle()
        made._drop_impossible()
        return made

    def in_arena(self, least: int, most: int) -> Layers:
        """The layers without rows whose arena has more than ``most`` bytes; all others are taken to need ``least``."""
        made = copy.copy(self)
        made.rows = [[row.in_arena(least) for row in rows] for rows in self.rows]
        return made.without(lambda i, _, edge: self.rows[i][edge.row].own[ARENA] > most)

    def _settle(self) -> None:
        """Keep the rows that are left, and of the kernels those that still are a question."""
        left = [sorted({edge.row for edges in steps for edge in edges}) for steps in self.edges]
        rows = [[each[j] for j in kept] for each, kept in zip(self.rows, left, strict=True)]
        users: dict[int, set[int]] = {}
        for row in (row for each in rows for row in each):
            users.setdefault(row.kernel, set()).add(row.stage)
        places = {(self.kernels[k].names, self.kernels[k].in_ram) for k in users if k >= 0}
        # What a kernel adds to the rows that use it, by kernel and stage, if it is no longer shared.
        alone: dict[int, int] = {}
        number: dict[int, int] = {}
        kernels: list[SharedKernel] = []
        for k, kernel in enumerate(self.kernels):
            if k not in users:
                continue
            stages = sorted(users[k])
            sure = [i for i in stages if all(row.kernel == k for row in rows[i])]
            contested = (kernel.names, not kernel.in_ram) in places
            if not contested and (sure or len(stages) == 1):
                alone[k] = sure[0] if sure else stages[0]
            else:
                number[k] = len(kernels)
                kernels.append(dataclasses.replace(kernel, stages=tuple(stages)))
        self.shares = [_among(self.shares[k], kernels[n].stages) for k, n in number.items()]
        self.rows = [[self._with(row, number, alone) for row in each] for each in rows]
        self.kernels = kernels
        place = [{old: new for new, old in enumerate(kept)} for kept in left]
        self.edges = [
            [[Edge(place[i][edge.row], edge.to) for edge in edges] for edges in steps]
            for i, steps in enumerate(self.edges)
        ]
        self._number_rows()

    def _with(self, row: Option, number: dict[int, int], alone: dict[int, int]) -> Option:
        """A row with the kernels numbered anew; one that only its stage pays for becomes its own."""
        if row.kernel not in alone:
            kernel = number.get(row.kernel, -1)
            return row if kernel == row.kernel else row._replace(kernel=kernel)
        own = self.whole(row) + row.own[SUMS:] if alone[row.kernel] == row.stage else row.own
        return row._replace(kernel=-1, own=own)


def _groups_of(edges: Sequence[Sequence[Sequence[Edge]]], ends: Sequence[int]) -> _Groups:
    rows: list[int] = []
    starts: list[int] = []
    between: list[list[list[tuple[int, int]]]] = []
    for steps, first in zip(edges, ends, strict=False):
        stage: list[list[tuple[int, int]]] = []
        for here in steps:
            joined: dict[int, list[int]] = {}
            for row, to in here:
                joined.setdefault(to, []).append(first + row)
            stage.append([])
            for to, group in joined.items():
                stage[-1].append((len(starts), to))
                starts.append(len(rows))
                rows += group
        between.append(stage)
    return _Groups(np.array(rows, np.intp), np.array(starts, np.intp), between)


def _among(shares: Mapping[int, int], stages: Sequence[int]) -> dict[int, int]:
    """Shares of fewer stages, which are again the whole."""
    total = sum(shares[i] for i in stages)
    return {i: (shares[i] << WHOLE) // total if total else (1 << WHOLE) // len(stages) for i in stages}


def _less(limit: int | None, overhead: int) -> int | None:
    return None if limit is None else limit - overhead


def _states(
    stages: Sequence[Stage], rows: Sequence[Sequence[Option]]
) -> tuple[list[list[Others]], list[list[list[Edge]]]]:
    """The formats that can be alive before each stage and at the end, and the edges from each of them."""
    last = {t: i for i, stage in enumerate(stages) for t in (*stage.inputs, stage.output) if t is not None}
    states: list[list[Others]] = [[frozenset()]]
    edges: list[list[list[Edge]]] = []
    for i, stage in enumerate(stages):
        following: dict[Others, int] = {}
        steps: list[list[Edge]] = []
        for others in states[-1]:
            formats = dict(others)
            read = {Format.S8 if t is None else formats.get(t, Format.S8) for t in stage.inputs} or {Format.S8}
            ends: dict[Format, int] = {}
            here = []
            for number, row in enumerate(rows[i]):
                if row.wanted not in read or len(read) > 1:
                    continue
                end = ends.get(row.made)
                if end is None:
                    added = {(stage.output, row.made)} if row.made is not Format.S8 else set()
                    alive = frozenset(item for item in others | added if last[item[0]] > i)
                    end = ends[row.made] = following.setdefault(alive, len(following))
                here.append(Edge(number, end))
            steps.append(here)
        edges.append(steps)
        states.append(list(following))
    return states, edges


def most_of(layers: Layers, column: int) -> list[int]:
    """For each stage, what the stages from there on can add to a sum at most."""
    most = [0]
    for rows, steps in zip(reversed(layers.rows), reversed(layers.edges), strict=True):
        left = {edge.row for edges in steps for edge in edges}
        most.append(most[-1] + max((rows[i].own[column] for i in left), default=0))
    most.reverse()
    if column in (FLASH, CODE):
        for kernel in layers.kernels:
            for i in range(kernel.stages[-1] + 1):
                most[i] += kernel.flash if column == FLASH else kernel.code
    return most
