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

What proves the path the shortest are the potentials of the states: how far each is from the start at least. No step
leads to a state farther than its own value beyond the one before, which is checked step by step, without a search.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from memaopt.access import Access
from memaopt.alignment import align
from memaopt.choice import paths
from memaopt.choice.chain_floor import PartFloor, chain_floor, part_floor
from memaopt.choice.choice import OUTSIDE_WEIGHT, Budgets, Candidate, Stage, fits
from memaopt.choice.paths import Formats, PathStep, Potentials, Stretch
from memaopt.choice.problem import Problem, options_of
from memaopt.choice.quotes import Quotes
from memaopt.choice.stages import ALIGNMENT, in_place_of, leads_of, places_of, stack_bytes
from memaopt.errors import FalseClaimError
from memaopt.kernels.chains.order import HEIGHTS, ChainRows, band_height, shape_of
from memaopt.kernels.registry import Format, plans
from memaopt.memory import liveness
from memaopt.memory.liveness import Lead, elementwise_in_place
from memaopt.models.fetching import FlashTiming
from memaopt.models.least_waits import least_loading
from memaopt.models.outside import least_loading as outside_loading
from memaopt.models.waits import timing
from memaopt.networks.chains import Chains, chain_of, depth_first, is_closed, lowered
from memaopt.problems.bands import Rows
from memaopt.problems.layers import LayerChain
from memaopt.problems.objectives import is_sum
from memaopt.problems.words import Objective

#: The lead of an output that may lie anywhere on its input.
_FREELY = Lead(-(1 << 40))


class Partition(NamedTuple):
    """The best partition: its chains, the value that no other one is below, and what proves that, of all there are."""

    chains: Chains
    value: int
    potentials: Potentials


@dataclass
class _Segment:
    """A chain that may be: what it takes at least, and its candidates once they have been made."""

    chain: LayerChain
    shape: ChainRows
    arena_floor: int
    candidates: tuple[Candidate, ...] | None = None


class _Steps:
    """The steps that there are, at what is known of their values: of layers alone the values, of chains a bound and
    whether it is the value, which a closer look makes better."""

    def __init__(self, partitions: Partitions, quotes: _Quoting, floor: _Floor) -> None:
        count = len(partitions.problem.graph.operators)
        self.single = {i: partitions.single(i, quotes) for i in range(count)}
        self.chains: dict[tuple[int, int], tuple[int | None, bool]] = {}
        self._quotes, self._partitions = quotes, partitions
        self._quoted: dict[tuple[int, int], Quotes] = {}
        for ends, segment in partitions.segments.items():
            if segment.candidates is None:
                self.chains[ends] = floor(segment, ends[0]), False
            else:
                self._quote(ends, segment.candidates)

    def look(self, ends: tuple[int, int]) -> None:
        """Make what is known of a chain's value better."""
        if ends in self._quoted:
            self._quoted[ends].look()
            self.chains[ends] = self._quoted[ends].least
        else:
            segment = self._partitions.segments[ends]
            segment.candidates = tuple(self._partitions.candidates(*ends))
            self._quote(ends, segment.candidates)

    def _quote(self, ends: tuple[int, int], candidates: tuple[Candidate, ...]) -> None:
        self._quoted[ends] = self._quotes(candidates)
        self.chains[ends] = self._quoted[ends].least


_Quoting = Callable[[tuple[Candidate, ...]], Quotes]
_Floor = Callable[[_Segment, int], int | None]


