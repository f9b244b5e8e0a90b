"""The kernel of up to three output channels: inputs are read where they lie, and widened in registers.

Of a word of four inputs SXTB16 makes those of bytes 0 and 2, and turned by a byte those of 1 and 3. With weights of 16
bits, 256 w, each of both is two products a SMLAD in every channel. What other kernels write to a tile on the stack and
read again for each four channels is read once here, or twice where three channels leave no register for a word.

Positions that lie beside each other, as they do where one row follows on the other, are addressed by one register, so
that a tile has more of them. One position has registers for several words, whose loads then follow on each other.
"""

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.chained_rows.patches import HalfwordRuns, runs_of
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import tile_and_call
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.patches import Patch, unaligned
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

SCALE = 256
MOST = 3  # channels
_FRAME = 20  # four words, so that with nine registers the stack stays a multiple of 8
_TURNS, _TURNS_OF_ONE = range(4, 9), range(9, 13)  # words of inputs in a turn of a loop, and of one position


def positions(m: int, beside: bool = False) -> int:
    """Of a tile, where there are so many: as registers allow."""
    return {1: 4, 2: 3, 3: 2}[m] if beside else {1: 3, 2: 2, 3: 2}[m]


def at_once(m: int, n: int) -> int:
    """Words of inputs that are loaded at once."""
    return 3 if (m, n) == (1, 1) else 1


class ReadRun(NamedTuple):
    """Bytes that follow each other: addresses move on by ``move``, then there are ``turns`` of ``unroll`` words, which
    move them as well; words and bytes that are no word begin ``at`` bytes from there."""

    move: int
    turns: int
    unroll: int
    at: int
    words: int


class _Registers(NamedTuple):
    """Inputs' addresses, accumulators by channel and position, words of inputs, of weights, those that are left."""

    at: list[str]
    acc: list[list[str]]
    x: list[str]
    w: list[str]
    free: list[str]


