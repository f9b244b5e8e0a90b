"""The kernel of few inputs: those of some positions are in registers, and channels stream past them.

A channel's start, weights, multiplier and addends are loaded once for all the positions. Two inputs are a word of
halfwords, of three or four bytes 0 and 2 are one and 1 and 3 another; a fourth one that is not there meets a weight of
0, and is the next position's first or, of a tile's last position, the byte before.

Eight inputs of two positions are eight words, which leaves registers for two weights: a channel's come in two loads,
and its multiplier from the FPU, where a VMOV takes one cycle and a load would take two.
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
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render

SCALE = 256
LEAST, MOST = 2, 4  # inputs that some positions have in registers
EIGHT = 8  # those of two positions, with multipliers in the FPU
_DATA = 12  # registers r0 to r11; r12 has the outputs and lr the parameters
_FRAME = 20  # five words
_UNSAVED = 16  # registers of the FPU that a function need not save


class _Registers(NamedTuple):
    """Words of inputs by position, start, weights, multiplier, addend, that of negative ones, an accumulator, and what
    the rounding by sign needs; empty where there is none."""

    x: list[list[str]]
    start: str
    w: list[str]
    m: str
    c: str
    d: str
    acc: str
    t: str


def words_a_position(inputs: int) -> int:
    """Words of halfwords."""
    return -(-inputs // 2)


def most_positions(inputs: int, output: Output, added: bool) -> int:
    """Of a tile, as registers allow; an even number where two share a word."""
    if inputs == EIGHT:
        return 2
    words = words_a_position(inputs)
    most = (_DATA - 3 - words - added - output.by_sign - output.spare) // words
    return most // 2 * 2 if inputs == LEAST else most


@dataclass(frozen=True)
class FewInputsKernel:
    """``n`` positions of ``inputs`` channels by ``m`` output channels, ``unroll`` of them in a turn of a loop, or (0)
    all in straight code. ``added``: the rounding has an addend."""

    inputs: int
    n: int
    m: int
    unroll: int
    output: Output
    added: bool

    @property
    def name(self) -> str:
        return short_name(f"few_inputs_{self.inputs}x{self.n}", self.details)

    @property
    def tile(self) -> str:
        """For people."""
        return f"{self.n}" + (f", loop of {self.unroll}" if self.unroll else "")

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        loop = f"{self.unroll} channels a turn" if self.unroll else "no loop over channels"
        return f"{self.m} channels, {loop}, rounding {self.output.slug}{' with an addend' if self.added else ''}"

    @property
    def words(self) -> int:
        """Parameters of a channel."""
        return 2 + words_a_position(self.inputs) + self.added + self.output.by_sign

    @property
    def held(self) -> bool:
        """Whether multipliers are in the FPU."""
        return self.inputs == EIGHT

    @property
    def _saved(self) -> int:
        """Registers of the FPU that are saved, an even number."""
        return max(self.m - _UNSAVED + 1, 0) // 2 * 2 if self.held else 0

    @property
    def registers(self) -> _Registers:
        if self.held:
            x = [[f"r{4 * j + i}" for i in range(4)] for j in range(2)]
            return _Registers(x, "r8", ["r9", "r10"], "r9", "", "", "r11", "")
        names = iter([f"r{i}" for i in range(_DATA)])
        words = words_a_position(self.inputs)
        x = [[next(names) for _ in range(words)] for _ in range(self.n)]
        start, w, m = next(names), [next(names) for _ in range(words)], next(names)
        c = next(names) if self.added else ""
        d = next(names) if self.output.by_sign else ""
        return _Registers(x, start, w, m, c, d, next(names), next(names) if self.output.spare else "")

    def parameters(self, w: Int64Array, start: Int64Array, rounding: list[Int64Array]) -> Int64Array:
        """Starts, weights [channels, inputs], multipliers, addends: [channels, words], or all of the first that are
        ``held``, then the others."""
        padded = np.zeros((len(w), 2 * words_a_position(self.inputs)), np.int64)
        padded[:, : self.inputs] = SCALE * w
        pairs = [(padded[:, low] & 0xFFFF) | (padded[:, high] << 16) for low, high in self._places]
        if self.held:
            rows = np.stack([start, *pairs], axis=1)
            return fixedpoint.wrap_int32(np.concatenate([*rounding, rows.ravel()]))
        return fixedpoint.wrap_int32(np.stack([start, *pairs, *rounding], axis=1))

    @property
    def _places(self) -> list[tuple[int, int]]:
        """Which inputs each word has."""
        if self.inputs == LEAST:
            return [(0, 1)]
        return [(4 * i + odd, 4 * i + odd + 2) for i in range(words_a_position(self.inputs) // 2) for odd in (0, 1)]

    @property
    def stack_bytes(self) -> int:
        return 36 + 4 * self._saved + _FRAME

    #: The parameters, from the start for each tile.
    constants = (Constants("lr", "[sp, #8]"),)

    @property
    def _turns(self) -> int:
        return self.m // self.unroll if self.unroll else 0

    def call(self, tiles: float) -> Call:
        """A call for so many tiles."""
        return Call(self, (tiles, *([float(self._turns)] if self.unroll else [])))

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * words_of(self.call(1))

    def accesses(self, tiles: int, calls: int) -> tuple[Access, Access, Access, Access]:
        """Source, output, parameters and stack of ``tiles`` tiles in so many calls."""
        words = self.n * words_a_position(self.inputs) // 2
        stack = loads(4 + self._turns, 4) + stores(2, 4)
        entry = saved(9 + self._saved) + stores(5 - self.held, 4)
        return (
            loads(words * tiles, 4),
            stores(self.n * self.m * tiles, 1),
            loads((self.words - self.held) * self.m * tiles + self.held * self.m * calls, 4),
            stack.times(tiles) + entry.times(calls),
        )

    @property
    def _first(self) -> list[str]:
        """What a channel's first load gives: all parameters, or start and two weights."""
        r = self.registers
        return [r.start, *r.w, *(each for each in (r.m, r.c, r.d) if each and each not in r.w)]

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/few_inputs/few_inputs.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{self.inputs} inputs of {self.n} positions x {self.m} channels.",
            comment=f"Its number stands for: {self.details}.",
            inputs=self.inputs,
            n=self.n,
            m=self.m,
            unroll=self.unroll,
            channels=self.unroll or self.m,
            registers=self.registers,
            words=self.words,
            pairs=words_a_position(self.inputs),
            places=self._places,
            held=self.held,
            saved=self._saved,
            first=self._first,
            frame=_FRAME,
            added=self.added,
            q=self.output,
        )
