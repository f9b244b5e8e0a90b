"""The kernel of two to four inputs: those of some positions are in registers, and channels stream past them.

A channel's start, weights, multiplier and addends are loaded once for all the positions. Two inputs are a word of
halfwords, of three or four bytes 0 and 2 are one and 1 and 3 another; a fourth one that is not there meets a weight of
0, and is the next position's first or, of a tile's last position, the byte before.
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
LEAST, MOST = 2, 4  # inputs
_DATA = 12  # registers r0 to r11; r12 has the outputs and lr the parameters
_FRAME = 20  # five words


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
    def registers(self) -> _Registers:
        names = iter([f"r{i}" for i in range(_DATA)])
        words = words_a_position(self.inputs)
        x = [[next(names) for _ in range(words)] for _ in range(self.n)]
        start, w, m = next(names), [next(names) for _ in range(words)], next(names)
        c = next(names) if self.added else ""
        d = next(names) if self.output.by_sign else ""
        return _Registers(x, start, w, m, c, d, next(names), next(names) if self.output.spare else "")

    def parameters(self, w: Int64Array, start: Int64Array, rounding: list[Int64Array]) -> Int64Array:
        """[channels, words]: starts, weights [channels, inputs], multipliers, addends."""
        order = np.array([[0, 1]]) if self.inputs == LEAST else np.array([[0, 2], [1, 3]])
        padded = np.zeros((len(w), MOST), np.int64)
        padded[:, : self.inputs] = SCALE * w
        pairs = [(padded[:, low] & 0xFFFF) | (padded[:, high] << 16) for low, high in order]
        return fixedpoint.wrap_int32(np.stack([start, *pairs, *rounding], axis=1))

    @property
    def stack_bytes(self) -> int:
        return 36 + _FRAME

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
        words = self.n // 2 if self.inputs == LEAST else self.n
        stack = loads(4 + self._turns, 4) + stores(2, 4)
        entry = saved(9) + stores(5, 4)
        return (
            loads(words * tiles, 4),
            stores(self.n * self.m * tiles, 1),
            loads(self.words * self.m * tiles, 4),
            stack.times(tiles) + entry.times(calls),
        )

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
            frame=_FRAME,
            added=self.added,
            q=self.output,
        )
