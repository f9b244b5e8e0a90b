"""The exact search by the size of the arena, where RAM is short.

An arena is as large as its largest layer wants it, and what it leaves of the RAM goes to code and constants. The bound
of all choices together has to reckon with the least arena that there is. So choices are told apart by their arena: a
part is those whose arena lies between two sizes. It has the rows that fit the larger one, and a bound that reckons with
the smaller one. Parts are looked at in the order of their bounds, each by a beam first; one whose sizes lie too far
apart for what is left to gain is split.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from memaopt.choice.dominance import ARENA, Effort, TooMuchError
from memaopt.choice.label_walk import Found, LabelWalk
from memaopt.choice.relaxation import UNIT

#: The sizes of a part differ by what this share of the gap between bound and best is worth, at most.
_SHARE = 8
#: Labels of a state that are kept in a first look at a part.
_BEAM = 96
#: Shared kernels that are still a question, above which a part is not searched to its end: it would not come to one.
#: With more than the second, after a look that found nothing better, no other part is looked at.
_MOST_KERNELS, _HOPELESS = 64, 96

#: The value of what was found after all in it got its price (None: it is no longer to be had), and whether it is that
#: which it was found with.
Settle = Callable[[Found], tuple[int | None, bool]]


class PriceChangedError(Exception):
    """What was found has another price than it was searched with; ``best`` is the best whose price is known."""

    def __init__(self, best: Found) -> None:
        super().__init__()
        self.best = best


class _Part(NamedTuple):
    """Choices whose arena has ``least`` to ``most`` bytes, and what none of them is below; ``number`` tells parts of
    one bound apart. ``walk`` is over these choices, or over more of them at first."""

    bound: int
    number: int
    least: int
    most: int
    walk: LabelWalk


class Arenas:
    """A search below a value, for what is better than the ``best`` that is known."""

    def __init__(self, best: Found, below: int, settle: Settle, most: int) -> None:
        self.best, self.below = best, below
        self._settle, self._most, self._numbers = settle, most, 0

    def search(self, walk: LabelWalk, whole: bool) -> Found:
        """The best of a walk and what no choice of it is below; where not the ``whole`` is searched, or that is too
        much, it is not proven. PriceChangedError if the walk has to be made again.
        """
        left: list[_Part] = []
        for part in sorted(self._parts(walk)):
            below, seen = self.below, self._look(part)
            left += seen
            if below == self.below and any(len(each.walk.layers.kernels) > _HOPELESS for each in seen):
                return self.best._replace(bound=min(each.bound for each in left), hopeless=True)
        heapq.heapify(left)
        effort = walk.effort()
        while left and left[0].bound < self.below:
            part = left[0]
            smaller = sorted(self._parts(part.walk)) if whole else []
            try:
                if len(smaller) == 1:
                    self._finish(part.walk, effort)
            except TooMuchError:
                whole = False
            if not whole:
                return self.best._replace(bound=part.bound)
            heapq.heappop(left)
            if len(smaller) > 1:
                for found in [found for each in smaller for found in self._look(each)]:
                    heapq.heappush(left, found)
        return self.best._replace(bound=self.best.value, proven=True)

    def _parts(self, walk: LabelWalk) -> Iterator[_Part]:
        """The parts of a walk that may be below the best, as far as its bound tells."""
        price, relaxed = walk.price_of_ram, walk.relaxed[-1]
        span = (self.below - walk.bound()) * UNIT // (_SHARE * price) if price else 1 << 60
        known = walk.least_arena
        sizes = sorted({max(row.own[ARENA], known) for rows in walk.layers.rows for row in rows})
        least = most = bound = -1
        for size in sizes:
            here = relaxed.in_arena(size, size, known)
            if here >= self.below:
                continue
            if least >= 0 and size - least <= span:
                most, bound = size, min(bound, here)
                continue
            if least >= 0:
                yield self._part(bound, least, most, walk)
            least, most, bound = size, size, here
        if least >= 0:
            yield self._part(bound, least, most, walk)

    def _part(self, bound: int, least: int, most: int, walk: LabelWalk) -> _Part:
        self._numbers += 1
        return _Part(bound, self._numbers, least, most, walk)

    def _look(self, part: _Part) -> list[_Part]:
        """A first look at a part: the part, as far as it is left; nothing if that was all."""
        walk = part.walk.in_arena(part.least, part.most)
        if walk.impossible or walk.bound() >= self.below:
            return []
        walk = walk.within(self.below)
        if walk.impossible or walk.bound() >= self.below:
            return []
        found = walk.run(self.below, _BEAM, self._most)
        if self._take(found) and found.proven:
            return []
        return [part._replace(bound=walk.bound(), walk=walk)]

    def _finish(self, walk: LabelWalk, effort: Effort) -> None:
        """Search all of a walk; TooMuchError where that is more than the effort."""
        walk = walk.within(self.below)
        if walk.impossible or walk.bound() >= self.below:
            return
        if len(walk.layers.kernels) > _MOST_KERNELS:
            raise TooMuchError
        if not self._take(walk.run(self.below, None, self._most, effort)):
            raise PriceChangedError(self.best)

    def _take(self, found: Found) -> bool:
        """Keep what was found if it is better; whether it has the price that it was found with."""
        if found.picks is None:
            return True
        value, stays = self._settle(found)
        if value is not None and value < self.below:
            self.best, self.below = Found(found.picks, value, 0, False), value
        return stays