@dataclass(frozen=True, eq=False)
class Partitions:
    """The partitions of a network whose operators run in the order of the file."""

    problem: Problem
    objective: Objective
    _floors: dict[int, PartFloor] = field(default_factory=dict)

    def cheapest(self, limits: Budgets, besides: Collection[Stretch] = ()) -> Partition | None:
        """The partition of the least price whose every step is within the limits, with no stretch of some; None if
        there is none, or the operators do not run in the order of the file, or keep states."""
        return self._best(*self._priced(limits), lambda a, b: a + b, besides) if self._in_order else None

    def bound(self, limits: Budgets, potentials: Potentials) -> int:
        """The price that no partition whose every step is within the limits is below, as potentials show. Checked step
        by step: FalseClaimError names the first one that they get wrong.
        """
        steps, count = _Steps(self, *self._priced(limits)), len(self.problem.graph.operators)
        said = {(i, frozenset(formats)): value for i, formats, value in potentials}
        if not self._in_order or len(said) < len(potentials) or said.get((0, frozenset())) != 0:
            raise FalseClaimError("potentials: they are not of this network's partitions")
        for (i, formats), reached in sorted(said.items(), key=lambda item: item[0][0]):
            if not 0 <= i <= count:
                raise FalseClaimError(f"potentials: there is no position {i}")
            ends = {step.last for step in self._steps(i, formats, steps)} if i < count else set()
            for last in sorted(ends):
                while (wrong := self._wrong(i, last, formats, steps, reached, said)) is not None:
                    if wrong.known:
                        what = f"operators {i} to {last - 1} cost {wrong.value}"
                        raise FalseClaimError(f"potentials: {what}, less than they say that these do")
                    steps.look((i, last))
        return min((value for (i, _), value in said.items() if i == count), default=0)

    def _wrong(
        self,
        first: int,
        last: int,
        formats: Formats,
        steps: _Steps,
        reached: int,
        said: Mapping[tuple[int, Formats], int],
    ) -> PathStep | None:
        """A step between two positions, as far as it is known, that leads to its state for less than is said."""
        for step in self._steps(first, formats, steps):
            far = said.get((step.last, step.formats))
            if step.last == last and (far is None or reached + step.value < far):
                return step
        return None

    def _priced(self, limits: Budgets) -> tuple[_Quoting, _Floor]:
        """What candidates cost that are within the limits, and what a chain does before they are made."""

        def quotes(candidates: tuple[Candidate, ...]) -> Quotes:
            fitting = [c for c in candidates if fits(c, limits)]

            def look(number: int, left: int) -> int:
                candidate = fitting[number]
                return candidate.price(self.objective) if left == 1 else candidate.least(self.objective)

            return Quotes(((c.floor(self.objective), 2) for c in fitting), look)

        def floor(segment: _Segment, first: int) -> int | None:
            most = min((limit for limit in (limits.arena, limits.sram) if limit is not None), default=None)
            if most is None:
                return self._cost_floor(segment, first, None)
            room = most - segment.arena_floor
            return None if room < 0 else self._cost_floor(segment, first, room)

        return quotes, floor

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
        return any(first == 0 for first, _ in self.segments)

    def _best(
        self, quotes: _Quoting, floor: _Floor, joined: Callable[[int, int], int], besides: Collection[Stretch] = ()
    ) -> Partition | None:
        """The path of the least joined value; floors give way to values along the shortest path until it has none."""
        steps, count = _Steps(self, quotes, floor), len(self.problem.graph.operators)
        while True:
            reached = paths.reached(count, lambda i, formats: self._steps(i, formats, steps), joined, besides)
            path = paths.path(reached)
            if path is None:
                return None
            unknown = [step for step in path if not step.known]
            if not unknown:
                chains = tuple((s.first, s.last) for s in path if s.last - s.first > 1)
                (total, *_) = min(reached[-1].values(), key=lambda found: found[0])
                return Partition(chains, total, () if besides else paths.potentials(reached))
            for step in unknown:
                steps.look((step.first, step.last))

    def _steps(self, i: int, formats: Formats, steps: _Steps) -> Iterator[PathStep]:
        graph, lies = self.problem.graph, dict(formats)
        stage = self._stage_at.get(i)
        if stage is None:
            yield PathStep(i, i + 1, 0, self._left(formats, i + 1))
        else:
            read = {Format.S8 if t is None else lies.get(t, Format.S8) for t in stage.inputs}
            for input_format, output_format, value in steps.single[i]:
                if read == {input_format} and (output_format is Format.S8 or stage.output not in self.problem.plain):
                    after = formats if output_format is Format.S8 else formats | {(stage.output, output_format)}
                    yield PathStep(i, i + 1, value, self._left(after, i + 1))
        for last in range(i + 2, len(graph.operators) + 1):
            least, known = steps.chains.get((i, last), (None, False))
            if least is not None and self._roots.get(graph.operators[i].input) not in lies:
                yield PathStep(i, last, least, self._left(formats, last), known)

    def _left(self, formats: Formats, position: int) -> Formats:
        """Without the tensors that nobody reads from a position on."""
        return frozenset((t, f) for t, f in formats if self._last_read.get(t, -1) >= position)

    def single(self, i: int, quotes: _Quoting) -> list[tuple[Format, Format, int]]:
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
    def segments(self) -> dict[tuple[int, int], _Segment]:
        """Every chain that there can be."""
        graph, found = self.problem.graph, {}
        layers = lowered(graph, graph.operators)
        for first in range(len(graph.operators)):
            for last in range(first + 2, len(graph.operators) + 1):
                chain = chain_of(graph, graph.operators[first:last], layers[first:last])
                if chain is None and not graph.operators[last - 1].alias:
                    break  # nor is any longer one
                if chain is not None and is_closed(graph, first, last) and (shape := shape_of(chain)) is not None:
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
        return ends + align(max(windows, default=0), ALIGNMENT)

    def _cost_floor(self, segment: _Segment, first: int, room: int | None) -> int:
        """What no plan of a chain costs less than, wherever its code and constants may live, with so many bytes for
        constants that it keeps."""
        if is_sum(self.objective):
            return 0  # some weights of a sum may be 0
        positions = (i for i, op in enumerate(self.problem.graph.operators[first:], first) if not op.alias)
        parts = zip(positions, segment.shape.parts, strict=False)
        return chain_floor([self._part_floor(i, rows) for i, rows in parts if rows is not None], room)

    def _part_floor(self, position: int, rows: Rows) -> PartFloor:
        if position not in self._floors:
            heights = {band_height(rows.height, most) for most in HEIGHTS}
            bands = [(rows.height // h, plan) for h in heights for plan in plans(rows.band(h)) if plan.runs_on(False)]
            moved = self.objective == "bytes"
            own = (lambda plan: plan.promise.total.bytes) if moved else (lambda plan: plan.cycles)
            self._floors[position] = part_floor(bands, own, self._moved_floor if moved else self._waits_floor)
        return self._floors[position]

    def _moved_floor(self, parameters: Access, _: int) -> int:
        """What loads of constants count at least beyond their bytes."""
        return (OUTSIDE_WEIGHT - 1) * parameters.bytes if all(self.problem.sites.choices) else 0

    def _waits_floor(self, parameters: Access, size: int) -> int:
        """What loads of constants that take so many bytes wait at least. A chain has the constants of all its parts, so
        that it waits for them no less than they do one by one."""
        if self.problem.limits.constants_ram:
            return 0
        outside, inside = self._machine.outside, self._machine._replace(outside=None)
        waits = [
            outside_loading(parameters, outside) if beyond and outside else least_loading(parameters, size, inside)
            for beyond in self.problem.sites.choices
        ]
        return int(min(waits))

    @cached_property
    def _machine(self) -> FlashTiming:
        assert self.problem.mcu is not None
        return timing(self.problem.mcu, self.problem.sites.outside)

    def candidates(self, first: int, last: int) -> Iterator[Candidate]:
        """The candidates of a chain that reads and writes plain int8."""
        assert self.problem.mcu is not None
        graph = depth_first(self.problem.graph, ((first, last),))
        op, done = graph.operators[first], (1 << first) - 1
        low = op.lower(graph)
        assert low is not None
        apart = liveness.problem(graph, ALIGNMENT, elementwise_in_place, {}, ())
        outside = self.problem.sites.outside is not None
        for plan in options_of(graph, op, low, False, self.problem.mcu.core.has_fpu, outside):
            leads = leads_of(graph, {first: plan}, {first: low})
            view = liveness.ruled(apart, in_place_of(graph, {first: plan}, {first: low}), leads, [first])
            arena = view.during(first, done) + align(plan.scratch_bytes, ALIGNMENT)
            for where in places_of(plan, self.problem.limits, self.problem.sites):
                yield Candidate(plan, 1, arena, stack_bytes((plan,)), where, self._machine)
