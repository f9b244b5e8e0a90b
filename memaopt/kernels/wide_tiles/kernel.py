"""The kernel of wide tiles: four channels at up to eight positions of a row, whose sums lie in the FPU's registers.

Between core and FPU a register moves in a cycle, and no memory sees it. So a tile has 32 sums where core registers
alone have room for 12: an input is read for each four channels, a weight for each eight positions. Weights are bytes:
of a word, those of bytes 0 and 2 times 256 are two halfwords, and those of bytes 1 and 3 as well; SXTB16 makes the
same of four inputs. A word at the end of a row that has no whole one begins before it, and meets weights of 0 there.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import words_of
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm, load_imm, numberless
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render

SCALE = 256
CHANNELS = 4  # of a tile
MOST = 8  # positions of it: 32 sums
LEAST_RUN = 4  # bytes: a word
_FRAME, _ROW_END = (
    20,
    8,
)  # five words; one more where a window has rows, and one so that the stack stays a multiple of 8
_CALLER_SAVED = 16  # s0 to s15


class WindowRuns(NamedTuple):
    """What a position reads: ``rows`` runs of ``bytes`` each, ``pitch`` bytes apart. The next position's begin ``step``
    bytes on."""

    rows: int
    bytes: int
    pitch: int
    step: int


@dataclass(frozen=True)
class WideTilesKernel:
    """``n`` positions by ``m`` output channels, four at a time; the last four may overlap those before."""

    n: int
    runs: WindowRuns
    m: int
    output: Output

    #: The parameters, from the start for each tile.
    constants = (Constants("lr", "[sp, #8]"),)

    @property
    def name(self) -> str:
        return short_name(f"wide_tiles_{CHANNELS}x{self.n}", self.details)

    @property
    def tile(self) -> str:
        """For people."""
        return f"{CHANNELS}x{self.n}"

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        runs = self.runs
        said = [f"runs of {runs.bytes} bytes, {self.m} channels"]
        said += [f"{runs.rows} of them {runs.pitch} bytes apart"] if runs.rows > 1 else []
        said += [f"positions {runs.step} bytes apart"] if runs.step != runs.bytes else []
        return ", ".join([*said, f"rounding {self.output.slug}"])

    @property
    def form(self) -> Hashable:
        """What decides which instructions there are: where all lies does by immediates."""
        runs = self.runs
        moves = [
            load_imm("r4", self.n * self.m),
            load_imm("r5", 4 * self.words),
            add_imm("r1", "r0", runs.bytes // 4 * 4, "r6"),
        ]
        moves += [add_imm("r0", "r0", self.n * runs.step, "r2"), add_imm("r1", "r1", self.n * self.m, "r2")]
        if runs.rows > 1:
            moves += [add_imm("r1", "lr", self._of_block, "r6"), add_imm("r0", "r0", runs.pitch - runs.bytes, "r2")]
        return self.n, runs.rows > 1, runs.bytes % 4 > 0, replace(self.output, shift=0), numberless("\n".join(moves))

    @property
    def channels(self) -> Int64Array:
        """[blocks, CHANNELS] of output channels."""
        first = np.minimum(np.arange(0, self.m, CHANNELS), self.m - CHANNELS)
        return first[:, None] + np.arange(CHANNELS)

    @property
    def at(self) -> Int64Array:
        """Where the words of a run begin."""
        return np.minimum(np.arange(0, self.runs.bytes, 4), self.runs.bytes - 4)

    @property
    def _of_block(self) -> int:
        """Bytes of four channels' weights."""
        return 4 * CHANNELS * self.runs.rows * len(self.at)

    @property
    def block_words(self) -> int:
        """Parameters of four channels: starts, weights, where outputs begin, output stage."""
        return CHANNELS * (1 + self.runs.rows * len(self.at) + self.output.words) + 1

    @property
    def words(self) -> int:
        """Of parameters."""
        return len(self.channels) * self.block_words

    def parameters(self, w: Int64Array, start: Int64Array, rounding: Int64Array) -> Int64Array:
        """[blocks, words], of weights [channels, rows, bytes], starts and output stages [channels, words]."""
        fresh = np.arange(4) >= np.append(np.zeros(len(self.at) - 1, np.int64), -self.runs.bytes % 4)[:, None]
        of_bytes = np.where(fresh, w[..., self.at[:, None] + np.arange(4)], 0) & 0xFF
        weights = (of_bytes << np.arange(0, 32, 8)).sum(axis=-1).reshape(self.m, -1)
        return fixedpoint.wrap_int32(
            np.stack(
                [
                    np.concatenate([start[each], weights[each].T.ravel(), each[:1], rounding[each].ravel()])
                    for each in self.channels
                ]
            )
        )

    @property
    def _pushed(self) -> int:
        """Registers of the FPU that are saved."""
        return max(CHANNELS * self.n - _CALLER_SAVED, 0)

    @property
    def _frame(self) -> int:
        return _FRAME + (_ROW_END if self.runs.rows > 1 else 0)

    @property
    def stack_bytes(self) -> int:
        return 36 + self._frame + 4 * self._pushed

    def call(self, tiles: float) -> Call:
        """A call for so many tiles."""
        rows = (float(self.runs.rows),) if self.runs.rows > 1 else ()
        return Call(self, (tiles, float(len(self.channels)), *rows, float(self.runs.bytes // 4)))

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * words_of(self.call(1))

    def accesses(self, tiles: int, calls: int) -> tuple[Access, Access, Access, Access]:
        """Source, output, parameters and stack of ``tiles`` tiles in so many calls."""
        blocks, rows = len(self.channels), self.runs.rows
        block = loads(3, 4) + (stores(1, 4) + loads(rows, 4) if rows > 1 else Access())
        stack = loads(4, 4) + block.times(blocks) + stores(2, 4)
        entry = saved(9 + self._pushed) + stores(5, 4)
        return (
            loads(self.n * rows * len(self.at) * blocks * tiles, 4),
            stores(self.n * CHANNELS * blocks * tiles, 1),
            loads(self.words * tiles, 4),
            stack.times(tiles) + entry.times(calls),
        )

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        read = f"{self.runs.rows} x {self.runs.bytes} inputs"
        return render(
            "kernels/wide_tiles/wide_tiles.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{read} of {self.n} positions x {self.m} channels, {CHANNELS} at a time.",
            comment=f"Its number stands for: {self.details}.",
            runs=self.runs,
            of_block=self._of_block,
            n=self.n,
            m=self.m,
            channels=CHANNELS,
            blocks=len(self.channels),
            pushed=self._pushed,
            words=self.words,
            frame=self._frame,
            q=self.output,
        )
