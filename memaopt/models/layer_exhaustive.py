"""The best schedule of a layer's nest by looking at each: every order, band, block and number of units held."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from memaopt.models.layer_nest import (
    CHANNELS_OUTSIDE,
    ROWS_OUTSIDE,
    LayerSpace,
    NestSchedule,
    external_bytes,
    why_not_in,
)


def every_schedule(space: LayerSpace) -> Iterator[NestSchedule]:
    """All schedules of the space."""
    bands, units = range(1, space.nest.rows + 1), range(1, space.nest.units + 1)
    rows_outside = itertools.product([ROWS_OUTSIDE], bands, units, range(space.nest.units + 1), [False])
    channels_outside = itertools.product([CHANNELS_OUTSIDE], bands, units, [0], [False, True])
    for each in itertools.chain(rows_outside, channels_outside):
        schedule = NestSchedule(*each)
        if why_not_in(space, schedule) is None:
            yield schedule


def solve(space: LayerSpace) -> NestSchedule | None:
    """A schedule with the fewest external bytes; None if nothing fits."""
    return min(every_schedule(space), key=lambda schedule: external_bytes(space, schedule), default=None)
