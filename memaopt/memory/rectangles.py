"""What is packed: rectangles in time x address, and the pairs of them that may share bytes."""

from __future__ import annotations

from typing import NamedTuple

from memaopt.memory.liveness import Lead


class Rectangle(NamedTuple):
    """``size`` bytes alive in the steps ``first`` to ``last``, both included."""

    first: int
    last: int
    size: int

    def meets(self, other: Rectangle) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


class Sharing(NamedTuple):
    """Rectangles ``before`` (an input) and ``after`` (its operator's output), which begins where the other ends."""

    before: int
    after: int
    lead: Lead
