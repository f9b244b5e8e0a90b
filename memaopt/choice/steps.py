"""The steps that partitions into chains have, at what is known of their values.

Of a layer by itself there is the least value of its candidates, of a chain a bound of theirs, which a look makes
better. Candidates are told apart by their formats, and by the clashes whose demand they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple

from memaopt.choice.choice import Candidate
from memaopt.choice.clashes import Demand, StepClash, demand_of
from memaopt.choice.quotes import Quotes
from memaopt.choice.segments import ChainAt
from memaopt.kernels.registry import Format

Floor = Callable[[ChainAt], int | None]
"""What no candidate of a chain costs less than; None if there are none."""
_Met = frozenset[int]


class Pricing(NamedTuple):
    """What steps cost: which candidates are ``within`` the budgets, what those cost as far as that is known, what a
    chain does before they are made, and a ``closer`` bound of that, which takes more time."""

    within: Callable[[Candidate], bool]
    quotes: Callable[[Sequence[Candidate]], Quotes]
    floor: Floor
    closer: Floor | None = None


class Value(NamedTuple):
    """The least value of candidates alike, or a bound of it where it is not ``known``: what they read and write, what
    the one of the value asks for, and the clashes whose demand they meet."""

    value: int
    known: bool = True
    input_format: Format = Format.S8
    output_format: Format = Format.S8
    demand: Demand | None = None
    met: _Met = frozenset()


class Steps:
    """The values of layers ``alone`` by their positions, and of chains by their ends: by a quick floor, then by a
    closer one, then by ``candidates``, which are kept in ``made``."""

    def __init__(
        self,
        alone: Mapping[int, Sequence[Candidate]],
        segments: Mapping[tuple[int, int], ChainAt],
        made: MutableMapping[tuple[int, int], tuple[Candidate, ...]],
        candidates: Callable[[int, int], Iterator[Candidate]],
        pricing: Pricing,
        clashes: Sequence[StepClash] = (),
    ) -> None:
        self._segments, self._made, self._candidates = segments, made, candidates
        self._pricing, self._clashes = pricing, clashes
        self._floors: dict[tuple[int, int], int] = {}
        self._quoted: dict[tuple[int, int], dict[_Met, tuple[list[Candidate], Quotes]]] = {}
        self.single = {i: self._settled(i, found) for i, found in alone.items()}
        self.chains: dict[tuple[int, int], list[Value]] = {}
        for ends, segment in segments.items():
            if ends in made:
                self._quote(ends)
            else:
                self._bound(ends, pricing.floor(segment))

    def look(self, ends: tuple[int, int], met: _Met) -> None:
        """Make what is known of a chain better, of the candidates that meet so much."""
        if ends in self._quoted:
            self._quoted[ends][met][1].look()
            self._tell(ends)
        elif self._pricing.closer is not None and ends not in self._floors:
            floor = self._pricing.closer(self._segments[ends])
            self._floors[ends] = floor or 0
            self._bound(ends, floor)
        else:
            self._made[ends] = tuple(self._candidates(*ends))
            self._quote(ends)

    def met(self, ends: tuple[int, int], demand: Demand | None) -> _Met:
        """The clashes whose demand of a step is met; those that ask for nothing where its own is not known."""
        return frozenset(k for k, clash in enumerate(self._clashes) if clash.met(ends, demand))

    def _settled(self, i: int, candidates: Sequence[Candidate]) -> list[Value]:
        """The least value of a layer's candidates, by their formats and what they meet."""
        alike: dict[tuple[Format, Format, _Met], list[Candidate]] = {}
        for candidate in filter(self._pricing.within, candidates):
            plan = candidate.plan
            key = plan.input_format, plan.output_format, self.met((i, i + 1), demand_of(plan))
            alike.setdefault(key, []).append(candidate)
        found = []
        for (input_format, output_format, met), group in alike.items():
            quotes = self._pricing.quotes(group)
            least = quotes.settled()
            assert least is not None
            asks = demand_of(group[quotes.first].plan)
            found.append(Value(least, True, input_format, output_format, asks, met))
        return found

    def _bound(self, ends: tuple[int, int], floor: int | None) -> None:
        """What is known of a chain before its candidates are made."""
        self.chains[ends] = [] if floor is None else [Value(floor, known=False, met=self.met(ends, None))]

    def _quote(self, ends: tuple[int, int]) -> None:
        alike: dict[_Met, list[Candidate]] = {}
        met: dict[Demand, _Met] = {}
        for candidate in filter(self._pricing.within, self._made[ends]):
            demand = demand_of(candidate.plan)
            if demand not in met:
                met[demand] = self.met(ends, demand)
            alike.setdefault(met[demand], []).append(candidate)
        self._quoted[ends] = {each: (group, self._pricing.quotes(group)) for each, group in alike.items()}
        self._tell(ends)

    def _tell(self, ends: tuple[int, int]) -> None:
        """What is known of a chain's value by its candidates, and by what bounds all of them."""
        told = []
        for met, (group, quotes) in self._quoted[ends].items():
            least, known = quotes.least
            assert least is not None
            value = least if known else max(least, self._floors.get(ends, 0))
            told.append(Value(value, known, demand=demand_of(group[quotes.first].plan), met=met))
        self.chains[ends] = told
