"""Which layers of a network are computed depth first together: the best partition into chains and layers by themselves.

A partition is a path over the positions of the network's operators: a step is a layer with one of its candidates, or a
chain of layers with one of its plans. A state is a position and the formats of the tensors that are still to be read;
chains read and write plain int8. An input that comes by rows is read by a chain. The shortest path is the best
partition as far as each step by itself shows what it takes; that everything packs into the arena, and what steps share,
is found out afterwards for the partition.

What a chain takes is found when a path with its lower bound is the shortest, and so is what each of its candidates
waits, which takes the time: a candidate counts as its floor until the path goes through it. A chain's parts cost no
less than the cheapest of their bands, and it takes no less than its ends and the rows of one line buffer that a row of
a reader needs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from memaopt.choice.choice import Budgets, Candidate, Stage, fits
from memaopt.choice.in_ram import constants_stall
from memaopt.choice.problem import ALIGNMENT, Problem, in_place_of, leads_of, options_of, places_of, stack_bytes
from memaopt.kernels.chains.order import HEIGHTS, ChainRows, band_height, shape_of
from memaopt.kernels.registry import Format, Plan, plans
from memaopt.memory import liveness
from memaopt.memory.liveness import Lead, elementwise_in_place
from memaopt.models.fetching import FlashTiming
from memaopt.models.waits import timing
from memaopt.networks.chains import Chains, chain_of, depth_first, is_closed
from memaopt.problems.layers import LayerChain
from memaopt.problems.objectives import is_sum
from memaopt.problems.words import Objective

#: The lead of an output that may lie anywhere on its input.
_FREELY = Lead(-(1 << 40))
_Formats = frozenset[tuple[int, Format]]
"""Tensors that are not plain int8."""


class Partition(NamedTuple):
    """The best partition: its chains, and the value that no other one is below."""

    chains: Chains
    value: int


class _Step(NamedTuple):
    """From one position to another: a value, and the formats that the state has afterwards. ``known``: the value is
    the step's own, and no lower bound."""

    first: int
    last: int
    value: int
    formats: _Formats
    known: bool = True


class Quotes:
    """The least value of some candidates, as far as it is known: the first of a heap of (value or a bound of it, looks
    until it is the value, number)."""

    def __init__(self, bounds: Iterable[tuple[int, int]], look: Callable[[int, int], int]) -> None:
        self._heap = [(bound, left, number) for number, (bound, left) in enumerate(bounds)]
        self._look = look
        heapq.heapify(self._heap)

    @property
    def least(self) -> tuple[int | None, bool]:
        """The bound, and whether it is a value; None if there is no candidate."""
        return (self._heap[0][0], self._heap[0][1] == 0) if self._heap else (None, True)

    def look(self) -> None:
        """A better bound of the first one."""
        _, left, number = self._heap[0]
        heapq.heapreplace(self._heap, (self._look(number, left), left - 1, number))

    def settled(self) -> int | None:
        """The least value."""
        while not self.least[1]:
            self.look()
        return self.least[0]


@dataclass
class _Segment:
    """A chain that may be: what it takes at least, and its candidates once they have been made."""

    chain: LayerChain
    shape: ChainRows
    arena_floor: int
    candidates: tuple[Candidate, ...] | None = None


