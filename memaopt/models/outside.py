"""What loads of constants from a memory outside the chip cost: each access waits, one that follows the last one less.

The tree of a layer's code (:mod:`memaopt.kernels.code`) says which constants it loads in order and where it starts
again; what is not in order is a seek. How many loads there are the promise says, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from memaopt.access import Access
from memaopt.kernels.code import REWIND, TABLE, Call, Loop, Node, Scan, Staged, Straight, TableLoads
from memaopt.kernels.executed import body_of
from memaopt.models.fetching import Outside

#: Turns of a loop that are executed; the rest are as the last.
_TURNS = 3


def loading(constants: Access, code: tuple[Node, ...], outside: Outside) -> int:
    """Cycles that the loads of a layer's constants wait, its code being ``code``."""
    return constants.loads * outside.next + min(constants.loads, seeks(code)) * (outside.first - outside.next)


def least_loading(constants: Access, outside: Outside) -> int:
    """What :func:`loading` is not below, whatever the code."""
    return constants.loads * min(outside.first, outside.next)


def moving(tensors: Access, outside: Outside) -> int:
    """Cycles that accesses to tensors wait, about: of loads one in eight, of stores three in four do not follow the
    last access: fitted to counts of layers of keyword spotting and image classification, with tensors in SDRAM.
    """
    seeks = (tensors.loads + 6 * tensors.stores) // 8
    return (tensors.loads + tensors.stores) * outside.next + seeks * (outside.first - outside.next)


@lru_cache(maxsize=1 << 14)
def seeks(code: tuple[Node, ...]) -> int:
    """The loads of constants that do not directly follow the one before."""
    head = _Head()
    head.run(code)
    return round(head.seeks)


class _Head:
    """Where the next constant is read, where they start again, and what would directly follow; in words."""

    def __init__(self) -> None:
        self.place = self.mark = 0.0
        self.following = -1.0
        self.seeks = 0.0

    def run(self, nodes: Iterable[Node]) -> None:
        """Execute nodes in their order."""
        for node in nodes:
            match node:
                case Straight():
                    self._straight(node)
                case Loop():
                    self._turns(node)
                case TableLoads():
                    self.seeks += node.loads
                    self.following = -1.0
                case Scan():
                    self.seeks += node.times + node.seeks
                    self.following = -1.0
                case Call():
                    mark = self.mark
                    self.place = mark
                    self.run(body_of(node))
                    self.mark = mark
                case Staged():
                    pass  # it reads a copy

    def _straight(self, node: Straight) -> None:
        for loads in node.loads:
            if loads <= REWIND:
                self.place = self.mark + REWIND - loads
            elif 0 < loads <= TABLE:
                self.seeks += self.place != self.following
                self.place += loads * node.step
                self.following = self.place

    def _turns(self, node: Loop) -> None:
        done = math.ceil(min(node.trips, _TURNS))
        last = moved = 0.0
        for _ in range(done):
            before, place = self.seeks, self.place
            self.run(node.body)
            self.mark += node.advance
            last, moved = self.seeks - before, self.place - place
        left = node.trips - done
        self.seeks += left * last
        if left > 0:
            turns = round(left)
            self.mark += turns * node.advance
            self.place += turns * moved
            self.following += turns * moved
