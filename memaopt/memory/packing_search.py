"""Whether rectangles can be packed into a height, by exhaustion and without a solver.

Each two rectangles that meet in time lie one below the other, or share bytes as their pair allows. What was decided so
far are differences of offsets, so the least offset of each is a longest path. Where two still overlap, the search
decides which lies below and goes on; where no order fits the height, it goes back. If nothing is left to try, there is
no packing, and that is a proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memaopt.memory.rectangles import Rectangle, Sharing

WORK = 400_000
"""Meetings and differences that are looked at before the search gives up, about half a second's worth."""


_Meeting = tuple[int, int]


class Packed(NamedTuple):
    """Offsets that fit (None: none were found), and whether that is decided."""

    offsets: list[int] | None
    decided: bool


class _Above(NamedTuple):
    """``offset[high] >= offset[low] + distance``."""

    low: int
    high: int
    distance: int


def within(rectangles: Sequence[Rectangle], pairs: Sequence[Sharing], height: int, work: int = WORK) -> Packed:
    """Offsets within ``height``, all multiples of what sizes and leads are multiples of."""
    if any(r.size > height for r in rectangles):
        return Packed(None, True)
    return _Search(rectangles, pairs, height, work).answer()


class _Node(NamedTuple):
    """Bounds of each offset, what was decided, for which meetings, and which of them share bytes."""

    least: list[int]
    most: list[int]
    arcs: list[_Above]
    decided: frozenset[_Meeting]
    shared: frozenset[_Meeting]


class _Way(NamedTuple):
    """How two that meet may lie: one above the other, or sharing bytes."""

    arc: _Above
    shares: bool


class _Search:
    """Depth first: a node is made definite by what has only one way left, then split where two overlap."""

    def __init__(self, rectangles: Sequence[Rectangle], pairs: Sequence[Sharing], height: int, work: int) -> None:
        self.sizes = [r.size for r in rectangles]
        self.height, self.left, self.sure = height, work, True
        self.pairs = {frozenset((p.before, p.after)): p for p in pairs}
        self.meetings = [
            (i, j)
            for i in range(len(rectangles))
            for j in range(i + 1, len(rectangles))
            if self.sizes[i] and self.sizes[j] and rectangles[i].meets(rectangles[j])
        ]

    def answer(self) -> Packed:
        """The search from nothing decided."""
        nothing = frozenset[_Meeting]()
        node = _Node([0] * len(self.sizes), [self.height - size for size in self.sizes], [], nothing, nothing)
        stack: list[Iterator[_Node]] = []
        while True:
            grown = self._grown(node)
            if isinstance(grown, list):
                return Packed(grown, True)
            if grown is not None:
                stack.append(grown)
            following = None
            while stack and (following := next(stack[-1], None)) is None:
                stack.pop()
            if self.left < 0:
                return Packed(None, False)
            if following is None:
                return Packed(None, self.sure)
            node = following

    def _grown(self, node: _Node) -> list[int] | Iterator[_Node] | None:
        """Offsets if the least ones do, None if there is no way, else the ways to go on from here."""
        best: tuple[int, int, _Meeting, list[_Way]] | None = None
        clear = False
        while not clear:
            clear, best = True, None
            self.left -= len(self.meetings)
            if self.left < 0:
                return None
            for i, j in self.meetings:
                least, most = node.least, node.most
                apart = most[i] + self.sizes[i] <= least[j] or most[j] + self.sizes[j] <= least[i]
                if apart or (i, j) in node.decided:
                    continue
                ways = self._ways(i, j, least, most)
                if not ways:
                    return None
                if len(ways) == 1:
                    forced = self._after(node, (i, j), ways[0])
                    if forced is None:
                        return None
                    node, clear = forced, False
                    continue
                overlap = least[i] < least[j] + self.sizes[j] and least[j] < least[i] + self.sizes[i]
                rank = (len(ways), -min(self.sizes[i], self.sizes[j]))
                if overlap and (best is None or rank < best[:2]):
                    best = (*rank, (i, j), ways)
        if best is None:
            return self._aligned(node)
        made = (self._after(node, best[2], way) for way in best[3])
        return (following for following in made if following is not None)

    def _ways(self, i: int, j: int, least: list[int], most: list[int]) -> list[_Way]:
        """How the two may still lie."""
        ways: list[_Way] = []
        pair = self.pairs.get(frozenset((i, j)))
        if pair is not None and least[pair.after] + pair.lead.bytes <= most[pair.before]:
            ways.append(_Way(_Above(pair.after, pair.before, pair.lead.bytes), True))
        # Without a step, an input that lies above its output altogether is one that is far enough above it.
        free = pair is not None and bool(ways) and pair.lead.step == 1
        for low, high in ((i, j), (j, i)):
            covered = free and pair is not None and low == pair.after and self.sizes[low] >= pair.lead.bytes
            if least[low] + self.sizes[low] <= most[high] and not covered:
                ways.append(_Way(_Above(low, high, self.sizes[low]), False))
        return ways

    def _after(self, node: _Node, meeting: _Meeting, way: _Way) -> _Node | None:
        """The node with a way decided; None if an offset has no place left."""
        least, most, arcs = list(node.least), list(node.most), [*node.arcs, way.arc]
        self.left -= len(least)
        if not self._tighten(least, most, arcs):
            return None
        shared = node.shared | {meeting} if way.shares else node.shared
        return _Node(least, most, arcs, node.decided | {meeting}, shared)

    def _tighten(self, least: list[int], most: list[int], arcs: list[_Above]) -> bool:
        """Bring both bounds of each offset to where the differences put them; False if one has no place left."""
        for _ in range(len(least) + 2):
            changed = False
            self.left -= len(arcs)
            for low, high, distance in arcs:
                if least[high] < least[low] + distance:
                    least[high] = least[low] + distance
                    changed = True
                if most[low] > most[high] - distance:
                    most[low] = most[high] - distance
                    changed = True
                if least[high] > most[high] or least[low] > most[low]:
                    return False
            if not changed:
                return True
        return False  # a path longer than there are rectangles goes round in a circle

    def _aligned(self, node: _Node) -> list[int] | None:
        """The least offsets with the distances of those that share bytes in steps; None, unsure, if that fails."""
        offsets = list(node.least)
        for _ in range(4 * len(offsets) + 4):
            fine = True
            for meeting in node.shared:
                pair = self.pairs[frozenset(meeting)]
                rest = (offsets[pair.before] - offsets[pair.after]) % pair.lead.step
                if rest:
                    offsets[pair.before] += pair.lead.step - rest
                    fine = False
            if not self._tighten(offsets, list(node.most), node.arcs):
                break
            if fine and not self._overlapping(offsets, node.shared):
                return offsets
            if fine:
                break
        self.sure = False
        return None

    def _overlapping(self, offsets: list[int], shared: frozenset[_Meeting]) -> bool:
        return any(
            (i, j) not in shared and offsets[i] < offsets[j] + self.sizes[j] and offsets[j] < offsets[i] + self.sizes[i]
            for i, j in self.meetings
        )
