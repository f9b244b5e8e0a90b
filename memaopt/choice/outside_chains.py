"""Which layers of a network are computed depth first, and which tensors are outside the chip, as one shortest path.

A step is a layer, or a chain of them, with what it writes inside or outside; what lies within a chain lies nowhere. A
state is a position and what :mod:`memaopt.choice.suits` has there: the tensors inside that are still to be read, and
formats. A layer or a chain costs the least of its candidates that fit beside what is inside meanwhile. So no partition
into chains, with whatever tensors outside, costs less than the path, in the order of the file; that everything packs
is found out afterwards for its chains.

What steps cost is found as :mod:`memaopt.choice.partition` does: bounds first, and better ones where the shortest path
goes through a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

from memaopt.choice import paths
from memaopt.choice.chain_floor import Floors
from memaopt.choice.choice import fits
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.problem import MOST_CHAINED, Problem
from memaopt.choice.quotes import LazyQuotes, Quotes, quotes_of
from memaopt.choice.segments import ChainAt, segments_of
from memaopt.choice.spaces import problem_within, simplifications
from memaopt.choice.suits import PlaceWalk, WalkOffer, WalkState, demand_few
from memaopt.errors import UnfinishedError
from memaopt.networks.chains import Chains
from memaopt.problems.words import Objective

#: What a step's cost is known by: an offer of one operator, or a chain's ends and what is inside meanwhile.
_Key = WalkOffer | tuple[int, int, frozenset[int]]


class OutsideChains(NamedTuple):
    """The chains and the tensors (alias roots) outside of the shortest path, and its value, which no other is below."""

    chains: Chains
    away: frozenset[int]
    value: int


class _Step(NamedTuple):
    """From one position to another: the state there, what is written outside, and what says what it costs (None:
    nothing)."""

    first: int
    last: int
    state: WalkState
    away: int | None
    key: _Key | None


#: Of a state: the least value of a way there, its last step and the state before that.
_Reached = dict[WalkState, tuple[int, _Step | None, WalkState | None]]


@dataclass(frozen=True, eq=False)
class OutsidePaths:
    """The paths of a problem whose tensors may be outside, under an objective."""

    problem: Problem
    objective: Objective
    _quotes: dict[_Key, LazyQuotes] = field(default_factory=dict)
    _steps: dict[tuple[int, WalkState], tuple[_Step, ...]] = field(default_factory=dict)

    def cheapest(self, below: int | None = None) -> OutsideChains | None:
        """The shortest path; None if there is none. Where none is ``below`` a price one without chains stands for them,
        of a value that none is below.

        Raises UnfinishedError where too many tensors are alive at once.
        """
        while True:
            found = paths.path(self._reached())
            if found is None:
                return None
            value, path = found
            unknown = [key for key in dict.fromkeys(step.key for step in path) if key is not None and self._open(key)]
            if below is not None and value >= below:
                return OutsideChains((), frozenset(), value)
            if not unknown:
                chains = tuple((step.first, step.last) for step in path if step.last - step.first > 1)
                away = frozenset(step.away for step in path if step.away is not None)
                return OutsideChains(chains, away | self._walk.ends, value)
            for key in unknown:
                self._quotes[key].look()

    def _open(self, key: _Key) -> bool:
        """Whether what a step costs is a bound so far."""
        return not self._quotes[key].least[1]

    def _reached(self) -> list[_Reached]:
        """The states of every position, at what is known of the steps."""
        count = len(self.problem.graph.operators)
        best: list[_Reached] = [{} for _ in range(count + 1)]
        best[0][self._walk.start] = 0, None, None
        for i in range(count):
            for state, (far, _, _) in best[i].items():
                for step in self._from(i, state):
                    cost = 0 if step.key is None else self._quotes[step.key].least[0]
                    if cost is None:
                        continue
                    known = best[step.last].get(step.state)
                    if known is None or far + cost < known[0]:
                        best[step.last][step.state] = far + cost, step, state
            demand_few(self.problem.graph, len(best[i]))
        return best

    def _from(self, i: int, state: WalkState) -> tuple[_Step, ...]:
        """The steps from a state, with what is known of what they cost."""
        if (i, state) not in self._steps:
            self._steps[i, state] = (*self._layer(i, state), *self._chains(i, state))
        return self._steps[i, state]

    def _layer(self, i: int, state: WalkState) -> Iterator[_Step]:
        """The operator by itself, or left to its reader, or computed with what was left to it."""
        for step in self._walk.steps(i, (1 << i) - 1, state):
            if step.offer is not None and step.offer not in self._quotes:
                candidates = self._walk.candidates(step.offer)
                made = partial(quotes_of, candidates, self.objective)
                self._quotes[step.offer] = LazyQuotes(min(c.floor(self.objective) for c in candidates), None, made)
            yield _Step(i, i + 1, step.state, step.away, step.offer)

    def _chains(self, i: int, state: WalkState) -> Iterator[_Step]:
        """Chains that start with an operator: their ends are plain int8."""
        walk, input_ = self._walk, self._walk.stages.roots.get(self.problem.graph.operators[i].input)
        if state.left is not None or any(tensor == input_ for tensor, _ in state.formats):
            return
        for segment in self._starting.get(i, ()):
            done = (1 << segment.last) - 1
            for during, out in walk.places(segment.last - 1, state.inside):
                key = i, segment.last, during
                if key not in self._quotes:
                    self._quotes[key] = self._of_chain(segment.beside(walk.roots - during))
                if self._quotes[key].least[0] is not None:
                    yield _Step(i, segment.last, walk.left(WalkState(during, None, state.formats), done), out, key)

    def _of_chain(self, segment: ChainAt) -> LazyQuotes:
        floors, limits = self._floors, self.problem.limits
        closer = floors.closer(limits)

        def made() -> Quotes:
            return quotes_of([c for c in floors.candidates(segment) if fits(c, limits)], self.objective)

        return LazyQuotes(floors.quick(limits, segment), None if closer is None else partial(closer, segment), made)

    @cached_property
    def _walk(self) -> PlaceWalk:
        assert self.problem.made is not None
        return PlaceWalk(self.problem.made)

    @cached_property
    def _floors(self) -> Floors:
        return Floors(self.problem, self.objective)

    @cached_property
    def _starting(self) -> Mapping[int, list[ChainAt]]:
        """The chains that there can be, by their first operator."""
        found: dict[int, list[ChainAt]] = {}
        for (first, _), segment in segments_of(self.problem.graph, frozenset()).items():
            found.setdefault(first, []).append(segment)
        return found


def shortest(problem: Problem, objective: Objective, below: int | None) -> tuple[OutsideChains | None, int | None]:
    """The best chains, if they may cost less than a price; and a value that no chains and tensors outside are below:
    None if that was not found, the price or above it if all are."""
    if not problem.in_order or len(problem.graph.operators) > MOST_CHAINED:
        return None, None
    try:
        found = OutsidePaths(problem, objective).cheapest(below)
    except UnfinishedError:
        return None, None
    if found is None:
        return None, below if below is not None else 0
    return found if found.chains else None, found.value


def least_of(bounds: Iterable[int | None], price: int) -> int | None:
    """What none is below in any way to simplify a network, up to a price; None where that is not known of each."""
    least = price
    for bound in bounds:
        if bound is None:
            return None
        least = min(least, bound)
    return least


def chained_bound(plan: NetworkPlan) -> int | None:
    """What no chains, with whatever tensors outside, cost less than in any way to simplify a plan's network, up to its
    own price; None where that is not found."""
    problems = (problem_within(plan, simple.graph) for _, simple in simplifications(plan.source))
    price = plan.choice.price
    return least_of((shortest(each, plan.objective, price)[1] for each in problems), price)