@dataclass(frozen=True, eq=False)
class Partitions:
    """The partitions of a network whose operators run in the order of the file."""

    problem: Problem
    objective: Objective
    _floors: dict[int, int] = field(default_factory=dict)

    def cheapest(self, limits: Budgets) -> Partition | None:
        """The partition of the least price whose every step is within the limits; None if there is none, or the
        operators do not run in the order of the file, or keep states."""
        if not self._in_order:
            return None

        def quotes(candidates: tuple[Candidate, ...]) -> Quotes:
            fitting = [c for c in candidates if fits(c, limits)]

            def look(number: int, left: int) -> int:
                candidate = fitting[number]
                return candidate.price(self.objective) if left == 1 else candidate.least(self.objective)

            return Quotes(((c.floor(self.objective), 2) for c in fitting), look)

        def floor(segment: _Segment, first: int) -> int | None:
            most = min((limit for limit in (limits.arena, limits.sram) if limit is not None), default=None)
            return None if most is not None and segment.arena_floor > most else self._cost_floor(segment, first)

        return self._best(quotes, floor, lambda a, b: a + b)

    @property
    def _in_order(self) -> bool:
        """Whether operators run in the order of the file; and a network with states is computed layer by layer."""
        return not self.problem.graph.states and self.problem.order == tuple(range(len(self.problem.graph.operators)))

    def smallest(self, what: Literal["arena_bytes", "sram_bytes"] = "arena_bytes") -> Partition | None:
        """The partition whose largest step takes the least arena or SRAM, whatever the budgets; None as above."""
        if not self._in_order:
            return None
        return self._best(
            lambda candidates: Quotes(((getattr(c, what), 0) for c in candidates), lambda *_: 0),
            lambda segment, _: segment.arena_floor,
            max,
        )

    @property
    def starts(self) -> bool:
        """Whether there is a chain that starts with the first operator."""
        return any(first == 0 for first, _ in self._segments)

    def _best(
        self,
        quotes: Callable[[tuple[Candidate, ...]], Quotes],
        floor: Callable[[_Segment, int], int | None],
        joined: Callable[[int, int], int],
    ) -> Partition | None:
        """The path of the least joined value; floors give way to values along the shortest path until it has none."""
        single = {i: self._single(i, quotes) for i in range(len(self.problem.graph.operators))}
        chains: dict[tuple[int, int], tuple[int | None, bool]] = {}
        quoted: dict[tuple[int, int], Quotes] = {}
        for ends, segment in self._segments.items():
            if segment.candidates is None:
                chains[ends] = floor(segment, ends[0]), False
            else:
                quoted[ends] = quotes(segment.candidates)
                chains[ends] = quoted[ends].least
        while True:
            path = self._path(single, chains, joined)
            if path is None:
                return None
            unknown = [step for step in path if not step.known]
            if not unknown:
                total = 0
                for step in path:
                    total = joined(total, step.value)
                return Partition(tuple((s.first, s.last) for s in path if s.last - s.first > 1), total)
            for step in unknown:
                ends = step.first, step.last
                if ends in quoted:
                    quoted[ends].look()
                else:
                    candidates = tuple(self._candidates(*ends))
                    self._segments[ends].candidates, quoted[ends] = candidates, quotes(candidates)
                chains[ends] = quoted[ends].least

    def _path(
        self,
        single: Mapping[int, list[tuple[Format, Format, int]]],
        chains: Mapping[tuple[int, int], tuple[int | None, bool]],
        joined: Callable[[int, int], int],
    ) -> list[_Step] | None:
        count = len(self.problem.graph.operators)
        best: list[dict[_Formats, tuple[int, _Step | None, _Formats]]] = [{} for _ in range(count + 1)]
        best[0][frozenset()] = (0, None, frozenset())
        for i in range(count):
            for formats, (reached, _, _) in best[i].items():
                for step in self._steps(i, formats, single[i], chains):
                    total = joined(reached, step.value)
                    known = best[step.last].get(step.formats)
                    if known is None or total < known[0]:
                        best[step.last][step.formats] = (total, step, formats)
        if not best[count]:
            return None
        formats, at, path = min(best[count], key=lambda f: best[count][f][0]), count, list[_Step]()
        while at:
            _, taken, formats = best[at][formats]
            assert taken is not None
            path.append(taken)
            at = taken.first
        return path[::-1]

    def _steps(
        self,
        i: int,
        formats: _Formats,
        single: list[tuple[Format, Format, int]],
        chains: Mapping[tuple[int, int], tuple[int | None, bool]],
    ) -> Iterator[_Step]:
        graph, lies = self.problem.graph, dict(formats)
        stage = self._stage_at.get(i)
        if stage is None:
            yield _Step(i, i + 1, 0, self._left(formats, i + 1))
        else:
            read = {Format.S8 if t is None else lies.get(t, Format.S8) for t in stage.inputs}
            for input_format, output_format, value in single:
                if read == {input_format} and (output_format is Format.S8 or stage.output not in self.problem.plain):
                    after = formats if output_format is Format.S8 else formats | {(stage.output, output_format)}
                    yield _Step(i, i + 1, value, self._left(after, i + 1))
        for last in range(i + 2, len(graph.operators) + 1):
            least, known = chains.get((i, last), (None, False))
            if least is not None and self._roots.get(graph.operators[i].input) not in lies:
                yield _Step(i, last, least, self._left(formats, last), known)

    def _left(self, formats: _Formats, position: int) -> _Formats:
        """Without the tensors that nobody reads from a position on."""
        return frozenset((t, f) for t, f in formats if self._last_read.get(t, -1) >= position)

    def _single(self, i: int, quotes: Callable[[tuple[Candidate, ...]], Quotes]) -> list[tuple[Format, Format, int]]:
        """The least value of the candidates of one operator, by their formats."""
        stage = self._stage_at.get(i)
        if stage is None or any(t in self.problem.graph.nowhere for t in self.problem.graph.operators[i].inputs):
            return []
        by_format: dict[tuple[Format, Format], list[Candidate]] = {}
        for candidate in stage.candidates:
            formats = candidate.plan.input_format, candidate.plan.output_format
            by_format.setdefault(formats, []).append(candidate)
        found = []
        for (input_format, output_format), candidates in by_format.items():
            least = quotes(tuple(candidates)).settled()
            if least is not None:
                found.append((input_format, output_format, least))
        return found

    @cached_property
    def _stage_at(self) -> dict[int, Stage]:
        return dict(zip(self.problem.positions, self.problem.stages, strict=True))

    @cached_property
    def _roots(self) -> dict[int, int]:
        return liveness.roots_of(self.problem.graph)

    @cached_property
    def _last_read(self) -> dict[int, int]:
        """The last position at which each alias class is read."""
        found: dict[int, int] = {}
        for i, op in enumerate(self.problem.graph.operators):
            for t in op.inputs:
                if t in self._roots:
                    found[self._roots[t]] = i
        return found

    @cached_property
    def _segments(self) -> dict[tuple[int, int], _Segment]:
        """Every chain that there can be."""
        graph, found = self.problem.graph, {}
        for first in range(len(graph.operators)):
            for last in range(first + 2, len(graph.operators) + 1):
                chain = chain_of(graph, graph.operators[first:last])
                if chain is None:
                    break  # nor is any longer one
                shape = shape_of(chain) if is_closed(graph, first, last) else None
                if shape is not None:
                    found[first, last] = _Segment(chain, shape, self._arena_floor(shape, first, last))
        return found

    def _arena_floor(self, shape: ChainRows, first: int, last: int) -> int:
        """What a chain takes at least: what waits, its ends on one another, and the widest window of a reader."""
        graph, done = depth_first(self.problem.graph, ((first, last),)), (1 << first) - 1
        apart = liveness.problem(graph, ALIGNMENT, elementwise_in_place, {}, ())
        ends = liveness.ruled(apart, lambda *_: (), lambda *_: _FREELY, [first]).during(first, done)
        windows = [
            max(shape.reach(reader).extent for reader in shape.lines[t].readers) * shape.lines[t].row_bytes
            for t in shape.buffered
        ]
        return ends + liveness.align(max(windows, default=0), ALIGNMENT)

    def _cost_floor(self, segment: _Segment, first: int) -> int:
        """What no plan of a chain costs less than, wherever its code and constants may live."""
        return sum(self._part_floor(first + k, segment.shape, k) for k in range(len(segment.shape.parts)))

    def _part_floor(self, position: int, shape: ChainRows, part: int) -> int:
        rows = shape.parts[part]
        if rows is None:
            return 0
        if position not in self._floors:
            heights = {band_height(rows.height, most) for most in HEIGHTS}
            self._floors[position] = min(
                rows.height // h * min(self._price_floor(plan) for plan in plans(rows.band(h)) if plan.runs_on(False))
                for h in heights
            )
        return self._floors[position]

    def _price_floor(self, plan: Plan) -> int:
        if is_sum(self.objective):
            return 0  # some weights of a sum may be 0
        if self.objective == "bytes":
            return plan.promise.total.bytes
        if self.problem.limits.constants_ram:
            return plan.cycles
        # A chain has the constants of all its parts, so that it waits for them no less than they do one by one.
        return plan.cycles + min(
            constants_stall(plan, 1, where, self._machine)
            for where in places_of(plan, self.problem.limits, self.problem.sites)
        )

    @cached_property
    def _machine(self) -> FlashTiming:
        assert self.problem.mcu is not None
        return timing(self.problem.mcu, self.problem.sites.outside)

    def _candidates(self, first: int, last: int) -> Iterator[Candidate]:
        """The candidates of a chain that reads and writes plain int8."""
        assert self.problem.mcu is not None
        graph = depth_first(self.problem.graph, ((first, last),))
        op, done = graph.operators[first], (1 << first) - 1
        low = op.lower(graph)
        assert low is not None
        apart = liveness.problem(graph, ALIGNMENT, elementwise_in_place, {}, ())
        for plan in options_of(graph, op, low, formats=False, has_fpu=self.problem.mcu.core.has_fpu):
            leads = leads_of(graph, {first: plan}, {first: low})
            view = liveness.ruled(apart, in_place_of(graph, {first: plan}, {first: low}), leads, [first])
            arena = view.during(first, done) + liveness.align(plan.scratch_bytes, ALIGNMENT)
            for where in places_of(plan, self.problem.limits, self.problem.sites):
                yield Candidate(plan, 1, arena, stack_bytes((plan,)), where, self._machine)
