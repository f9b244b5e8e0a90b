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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal, NamedTuple

from memaopt.choice import paths
from memaopt.choice.chain_floor import Floors
from memaopt.choice.choice import Budgets, Candidate, Stage, fits
from memaopt.choice.clashes import StepClash
from memaopt.choice.paths import Formats, PathState, PathStep, Potentials
from memaopt.choice.problem import Problem
from memaopt.choice.quotes import Quotes, quotes_of
from memaopt.choice.segments import ChainAt, segments_of
from memaopt.choice.steps import Pricing, Steps
from memaopt.errors import FalseClaimError
from memaopt.kernels.registry import Format
from memaopt.memory import liveness
from memaopt.networks.chains import Chains
from memaopt.problems.words import Objective


class Partition(NamedTuple):
    """The best partition: its chains, the value that no other one is below, what proves that, and its steps."""

    chains: Chains
    value: int
    potentials: Potentials
    steps: tuple[PathStep, ...] = ()


@dataclass(frozen=True, eq=False)
class Partitions:
    """The partitions of a network whose operators run in the order of the file."""

    problem: Problem
    objective: Objective
    #: The candidates of chains, once they have been made.
    made: dict[tuple[int, int], tuple[Candidate, ...]] = field(default_factory=dict)

    def cheapest(
        self, limits: Budgets, besides: Sequence[StepClash] = (), below: int | None = None
    ) -> Partition | None:
        """The partition of the least price whose every step is within the limits, with none of some clashes; None if
        there is none, or the operators do not run in the order of the file, or keep states. Where none is ``below`` a
        price, one without chains stands for them, of a value that none is below."""
        if not self.problem.in_order:
            return None
        return self._best(self._at(self._priced(limits), besides), lambda a, b: a + b, besides, below)

    def bound(self, limits: Budgets, potentials: Potentials) -> int:
        """The price that no partition whose every step is within the limits is below, but for those with one of their
        clashes, as potentials show. Checked step by step: FalseClaimError names the first one that they get wrong.
        """
        count, clashes = len(self.problem.graph.operators), potentials.clashes
        steps = self._at(self._priced(limits), clashes)
        said = {
            (i, PathState(frozenset(formats), frozenset(begun))): far for i, formats, begun, far in potentials.states
        }
        start = said.get((0, PathState(frozenset(), frozenset())))
        if not self.problem.in_order or len(said) < len(potentials.states) or start != 0:
            raise FalseClaimError("potentials: they are not of this network's partitions")
        for (i, state), reached in sorted(said.items(), key=lambda item: item[0][0]):
            if not 0 <= i <= count:
                raise FalseClaimError(f"potentials: there is no position {i}")
            while i < count and (wrong := self._wrong(i, state, steps, reached, said, clashes)) is not None:
                if wrong.known:
                    what = f"operators {i} to {wrong.last - 1} cost {wrong.value}"
                    raise FalseClaimError(f"potentials: {what}, less than they say that these do")
                steps.look((i, wrong.last), wrong.met)
        return min((value for (i, _), value in said.items() if i == count), default=0)

    def _wrong(
        self,
        first: int,
        state: PathState,
        steps: Steps,
        reached: int,
        said: Mapping[tuple[int, PathState], int],
        clashes: Sequence[StepClash],
    ) -> PathStep | None:
        """A step from a position, as far as it is known, that leads to its state for less than is said."""
        for step in self._steps(first, state.formats, steps):
            left = paths.begun(state.begun, step, clashes)
            if left is not None:
                far = said.get((step.last, PathState(step.formats, left)))
                if far is None or reached + step.value < far:
                    return step
        return None

    def _priced(self, limits: Budgets) -> Pricing:
        """What steps cost within the limits."""
        quotes = partial(quotes_of, objective=self.objective)
        floors = self.floors
        return Pricing(partial(fits, budgets=limits), quotes, partial(floors.quick, limits), floors.closer(limits))

    def _at(self, pricing: Pricing, clashes: Sequence[StepClash] = ()) -> Steps:
        """The steps at their prices."""
        return Steps(self._alone, self.segments, self.made, self.candidates, pricing, clashes)

    def smallest(self, what: Literal["arena_bytes", "sram_bytes"] = "arena_bytes") -> Partition | None:
        """The partition whose largest step takes the least arena or SRAM, whatever the budgets; None as above."""
        if not self.problem.in_order:
            return None

        def quotes(candidates: Sequence[Candidate]) -> Quotes:
            return Quotes(((getattr(c, what), 0) for c in candidates), lambda *_: 0)

        return self._best(self._at(Pricing(lambda _: True, quotes, lambda segment: segment.arena_floor)), max)

    @property
    def starts(self) -> bool:
        """Whether there is a chain that starts with the first operator."""
        return any(first == 0 for first, _ in self.segments)

    def _best(
        self,
        steps: Steps,
        joined: Callable[[int, int], int],
        besides: Sequence[StepClash] = (),
        below: int | None = None,
    ) -> Partition | None:
        """The path of the least joined value; floors give way to values along the shortest path until it has none, or
        is not below a value."""
        count = len(self.problem.graph.operators)
        while True:
            reached = paths.reached(count, lambda i, formats: self._steps(i, formats, steps), joined, besides)
            shortest = paths.path(reached)
            if shortest is None:
                return None
            total, path = shortest
            unknown = [step for step in path if not step.known]
            enough = below is not None and total >= below
            if enough or not unknown:
                taken = () if enough else tuple(path)
                chains = tuple((s.first, s.last) for s in taken if s.last - s.first > 1)
                return Partition(chains, total, paths.potentials(reached, besides), taken)
            for step in unknown:
                steps.look((step.first, step.last), step.met)

    def _steps(self, i: int, formats: Formats, steps: Steps) -> Iterator[PathStep]:
        graph, lies = self.problem.graph, dict(formats)
        stage = self._stage_at.get(i)
        if stage is None:
            yield PathStep(i, i + 1, 0, self._left(formats, i + 1), met=steps.met((i, i + 1), None))
        else:
            read = {Format.S8 if t is None else lies.get(t, Format.S8) for t in stage.inputs}
            for one in steps.single.get(i, ()):
                output_format = one.output_format
                if read == {one.input_format} and (
                    output_format is Format.S8 or stage.output not in self.problem.plain
                ):
                    after = formats if output_format is Format.S8 else formats | {(stage.output, output_format)}
                    yield PathStep(i, i + 1, one.value, self._left(after, i + 1), True, one.demand, one.met)
        for last in range(i + 2, len(graph.operators) + 1):
            if self._roots.get(graph.operators[i].input) not in lies:
                for one in steps.chains.get((i, last), ()):
                    yield PathStep(i, last, one.value, self._left(formats, last), one.known, one.demand, one.met)

    def _left(self, formats: Formats, position: int) -> Formats:
        """Without the tensors that nobody reads from a position on."""
        return frozenset((t, f) for t, f in formats if self._last_read.get(t, -1) >= position)

    @cached_property
    def _alone(self) -> dict[int, Sequence[Candidate]]:
        """The candidates of each layer that may be computed by itself."""
        graph = self.problem.graph
        return {
            i: stage.candidates
            for i, stage in self._stage_at.items()
            if not any(t in graph.nowhere for t in graph.operators[i].inputs)
        }

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
