"""A layer as a nest of two loops, bands of output rows (n) and blocks of output channels (m), and what it moves.

A *unit* is what m counts: an output channel, or with depthwise layers, groups and pools the channels that belong
together, for then a block reads channels of its own alone. K is whole: sums stay where they are made, and each output
is written once. A tile is held at a level, as in :mod:`memaopt.models.walks`: the first so many loops cut it. How often
it is moved is :func:`arrivals`; rows that two bands read stay, where the bands follow one another on the same tile.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

NestDim = Literal["m", "n"]
LoopOrder = tuple[NestDim, NestDim]

ROWS_OUTSIDE: LoopOrder = ("n", "m")
CHANNELS_OUTSIDE: LoopOrder = ("m", "n")


@dataclass(frozen=True)
class NestInput:
    """An input as rows of ``row_bytes``: with p rows of output done, those below ``low[p]`` are done with, and
    ``need[p]`` had to be there. ``by_unit``: each unit reads channels of its own, an equal part of every row.
    """

    rows: int
    row_bytes: int
    need: tuple[int, ...]
    low: tuple[int, ...]
    by_unit: bool = False

    @cached_property
    def moved(self) -> int:
        """Bytes of the rows that any output reads."""
        rows, seen = 0, 0
        for low, need in zip(self.low, self.need[1:], strict=False):
            rows += max(need - max(low, seen), 0)
            seen = max(seen, need)
        return rows * self.row_bytes

    def held(self, band: int) -> int:
        """The most rows that are there at once where ``band`` rows of output are computed at a time."""
        return _held(self, band)


@lru_cache(maxsize=1 << 16)
def _held(read: NestInput, band: int) -> int:
    last = len(read.need) - 1
    return max(0, *(read.need[min(p + band, last)] - read.low[p] for p in range(0, last, band)))


@dataclass(frozen=True)
class LayerNest:
    """``rows`` of output of ``units``; a unit has ``output_bytes`` in each row and ``weight_bytes`` of constants."""

    rows: int
    units: int
    inputs: tuple[NestInput, ...]
    output_bytes: int
    weight_bytes: int = 0

    @property
    def output(self) -> int:
        """Bytes of the whole output."""
        return self.rows * self.units * self.output_bytes

    @property
    def weights(self) -> int:
        """Bytes of all constants."""
        return self.units * self.weight_bytes


@dataclass(frozen=True)
class LayerSpace:
    """The schedules of a nest in ``capacity`` bytes of SRAM. Constants lie outside it, and so do the inputs numbered
    in ``outside`` and, with ``stores``, the output; the others are in SRAM, beside the capacity.
    """

    nest: LayerNest
    outside: frozenset[int]
    stores: bool
    capacity: int

    @property
    def staged(self) -> tuple[NestInput, ...]:
        """The inputs that pass through tiles."""
        return tuple(read for i, read in enumerate(self.nest.inputs) if i in self.outside)

    @property
    def compulsory(self) -> int:
        """What crosses once: rows of inputs that are read, constants, the output."""
        return sum(read.moved for read in self.staged) + self.nest.weights + self.stores * self.nest.output


class NestSchedule(NamedTuple):
    """``band`` rows and ``block`` units at a time. With rows outside, the constants of the first ``held`` units stay in
    SRAM, those of the others come block by block; with channels outside, ``whole`` keeps all rows of inputs.
    """

    order: LoopOrder
    band: int
    block: int
    held: int = 0
    whole: bool = False


def arrivals(loops: Sequence[tuple[str, int]], indexed: Collection[str], level: int) -> int:
    """How often each tile is moved: loops with their trips, outermost first, of which the first ``level`` cut it.

    The product of the trips of those among them that do not index the operand and lie outside the innermost one that
    does and runs more than once.
    """
    cutting = loops[:level]
    inside = max((i for i, (d, trips) in enumerate(cutting) if d in indexed and trips > 1), default=0)
    return math.prod(trips for d, trips in cutting[:inside] if d not in indexed)


def external_bytes(space: LayerSpace, schedule: NestSchedule) -> int:
    """Bytes between SRAM and the memories outside, for one inference."""
    nest = space.nest
    bands = -(-nest.rows // schedule.band)
    streamed = nest.units - schedule.held
    blocks = -(-streamed // schedule.block)
    trips = {"n": bands, "m": blocks}
    loops = [(d, trips[d]) for d in schedule.order]
    level_of_weights = 2 if schedule.order == ROWS_OUTSIDE else 1
    weights = nest.weight_bytes * (schedule.held + streamed * arrivals(loops, "m", level_of_weights))
    total = weights + space.stores * nest.output
    for read in space.staged:
        if schedule.order == ROWS_OUTSIDE:
            total += read.moved * arrivals(loops, "n", 1)
        elif read.by_unit:
            total += read.moved * arrivals(loops, "mn", 2)
        else:
            total += read.moved * arrivals(loops, "n", 0 if schedule.whole else 2)
    return total


def footprint(space: LayerSpace, schedule: NestSchedule) -> int:
    """Bytes of SRAM that the tiles take."""
    nest, band, block = space.nest, schedule.band, schedule.block
    total = space.stores * band * block * nest.output_bytes
    total += nest.weight_bytes * (schedule.held + min(block, nest.units - schedule.held))
    for read in space.staged:
        if schedule.order == CHANNELS_OUTSIDE and read.by_unit:
            total += read.held(band) * read.row_bytes // nest.units * block
        elif schedule.order == CHANNELS_OUTSIDE and schedule.whole:
            total += read.moved
        else:
            total += read.held(band) * read.row_bytes
    return total


def why_not_in(space: LayerSpace, schedule: NestSchedule) -> str | None:
    """Why a schedule is not in the space; None if it is."""
    nest, (order, band, block, held, whole) = space.nest, schedule
    if order not in (ROWS_OUTSIDE, CHANNELS_OUTSIDE):
        return f"there is no order {order}"
    if not (1 <= band <= nest.rows and 1 <= block <= nest.units):
        return f"bands of {band} rows and blocks of {block} units do not cut {nest.rows} and {nest.units}"
    if not 0 <= held <= (nest.units if order == ROWS_OUTSIDE else 0):
        return f"{held} of {nest.units} units cannot be held in this order"
    if whole and (order == ROWS_OUTSIDE or all(read.by_unit for read in space.staged)):
        return "there is no input to keep whole"
    need = footprint(space, schedule)
    return f"its tiles need {need:,} bytes, and there are {space.capacity:,}" if need > space.capacity else None
