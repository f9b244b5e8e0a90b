"""Candidates are priced when the search first wants them, for it is their waiting that takes time to price.

Until then a candidate counts as its floor, which is what it takes at zero wait states. So a choice found with floors is
the best of all as soon as everything in it has its price: all others cost at least what they were taken for.
"""

from __future__ import annotations

from collections.abc import Sequence

from memaopt.choice.choice import Candidate, Stage
from memaopt.choice.label_stages import Price
from memaopt.problems.words import Objective


def price_of(objective: Objective) -> Price:
    """The price of every candidate; None for one that does not pay."""
    return lambda candidate: candidate.price(objective) if candidate.pays else None


class Prices:
    """What the candidates of stages cost as far as it is known: their price, or their floor; None if one does not pay.

    What was asked before does not matter, so that the same stages always end in the same choice.
    """

    def __init__(self, stages: Sequence[Stage], objective: Objective) -> None:
        self._stages, self._objective, self._price = stages, objective, price_of(objective)
        self._settled: set[int] = set()

    def __call__(self, candidate: Candidate) -> int | None:
        if id(candidate) not in self._settled:
            return candidate.floor(self._objective)
        return self._price(candidate)

    def settle(self, picks: Sequence[int], *, alike: bool = False) -> bool:
        """Price what was picked, and what of its formats may be cheaper; whether everything had its price already.

        ``alike``: all of its formats, for where budgets are short what is cheapest is not all that counts.
        """
        settled = True
        for stage, pick in zip(self._stages, picks, strict=True):
            picked = stage.candidates[pick]
            if id(picked) not in self._settled:
                settled = False
                self._settle(stage, picked, alike)
        return settled

    def _settle(self, stage: Stage, picked: Candidate, alike: bool) -> None:
        self._settled.add(id(picked))
        least, formats = self(picked), (picked.plan.input_format, picked.plan.output_format)
        for other in sorted(stage.candidates, key=lambda other: other.floor(self._objective)):
            if not alike and least is not None and other.floor(self._objective) >= least:
                return
            if (other.plan.input_format, other.plan.output_format) == formats:
                self._settled.add(id(other))
                price = self(other)
                least = price if least is None or (price is not None and price < least) else least
