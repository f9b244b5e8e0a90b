"""The kernel of up to three output channels over rows of halfwords.

A word is two channels of a column, so that SMLAD makes two products. For each word of a window's row the weights of all
its taps and the columns of all its positions are loaded once (products.py). Groups follow on each other within a tile.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import words_of
from memaopt.kernels.halfword_rows.products import Columns, Group, scheduled
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

SCALE = 256
MOST = 3  # channels of a block
_SUMS = 7  # so that five registers are left for an output
_FRAME = 28  # seven words, so that with nine registers the stack stays a multiple of 8


class WindowRows(NamedTuple):
    """Rows of a window, of ``words`` of two channels of one group: bytes from each to the next one (``pitch``) and from
    a column to the next one (``step``)."""

    number: int
    words: int
    pitch: int
    step: int


@dataclass(frozen=True)
class HalfwordRowsKernel:
    """``m`` channels at a time at neighbouring positions of a row: ``groups`` times ``blocks`` times as many, those of
    a group of the same inputs, and (``apart``) each group of its own. ``unroll`` words in a turn of a loop over the
    window's rows and their words, or (0) all in straight code. Outputs are those of ``depth`` channels."""

    m: int
    groups: int
    blocks: int
    apart: bool
    columns: Columns
    rows: WindowRows
    unroll: int
    output: Output
    depth: int

    #: The weights, from the start for each tile.
    constants = (Constants("lr", "[sp, #4]"),)

    @property
    def n(self) -> int:
        """Positions of a tile."""
        return self.columns.positions

    @property
    def name(self) -> str:
        return short_name(f"halfword_rows_{self.m}x{self.n}", self.details)

    @property
    def tile(self) -> str:
        """For people."""
        return f"{self.m}x{self.n}" + (f" by {self.unroll}" if self.unroll else "")

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        rows, columns = self.rows, self.columns
        said = [f"{rows.number} rows of {rows.words} words {rows.pitch} bytes apart"]
        said += [f"{columns.taps} taps {columns.dilation} columns of {rows.step} bytes apart"]
        said += [f"{self.unroll} words a turn"] if self.unroll else []
        groups = f"{self.groups} groups{'' if self.apart else ' of the same inputs'} of {self.blocks}"
        said += [f"stride {columns.stride}", groups, f"of {self.depth} channels"]
        return ", ".join([*said, f"rounding {self.output.slug}"])

    @cached_property
    def products(self) -> tuple[Group, ...]:
        """Of the words of a turn, of a row, or of the whole window."""
        made = scheduled(self.columns, self.m, left_over(self.m, self.n), at_once(self.rows, self.columns, self.unroll))
        assert made is not None
        return made

    @property
    def pieces(self) -> int:
        """How often a block's products are in the text: once, or for each row."""
        whole = at_once(self.rows, self.columns, self.unroll) > self.rows.words
        return 1 if self.unroll or whole else self.rows.number

    @property
    def turns(self) -> int:
        """Of the loop over a row's words; 0 without one, 1 where a row is a turn."""
        return self.rows.words // self.unroll if self.unroll else 0

    @property
    def _loops(self) -> tuple[int, ...]:
        """The trips of a block's loops that go round more than once: over rows, over words."""
        return tuple(trips for trips in (self.rows.number, self.turns) if trips > 1) if self.unroll else ()

    @property
    def words(self) -> int:
        """Of parameters, of all groups."""
        return (
            self.groups
            * self.blocks
            * self.m
            * (1 + self.output.words + self.rows.number * self.rows.words * self.columns.taps)
        )

    def weights(self, w: Int64Array, order: Int64Array) -> Int64Array:
        """A block's [channels, rows, taps, inputs] as the kernel reads them; ``order`` is that of the halfwords, one
        beyond the inputs is none."""
        padded = np.concatenate([w, np.zeros((*w.shape[:-1], 1), np.int64)], axis=-1)
        pairs = SCALE * padded[..., order].reshape(*w.shape[:-1], -1, 2)
        made = (pairs[..., 0] & 0xFFFF) | (pairs[..., 1] << 16)
        return fixedpoint.wrap_int32(made.transpose(1, 3, 2, 0).ravel())

    @property
    def stack_bytes(self) -> int:
        return 36 + _FRAME

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * words_of(self.call(1))

    def call(self, tiles: float) -> Call:
        """A call for so many tiles."""
        groups = [float(self.groups)] if self.groups > 1 else []
        return Call(self, (tiles, *groups, *map(float, self._loops * self.blocks)))

    def accesses(self, tiles: int, calls: int) -> tuple[Access, Access, Access, Access]:
        """Rows, output, parameters and stack of ``tiles`` tiles in so many calls."""
        inputs = sum(load.column is not None for group in self.products for load in group.loads)
        looped, times = Access(), 1
        for trips in self._loops:
            looped += (stores(1, 4) + loads(trips, 4)).times(times)
            times *= trips
        group = (looped + loads(1, 4)).times(self.blocks)
        group += loads(1, 4) + stores(1, 4) if self.groups > 1 else Access()
        moves = self.groups == 1 or self.n > 1
        tile = group.times(self.groups) + loads(2, 4) + stores(int(moves), 4)
        entry = saved(9) + stores(3 + (self.groups > 1), 4)
        return (
            loads(inputs * self.pieces * times, 4).times(self.groups * self.blocks * tiles),
            stores(self.m * self.n, 1).times(self.groups * self.blocks * tiles),
            loads(self.words, 4).times(tiles),
            tile.times(tiles) + entry.times(calls),
        )

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        rows = self.rows
        moved = (self.pieces - 1) * rows.pitch
        if self.unroll:
            moved = rows.number * rows.pitch if rows.number > 1 else 4 * rows.words
        on = 4 * rows.words if self.groups > 1 and self.apart else 0
        tile = self.n * self.columns.stride * rows.step
        return render(
            "kernels/halfword_rows/halfword_rows.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{self.m} channels x {self.n} positions over {rows.number}x{self.columns.taps} columns.",
            comment=f"Its number stands for: {self.details}.",
            m=self.m,
            n=self.n,
            groups=self.groups,
            blocks=self.blocks,
            apart=self.apart,
            columns=self.columns,
            rows=rows,
            turns=self.turns,
            unroll=self.unroll,
            pieces=self.pieces,
            products=self.products,
            acc=[[f"r{1 + c * self.n + j}" for j in range(self.n)] for c in range(self.m)],
            pool=[f"r{i}" for i in range(1 + self.m * self.n, 13)],
            # Where a row's words are moved past by a loop, the next row is that much nearer.
            next_row=rows.pitch - (4 * rows.words if self.turns > 1 else 0),
            next_block=-moved,
            next_group=on - moved,
            next_tile=tile - self.groups * on,
            parameters=self.words,
            depth=self.depth,
            frame=_FRAME,
            q=self.output,
        )


def at_once(rows: WindowRows, columns: Columns, unroll: int) -> int:
    """Words whose products are scheduled together: those of a turn; or of the whole window where offsets reach them
    all, else of a row."""
    if unroll:
        return unroll
    reached = (rows.number - 1) * rows.pitch + columns.last * rows.step + 4 * (rows.words - 1) <= REACH
    return rows.words * (rows.number if reached else 1)


def left_over(m: int, n: int) -> int:
    """Registers for words of inputs and weights, besides sums and the two addresses."""
    return 12 - m * n


def most_positions(m: int) -> int:
    """Of a tile, as registers allow."""
    return _SUMS // m
