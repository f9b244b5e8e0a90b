"""A problem narrowed to what may cost less than a price, so that searches in ever smaller arenas need not look at the
rest again.

What is left out is what bounds alone tell: which choices pack depends on more than what candidates take, so that one
which another replaces in all of that stays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from memaopt.choice import labels
from memaopt.choice.knee import in_arena
from memaopt.choice.label_stages import Layers
from memaopt.choice.offers import Offers
from memaopt.choice.prices import Prices
from memaopt.choice.problem import Problem
from memaopt.choice.relaxation import UNIT, Relaxation
from memaopt.networks.chains import Chains
from memaopt.networks.simplify.simplify import Simplified
from memaopt.problems.words import Objective


class Narrowed(NamedTuple):
    """The ``problem`` with some candidates of each stage, and which of the whole one's they are."""

    problem: Problem
    kept: tuple[tuple[int, ...], ...]

    def whole(self, picks: Sequence[int]) -> tuple[int, ...]:
        """Picks of the narrowed problem as those of the whole one."""
        return tuple(kept[j] for kept, j in zip(self.kept, picks, strict=True))


class NetworkSpace(NamedTuple):
    """A way to simplify a network, the problem of choosing its kernels, and what is known of their prices; what of the
    problem is looked at, if that is not all; ``chains`` of operators that are one in it."""

    multiple: int
    simple: Simplified
    problem: Problem
    prices: Prices
    part: Narrowed | None = None
    chains: Chains = ()

    @classmethod
    def of(
        cls, multiple: int, simple: Simplified, problem: Problem, objective: Objective, chains: Chains
    ) -> NetworkSpace:
        """That of a problem whose network has these chains, of which no price is known yet."""
        prices = Prices(problem.stages, problem.limits, objective)
        return cls(multiple, dataclasses.replace(simple, graph=problem.graph), problem, prices, chains=chains)

    def below(self, price: int) -> NetworkSpace | None:
        """The part of it that may cost less; None if nothing does."""
        part = narrowed(self.problem, self.prices, price)
        return None if part is None else self._replace(part=part)

    def in_arena(self, arena: int) -> NetworkSpace:
        """A part with that much arena at the most."""
        assert self.part is not None
        return self._replace(part=self.part._replace(problem=in_arena(self.part.problem, arena)))


def narrowed(problem: Problem, prices: Prices, below: int) -> Narrowed | None:
    """The candidates that a choice below a price may have, whatever its arena; None if there is no such choice."""
    offers = Offers(problem.stages, problem.plain, problem.limits)
    found = labels.relaxed(offers, prices)
    if found is None or any(relaxed.bound() >= below for relaxed in found[1]):
        return None
    layers, bounds = found
    kept = [{offer.pick for offer in offered} for offered in offers.offered]
    for relaxed in bounds:
        for i, left in enumerate(_below(offers, layers, relaxed, prices, below)):
            kept[i] &= left
    rows = tuple(tuple(sorted(left)) for left in kept)
    stages = tuple(
        dataclasses.replace(stage, candidates=tuple(stage.candidates[j] for j in row))
        for stage, row in zip(problem.stages, rows, strict=True)
    )
    return Narrowed(dataclasses.replace(problem, stages=stages), rows)


def _below(offers: Offers, layers: Layers, relaxed: Relaxation, prices: Prices, below: int) -> list[set[int]]:
    """For each stage the candidates with which a bound is below a price."""
    limit = (below - 1) * UNIT + relaxed.spare
    before = layers.so_far(relaxed.weights)
    left: list[set[int]] = []
    for i, offered in enumerate(offers.offered):
        # What the other stages weigh at least, by what decides which of them go with a candidate.
        others: dict[tuple[object, ...], int] = {}
        for state, edges in enumerate(layers.edges[i]):
            for edge in edges:
                row, rest = layers.rows[i][edge.row], before[i][state] + int(relaxed.to_go[i + 1][edge.to])
                kind = row.wanted, row.made, row.kernel
                others[kind] = min(others.get(kind, rest), rest)
        here = set()
        for offer in offered:
            price, plan = prices(offer.candidate), offer.candidate.plan
            rest = others.get((plan.input_format, plan.output_format, offer.kernel), limit + 1)
            if price is not None and relaxed.weight((price, *offer.own), offer.kernel, i) + rest <= limit:
                here.add(offer.pick)
        left.append(here)
    return left
