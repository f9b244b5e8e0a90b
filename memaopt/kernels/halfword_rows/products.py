"""In which order words of two channels meet their weights: each input of a row and each weight is loaded once.

A tile is n positions of a row, so its windows share columns. What is loaded next is what the next products lack, as
much at once as registers are free, for only the first load of a group takes two cycles; then comes every product that
can.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


class Columns(NamedTuple):
    """``positions`` neighbouring windows of ``taps`` columns: the positions are ``stride`` columns apart, the taps
    ``dilation``."""

    positions: int
    taps: int
    stride: int
    dilation: int

    def column(self, position: int, tap: int) -> int:
        """The column that a tap of a position meets."""
        return position * self.stride + tap * self.dilation

    @property
    def last(self) -> int:
        """The last column of all."""
        return self.column(self.positions - 1, self.taps - 1)


class Load(NamedTuple):
    """The next weight (``column`` is None), or a column's input of a word, to the register of a number."""

    word: int
    column: int | None
    register: int


class Term(NamedTuple):
    """A channel's sum at a position, and the registers that it is of; ``first``: the sum's first one."""

    channel: int
    position: int
    weight: int
    input: int
    first: bool


class Group(NamedTuple):
    """Loads that follow on each other, and the products behind them."""

    loads: tuple[Load, ...]
    products: tuple[Term, ...]


def cycles(groups: Sequence[Group]) -> int:
    """A cycle for each instruction, one more for the first load of a group."""
    return sum(len(group.loads) + 1 + len(group.products) for group in groups)


class _Value(NamedTuple):
    """What a register holds: of a word a weight, tap after tap and in each channel after channel, or a column."""

    word: int
    weight: int | None
    column: int | None


class _Use(NamedTuple):
    """A product, and the two values that it is of."""

    channel: int
    position: int
    weight: _Value
    input: _Value


@lru_cache(maxsize=1024)
def scheduled(columns: Columns, channels: int, registers: int, words: int) -> tuple[Group, ...] | None:
    """The loads and products of some words, one after the other, by whichever order in each takes fewer cycles: tap
    after tap, or column after column. None where so many registers are too few.

    In both the last position's sums are those that begin last, in each channel, for its column is loaded last.
    """
    by_tap = [
        _Use(
            channel,
            position,
            _Value(word, tap * channels + channel, None),
            _Value(word, None, columns.column(position, tap)),
        )
        for word in range(words)
        for tap in range(columns.taps)
        for channel in range(channels)
        for position in range(columns.positions)
    ]
    by_column = sorted(by_tap, key=lambda use: (use.weight.word, use.input.column, use.weight.weight))
    made = [_scheduled(registers, uses) for uses in (by_tap, by_column)]
    return min((groups for groups in made if groups is not None), key=cycles, default=None)


def _scheduled(registers: int, uses: list[_Use]) -> tuple[Group, ...] | None:
    wanted = list(dict.fromkeys(value for use in uses for value in (use.weight, use.input)))
    left = dict.fromkeys(wanted, 0)
    for use in uses:
        left[use.weight] += 1
        left[use.input] += 1
    free, held, groups, begun = list(range(registers)), dict[_Value, int](), list[Group](), set[tuple[int, int]]()
    while uses:
        some = [(wanted.pop(0), free.pop(0)) for _ in range(min(len(free), len(wanted)))]
        held |= dict(some)
        now = [use for use in uses if use.weight in held and use.input in held]
        if not now:
            return None
        uses = [use for use in uses if use.weight not in held or use.input not in held]
        products = list[Term]()
        for use in now:
            first = (use.channel, use.position) not in begun
            begun.add((use.channel, use.position))
            products.append(Term(use.channel, use.position, held[use.weight], held[use.input], first))
        groups.append(Group(tuple(Load(value.word, value.column, at) for value, at in some), tuple(products)))
        for use in now:
            for value in (use.weight, use.input):
                left[value] -= 1
                if not left[value]:
                    free.append(held.pop(value))
        free.sort()
    return tuple(groups)