@dataclass(frozen=True)
class FewChannelsKernel:
    """``m`` output channels by ``n`` positions over a patch; outputs are those of ``depth`` channels.

    ``advance``: bytes of input from a tile to the next one; ``apart``: those that divide it and all addresses.
    ``beside``: those from a position of the tile to the next one, if one register addresses them all, else 0.
    """

    m: int
    n: int
    patch: Patch
    advance: int
    apart: int
    output: Output
    depth: int
    beside: int = 0

    channel_tiles = 1
    #: The weights, from the start for each tile.
    constants = (Constants("lr", "[sp, #4]"),)

    @property
    def name(self) -> str:
        return short_name(f"few_channels_{self.tile}", self.details)

    @property
    def tile(self) -> str:
        """For people."""
        return f"{self.m}x{self.n}"

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        said = [f"patch {self.patch.slug}", f"{self.advance} bytes of input from tile to tile"]
        said += [f"of {self.depth} channels"] if self.depth != self.m else []
        said += [f"positions {self.beside} bytes apart"] if self.beside else []
        return ", ".join([*said, f"rounding {self.output.slug}"])

    @cached_property
    def runs(self) -> HalfwordRuns:
        return runs_of(self.patch)

    @cached_property
    def parts(self) -> tuple[ReadRun, ...]:
        """The runs as they are read."""
        runs, words, at, made = self.runs, self.runs.whole // 4, 0, list[ReadRun]()
        unroll = max(_TURNS if self.n > 1 else _TURNS_OF_ONE, key=lambda u: (-(words % u), u))
        turns, beyond = words // unroll if words >= 2 * unroll else 0, max(self.n - 1, 0) * self.beside
        for number in range(runs.number):
            place = runs.offset(number)
            move = place - at if turns or place + runs.size + beyond - at > REACH else 0
            at += move + 4 * turns * unroll
            made.append(ReadRun(move, turns, unroll, place + 4 * turns * unroll - at, words - turns * unroll))
        return tuple(made)

    @property
    def _moved(self) -> int:
        """How far the runs move the addresses."""
        return sum(part.move + 4 * part.turns * part.unroll for part in self.parts)

    @property
    def registers(self) -> _Registers:
        names = iter([f"r{i}" for i in range(13)])

        def take(count: int) -> list[str]:
            return [next(names) for _ in range(count)]

        at = take(1) * self.n if self.beside else take(self.n)
        acc, words = [take(self.n) for _ in range(self.m)], at_once(self.m, self.n)
        x = take(words if self.n == 1 else 2 if self.m == 2 else self.n)
        w = 2 * self.m * words if self.n == 1 or self.m < MOST else self.m
        return _Registers(at, acc, x, take(w), list(names))

    @property
    def end_kept(self) -> bool:
        """Whether the end of a loop lies on the stack: no register is left."""
        return len(self.registers.free) < 1 + (self.m != 2 or self.n == 1)

    @property
    def words(self) -> int:
        """Of parameters: initial accumulators, weights, output parameters."""
        runs = self.runs
        alone = -(-self.m // 2) if runs.rest % 2 else 0
        weights = runs.number * (self.m * (runs.whole // 2 + runs.rest // 2) + alone)
        return self.m * (1 + self.output.words) + weights

    def weights(self, w: Int64Array) -> Int64Array:
        """Those of the layer [channels, bytes of a patch] as the kernel reads them."""
        runs, blocks = self.runs, list[Int64Array]()
        scaled = SCALE * w.reshape(self.m, runs.number, runs.size)
        for number in range(runs.number):
            whole = scaled[:, number, : runs.whole].reshape(self.m, -1, 4).transpose(1, 0, 2)
            low, high = _pairs(whole[..., 0], whole[..., 2]), _pairs(whole[..., 1], whole[..., 3])
            blocks.append(np.concatenate([low, high], axis=1).ravel())
            rest = scaled[:, number, runs.whole :]
            if runs.rest > 1:
                blocks.append(_pairs(rest[:, 0], rest[:, 1]))
            if runs.rest % 2:
                alone = np.append(rest[:, -1], np.zeros(self.m % 2, np.int64))
                blocks.append(_pairs(alone[::2], alone[1::2]))
        return np.concatenate(blocks)

    @property
    def stack_bytes(self) -> int:
        return 36 + _FRAME

    @cached_property
    def tile_cycles(self) -> float:
        """n positions, all channels: what the text takes, and its unaligned loads."""
        return tile_and_call(self.call)[0]

    @cached_property
    def slow(self) -> float:
        """Cycles that a word of inputs takes more than an aligned one, the mean of all."""
        places = [self.runs.offset(run) + at for run in range(self.runs.number) for at in range(0, self.runs.whole, 4)]
        return fmean(unaligned(self.patch.start + place, self.apart) for place in places) if places else 0.0

    @cached_property
    def call_cycles(self) -> float:
        """Entry and exit."""
        return tile_and_call(self.call)[1]

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * code_words(self.call(1))

    @property
    def _reads(self) -> int:
        """Times that a word of inputs is read."""
        return 2 if self.m == MOST and self.n > 1 else 1

    def accesses(self, tiles: int, calls: int) -> tuple[Access, Access, Access, Access]:
        """Source, output, parameters and stack of ``tiles`` tiles in so many calls."""
        runs = self.runs
        source = loads(self._reads * runs.number * runs.whole // 4, 4) + loads(runs.number * runs.rest, 1)
        stack = loads(3, 4) + stores(1, 4)
        if self.end_kept:
            looped = [part.turns for part in self.parts if part.turns]
            stack += stores(len(looped), 4) + loads(sum(looped), 4)
        entry = saved(9) + loads(6, 4) + stores(3, 4)
        return (
            source.times(self.n * tiles),
            stores(self.m * self.n, 1).times(tiles),
            loads(self.words, 4).times(tiles),
            stack.times(tiles) + entry.times(calls),
        )

    def call(self, tiles: float) -> Call:
        """A call for so many tiles."""
        return Call(self, (tiles, *(float(part.turns) for part in self.parts if part.turns)), slow=self.slow)

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/few_channels/few_channels.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{self.m} channels x {self.n} positions over {self.patch.bytes} bytes a position.",
            comment=f"Its number stands for: {self.details}.",
            m=self.m,
            n=self.n,
            at_once=at_once(self.m, self.n),
            beside=self.beside,
            end_kept=self.end_kept,
            runs=self.runs,
            parts=self.parts,
            registers=self.registers,
            advance=self.advance,
            left=self.advance - self._moved,
            depth=self.depth,
            frame=_FRAME,
            q=self.output,
        )


def _pairs(low: Int64Array, high: Int64Array) -> Int64Array:
    """int32 words of two halfwords."""
    return fixedpoint.wrap_int32((low & 0xFFFF) | (high << 16))
