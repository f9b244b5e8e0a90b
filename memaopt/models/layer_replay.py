"""A layer's nest walked block by block with tiles that remember what is in them, counting every byte that moves.

It knows no formula: an input tile is a set of rows, for a range of units or for all; a row that is needed and is not
there is moved, and rows that no later band of the walk needs are forgotten.
"""

from __future__ import annotations

from typing import NamedTuple

from memaopt.models.layer_nest import ROWS_OUTSIDE, LayerNest, LayerSpace, NestInput, NestSchedule


class WalkedLayer(NamedTuple):
    """Bytes moved in and out, and the most that the tiles held."""

    loaded: int
    stored: int
    peak: int


class _Tile:
    """Which rows of an input are there, for which units."""

    def __init__(self, read: NestInput, units: int, parts: bool) -> None:
        self.read, self.parts = read, parts
        self.row_bytes = read.row_bytes // units if parts else read.row_bytes
        self.of: tuple[int, int] | None = None
        self.rows: set[int] = set()
        self.loaded = self.size = 0

    def turn(self, first: int, end: int, units: tuple[int, int], *, keep: bool) -> None:
        """The rows that outputs [first, end) read are there; of others those are kept that later bands read."""
        if self.parts and units != self.of:
            self.rows, self.of = set(), units
        width = self.row_bytes * (units[1] - units[0] if self.parts else 1)
        if keep:
            first, end = 0, len(self.read.need) - 1
        else:
            self.rows = {row for row in self.rows if row >= self.read.low[first]}
        wanted = {row for p in range(first, end) for row in range(self.read.low[p], self.read.need[p + 1])}
        needed = wanted - self.rows
        self.loaded += len(needed) * width
        self.rows |= needed
        self.size = max(self.size, len(self.rows) * width)


def walk(space: LayerSpace, schedule: NestSchedule) -> WalkedLayer:
    """Walk the nest; every output must be written once, by a block with its constants and its rows there."""
    nest = space.nest
    rows_outside = schedule.order == ROWS_OUTSIDE
    tiles = [_Tile(read, nest.units, read.by_unit and not rows_outside) for read in space.staged]
    streaming: tuple[int, int] | None = None
    constants, written, peak_output, peak_constants = schedule.held, 0, 0, schedule.held
    for first, end, low, high in _visits_of(nest, schedule):
        if not rows_outside and first == 0 < nest.rows - end:
            # A sweep over several bands begins anew, whatever lines are left from the one before.
            for tile in tiles:
                tile.rows = tile.rows if schedule.whole and not tile.parts else set()
        if low >= schedule.held and streaming != (low, high):
            streaming, constants = (low, high), constants + high - low
            peak_constants = max(peak_constants, schedule.held + high - low)
        for tile in tiles:
            tile.turn(first, end, (low, high), keep=schedule.whole and not tile.parts)
        written += (end - first) * (high - low)
        peak_output = max(peak_output, (end - first) * (high - low))
    assert written == nest.rows * nest.units
    peak = sum(tile.size for tile in tiles) + nest.weight_bytes * peak_constants
    return WalkedLayer(
        sum(tile.loaded for tile in tiles) + nest.weight_bytes * constants,
        space.stores * nest.output,
        peak + space.stores * peak_output * nest.output_bytes,
    )


def _visits_of(nest: LayerNest, schedule: NestSchedule) -> list[tuple[int, int, int, int]]:
    """Rows [first, end) and units [low, high) of each block, in the order of the loops."""
    bands = [(p, min(p + schedule.band, nest.rows)) for p in range(0, nest.rows, schedule.band)]
    parts = [(0, schedule.held), (schedule.held, nest.units)]
    blocks = [(u, min(u + schedule.block, end)) for start, end in parts for u in range(start, end, schedule.block)]
    if schedule.order == ROWS_OUTSIDE:
        return [(*band, *block) for band in bands for block in blocks]
    return [(*band, *block) for block in blocks for band in bands]
