"""The least value of some candidates, where finding a value out takes time and a bound of it does not."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable


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
