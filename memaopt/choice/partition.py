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
from functools import cached_property, partial
from typing import Literal, NamedTuple

from memaopt.choice import paths
from memaopt.choice.chain_floor import Floors
from memaopt.choice.choice import Budgets, Candidate, Stage, fits
from memaopt.choice.paths import Formats, PathStep, Potentials, Stretch
from memaopt.choice.problem import Problem
from memaopt.choice.quotes import LazyQuotes, Quotes
from memaopt.choice.segments import ChainAt, segments_of
from memaopt.errors import FalseClaimError
from memaopt.kernels.registry import Format
from memaopt.memory import liveness
from memaopt.networks.chains import Chains
from memaopt.problems.objectives import is_sum
from memaopt.problems.words import Objective


class Partition(NamedTuple):
    """The best partition: its chains, the value that no other one is below, and what proves that, of all there are."""

    chains: Chains
    value: int
    potentials: Potentials


class _Steps:
    """The steps that there are, at what is known of their values: of layers alone the values, of chains a bound and
    whether it is the value, which a look makes better: by a ``closer`` floor first, then by candidates."""

    def __init__(self, partitions: Partitions, quotes: _Quoting, floor: _Floor, closer: _Floor | None = None) -> None:
        count = len(partitions.problem.graph.operators)
        self.single = {i: partitions.single(i, quotes) for i in range(count)}
        self.chains: dict[tuple[int, int], LazyQuotes] = {}

        def made(ends: tuple[int, int]) -> Quotes:
            if ends not in partitions.made:
                partitions.made[ends] = tuple(partitions.candidates(*ends))
            return quotes(partitions.made[ends])

        for ends, segment in partitions.segments.items():
            found = partial(made, ends)
            if ends in partitions.made:
                self.chains[ends] = LazyQuotes(0, None, found)
                self.look(ends)
            else:
                better = None if closer is None else partial(closer, segment)
                self.chains[ends] = LazyQuotes(floor(segment), better, found)

    def look(self, ends: tuple[int, int]) -> None:
        """Make what is known of a chain's value better."""
        self.chains[ends].look()


_Quoting = Callable[[tuple[Candidate, ...]], Quotes]
_Floor = Callable[[ChainAt], int | None]


@dataclass(frozen=True, eq=False)
class Partitions:
    """The partitions of a network whose operators run in the order of the file."""

    problem: Problem
    objective: Objective
    #: The candidates of chains, once they have been made.
    made: dict[tuple[int, int], tuple[Candidate, ...]] = field(default_factory=dict)

    def cheapest(
        self, limits: Budgets, besides: Collection[Stretch] = (), below: int | None = None
    ) -> Partition | None:
        """The partition of the least price whose every step is within the limits, with no stretch of some; None if
        there is none, or the operators do not run in the order of the file, or keep states. Where none is ``below`` a
        price, one without chains stands for them, of a value that none is below."""
        if not self._in_order:
            return None
        return self._best(_Steps(self, *self._priced(limits)), lambda a, b: a + b, besides, below)

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

    def _priced(self, limits: Budgets) -> tuple[_Quoting, _Floor, _Floor | None]:
        """What candidates cost that are within the limits, and what a chain does before they are made: a bound, and a
        better one that takes more time."""

        def quotes(candidates: tuple[Candidate, ...]) -> Quotes:
            fitting = [c for c in candidates if fits(c, limits)]

            def look(number: int, left: int) -> int:
                candidate = fitting[number]
                return candidate.price(self.objective) if left == 1 else candidate.least(self.objective)

            return Quotes(((c.floor(self.objective), 2) for c in fitting), look)

        closer = None if is_sum(self.objective) or self.objective == "bytes" else partial(self.floors.least, limits)
        return quotes, partial(self.floors.quick, limits), closer

    @property
    def _in_order(self) -> bool:
        """Whether operators run in the order of the file; and a network with states is computed layer by layer."""
        return not self.problem.graph.states and self.problem.order == tuple(range(len(self.problem.graph.operators)))

    def smallest(self, what: Literal["arena_bytes", "sram_bytes"] = "arena_bytes") -> Partition | None:
        """The partition whose largest step takes the least arena or SRAM, whatever the budgets; None as above."""
        if not self._in_order:
            return None

        def quotes(candidates: tuple[Candidate, ...]) -> Quotes:
            return Quotes(((getattr(c, what), 0) for c in candidates), lambda *_: 0)

        return self._best(_Steps(self, quotes, lambda segment: segment.arena_floor), max)

    @property
    def starts(self) -> bool:
        """Whether there is a chain that starts with the first operator."""
        return any(first == 0 for first, _ in self.segments)

    def _best(
        self,
        steps: _Steps,
        joined: Callable[[int, int], int],
        besides: Collection[Stretch] = (),
        below: int | None = None,
    ) -> Partition | None:
        """The path of the least joined value; floors give way to values along the shortest path until it has none, or
        is not below a value."""
        count = len(self.problem.graph.operators)
        while True:
            reached = paths.reached(count, lambda i, formats: self._steps(i, formats, steps), joined, besides)
            path = paths.path(reached)
            if path is None:
                return None
            unknown = [step for step in path if not step.known]
            (total, *_) = min(reached[-1].values(), key=lambda found: found[0])
            enough = below is not None and total >= below
            if enough or not unknown:
                chains = () if enough else tuple((s.first, s.last) for s in path if s.last - s.first > 1)
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
            chain = steps.chains.get((i, last))
            least, known = (None, False) if chain is None else chain.least
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

    @property
    def segments(self) -> Mapping[tuple[int, int], ChainAt]:
        """Every chain that there can be."""
        return segments_of(self.problem.graph, self.problem.away)

    @cached_property
    def floors(self) -> Floors:
        """What chains cost at least."""
        return Floors(self.problem, self.objective)

    def candidates(self, first: int, last: int) -> Iterator[Candidate]:
        """The candidates of a chain that reads and writes plain int8."""
        yield from self.floors.candidates(self.segments[first, last])
