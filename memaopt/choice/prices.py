"""Candidates are priced when the search first wants them, for it is their waiting that takes time to price.

Until then a candidate counts as its floor: what it takes at zero wait states, and what its constants wait at least; or,
once it was looked at, its code. So a choice found with floors is the best of all as soon as everything in it has its
price: all others cost at least what they were taken for.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import le

from memaopt.choice.choice import Budgets, Candidate, Stage, fits, ram_code_bytes, ram_constant_bytes
from memaopt.choice.offers import Price
from memaopt.problems.words import Objective


def price_of(objective: Objective) -> Price:
    """The price of every candidate; None for one that does not pay."""
    return lambda candidate: candidate.price(objective) if candidate.pays else None


class Prices:
    """What the candidates of stages cost as far as it is known: their price, or their floor; None if one does not pay.

    What was asked before does not matter, so that the same stages always end in the same choice; but for what is
    ``known``, of the same candidates in another problem, which then shares what is found here.
    """

    def __init__(
        self, stages: Sequence[Stage], budgets: Budgets, objective: Objective, known: Prices | None = None
    ) -> None:
        self._stages, self._budgets, self._objective = stages, budgets, objective
        self._price = price_of(objective)
        self._settled: set[int] = set() if known is None else known._settled
        #: Candidates whose code was looked at.
        self._seen: set[int] = set() if known is None else known._seen
        #: What was answered, while what is known of a candidate stays.
        self._answers: dict[int, int | None] = {} if known is None else known._answers
        #: Budgets that are short: what takes less of one may be better though it costs more.
        self.short: tuple[str, ...] = ()

    def __call__(self, candidate: Candidate) -> int | None:
        key = id(candidate)
        if key not in self._answers:
            self._answers[key] = self._found(candidate)
        return self._answers[key]

    def _found(self, candidate: Candidate) -> int | None:
        if id(candidate) in self._settled:
            return self._price(candidate)
        seen = id(candidate) in self._seen
        return candidate.least(self._objective) if seen else candidate.floor(self._objective)

    def _know(self, candidate: Candidate, more: set[int]) -> None:
        """More is known of a candidate: it was seen, or its price is settled."""
        more.add(id(candidate))
        self._answers.pop(id(candidate), None)

    @property
    def fresh(self) -> bool:
        """Whether nothing was asked yet."""
        return not self._answers

    def settle(self, picks: Sequence[int]) -> bool:
        """Price what was picked, and what of its formats may be better; whether everything had its price already."""
        settled = True
        for stage, pick in zip(self._stages, picks, strict=True):
            picked = stage.candidates[pick]
            if id(picked) not in self._settled:
                settled = False
                self._settle(stage, picked)
        return settled

    def settle_all(self, picks: Sequence[Sequence[int]]) -> bool:
        """Price all of some candidates of each stage; whether they had their prices already."""
        asked = [stage.candidates[j] for stage, kept in zip(self._stages, picks, strict=True) for j in kept]
        new = [candidate for candidate in asked if id(candidate) not in self._settled]
        for candidate in new:
            self._know(candidate, self._settled)
        return not new

    def _settle(self, stage: Stage, picked: Candidate) -> None:
        """Price a candidate that was seen already. Else see it, and what of its formats may be better, the least first;
        and price what then may be the best."""
        formats = picked.plan.input_format, picked.plan.output_format
        rivals = [
            (other.floor(self._objective), j, other)
            for j, other in enumerate(stage.candidates)
            if (other.plan.input_format, other.plan.output_format) == formats and fits(other, self._budgets)
        ]
        if id(picked) in self._seen:
            self._know(picked, self._settled)
        self._know(picked, self._seen)
        known: list[tuple[int, ...]] = []
        heapq.heapify(rivals)
        while rivals:
            bound, j, other = heapq.heappop(rivals)
            taken = [takes(other, name) for name in self.short]
            if any(all(map(le, values, (bound, *taken))) for values in known):
                continue
            if id(other) in self._seen and bound == other.least(self._objective):
                self._know(other, self._settled)
                price = self(other)
                if price is not None:
                    known.append((price, *taken))
            else:
                self._know(other, self._seen)
                heapq.heappush(rivals, (other.least(self._objective), j, other))


def takes(candidate: Candidate, budget: str) -> int:
    """Bytes that a candidate by itself takes of a budget: ``flash``, ``code`` or ``data`` in RAM, the ``arena``, or all
    of ``ram``."""
    match budget:
        case "flash":
            return candidate.flash_bytes
        case "code":
            return ram_code_bytes([candidate])
        case "data":
            return ram_constant_bytes([candidate])
        case "arena":
            return candidate.arena_bytes
    return candidate.ram_bytes
