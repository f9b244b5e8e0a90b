"""What makes rows of halfwords of bytes, so that a word has two channels of one group."""

from dataclasses import dataclass

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import words_of
from memaopt.kernels.plan import saved
from memaopt.kernels.text.templates import render

_TURN = 4  # words in a turn, of bytes or, of those one by one, of halfwords
_MOST_SINGLE = 64  # channels of a group


@dataclass(frozen=True)
class Widened:
    """The kernel that makes ``words`` words of halfwords of half as many of bytes: of bytes 0 and 2, and 1 and 3; or
    ``in_order``, 0 and 1, and 2 and 3."""

    words: int
    in_order: bool

    constants: tuple[Constants, ...] = ()
    #: What a call does to the stack.
    stack = saved(9)

    @property
    def name(self) -> str:
        return f"widen_{self.words}{'_in_order' if self.in_order else ''}"

    @property
    def call(self) -> Call:
        """A call."""
        turns = self.words // 2 // _TURN
        return Call(self, (float(turns),) if turns else ())

    @property
    def source(self) -> Access:
        """Of the bytes, for one call."""
        return loads(self.words // 2, 4)

    @property
    def target(self) -> Access:
        """Of the halfwords."""
        return stores(self.words, 4)

    @property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * words_of(self.call)

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/halfword_rows/widen.c.j2",
            name=self.name,
            attribute=attribute,
            words=self.words,
            unroll=_TURN,
            turns=self.words // 2 // _TURN,
            rest=self.words // 2 % _TURN,
            in_order=self.in_order,
        )


@dataclass(frozen=True)
class Spread:
    """The kernel that does so byte by byte: of ``units`` times ``depth`` bytes, each time from a word on. Behind an odd
    number of them is a halfword of no meaning."""

    units: int
    depth: int

    constants: tuple[Constants, ...] = ()
    #: What a call does to the stack.
    stack = saved(9)

    @property
    def name(self) -> str:
        return f"spread_{self.units}x{self.depth}"

    @property
    def unroll(self) -> int:
        """Units in a turn of its loop."""
        return next(u for u in (4, 3, 2, 1) if self.units % u == 0 and (u == 1 or u * self.words <= _TURN))

    @property
    def words(self) -> int:
        """Of a unit."""
        return -(-self.depth // 2)

    @property
    def call(self) -> Call:
        """A call."""
        return Call(self, (self.units / self.unroll,))

    @property
    def source(self) -> Access:
        """Of the bytes, for one call."""
        return loads(self.units * self.depth, 1)

    @property
    def target(self) -> Access:
        """Of the halfwords."""
        return stores(self.units * self.words, 4)

    @property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * words_of(self.call)

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        firsts = [
            (unit * self.depth + at, at + 1 < self.depth)
            for unit in range(self.unroll)
            for at in range(0, self.depth, 2)
        ]
        return render(
            "kernels/halfword_rows/spread.c.j2",
            name=self.name,
            attribute=attribute,
            units=self.units,
            depth=self.depth,
            unroll=self.unroll,
            words=self.words,
            chunks=[firsts[at : at + _TURN] for at in range(0, len(firsts), _TURN)],
        )


def widening(width: int, channels: int, groups: int) -> Widened | Spread | None:
    """What makes a row's halfwords, by words of bytes where those have whole pairs of a group's channels; None where
    groups are too deep for bytes one by one."""
    depth = channels // groups
    if channels % 4 == 0 and depth % 2 == 0:
        return Widened(width * channels // 2, depth % 4 != 0)
    return Spread(width * groups, depth) if depth <= _MOST_SINGLE else None


def order_of(how: Widened | Spread, depth: int) -> Int64Array:
    """Which of a group's channels each of its halfwords is; one that is none is the number of channels."""
    at = np.arange(depth + depth % 2)
    if isinstance(how, Spread) or how.in_order:
        return at
    return np.asarray(at // 4 * 4 + np.array([0, 2, 1, 3])[at % 4], np.int64)
