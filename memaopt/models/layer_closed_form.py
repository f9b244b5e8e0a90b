"""The best schedule of a layer's nest, by formula, for each height of a band.

With rows outside, a block of one unit leaves most SRAM for constants that stay, and each that stays saves one reading a
band but the first. With channels outside, only the number of blocks counts, so the largest block is best; it saves
nothing where inputs are whole or read by unit, or where a single band is a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator

from memaopt.models.layer_nest import (
    CHANNELS_OUTSIDE,
    ROWS_OUTSIDE,
    LayerSpace,
    NestSchedule,
    external_bytes,
    footprint,
)


def solve(space: LayerSpace) -> NestSchedule | None:
    """A schedule with the fewest external bytes; of those the one of the highest bands, then of the most units held,
    then of the largest blocks. None if nothing fits.
    """

    def cost(schedule: NestSchedule) -> tuple[int, int, int, int]:
        return external_bytes(space, schedule), -schedule.band, -schedule.held, -schedule.block

    return min(_candidates(space), key=cost, default=None)


def _candidates(space: LayerSpace) -> Iterator[NestSchedule]:
    nest = space.nest
    for band in range(1, nest.rows + 1):
        yield from _rows_outside(space, band)
        yield from _channels_outside(space, band, whole=False)
        if not all(read.by_unit for read in space.staged):
            yield from _channels_outside(space, band, whole=True)


def _rows_outside(space: LayerSpace, band: int) -> Iterator[NestSchedule]:
    nest = space.nest
    all_held = NestSchedule(ROWS_OUTSIDE, band, 1, nest.units)
    left = space.capacity - footprint(space, all_held)
    if left >= 0:
        each = space.stores * band * nest.output_bytes
        yield all_held._replace(block=min(nest.units, 1 + left // each) if each else nest.units)
    elif left + nest.weights >= nest.weight_bytes:
        yield all_held._replace(held=(left + nest.weights) // nest.weight_bytes - 1)


def _channels_outside(space: LayerSpace, band: int, *, whole: bool) -> Iterator[NestSchedule]:
    nest = space.nest
    one = NestSchedule(CHANNELS_OUTSIDE, band, 1, 0, whole)
    least = footprint(space, one)
    if least > space.capacity:
        return
    each = footprint(space, one._replace(block=2)) - least
    yield one._replace(block=min(nest.units, 1 + (space.capacity - least) // each) if each else nest.units)
