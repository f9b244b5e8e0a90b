"""The least value of some candidates, where finding a value out takes time and a bound of it does not; and where making
the candidates does."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from memaopt.choice.choice import Candidate
from memaopt.problems.words import Objective


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

    @property
    def first(self) -> int:
        """The number of the candidate that the bound is of; there has to be one."""
        return self._heap[0][2]

    def look(self) -> None:
        """A better bound of the first one."""
        _, left, number = self._heap[0]
        heapq.heapreplace(self._heap, (self._look(number, left), left - 1, number))

    def settled(self) -> int | None:
        """The least value."""
        while not self.least[1]:
            self.look()
        return self.least[0]


def quotes_of(candidates: Sequence[Candidate], objective: Objective) -> Quotes:
    """What candidates cost: a floor first, then the least that it can be, then the price."""

    def look(number: int, left: int) -> int:
        candidate = candidates[number]
        return candidate.price(objective) if left == 1 else candidate.least(objective)

    return Quotes(((candidate.floor(objective), 2) for candidate in candidates), look)


class LazyQuotes:
    """The same of candidates that are not made yet: at first a bound is known of them (None: there are none), then a
    ``closer`` one, if there is one, then what is ``made``."""

    def __init__(self, bound: int | None, closer: Callable[[], int | None] | None, made: Callable[[], Quotes]) -> None:
        self.least: tuple[int | None, bool] = bound, bound is None
        self._bound, self._closer, self._make = 0, closer, made
        self._made: Quotes | None = None

    def look(self) -> None:
        """A better bound."""
        if self._made is None and self._closer is not None:
            bound, self._closer = self._closer(), None
            self._bound, self.least = bound or 0, (bound, bound is None)
            return
        if self._made is None:
            self._made = self._make()
        else:
            self._made.look()
        least, known = self._made.least
        self.least = least if known or least is None else max(least, self._bound), known
