"""The arithmetic of chained rows: four output channels of int8 weights in three sums of int16 ones.

int16 weights are twice as wide as int8 ones need, so weights w0 to w3 of four channels become

    F0 = 256 w0 + w1      F1 = 256 w1 + w2      F2 = 256 w2 + w3

With x of 16 bits, S_i = sum F_i x = 256 Y_i + Y_(i+1), all modulo 2^32. Then

    2^24 S0 - 2^16 S1 + 2^8 S2 = 2^32 Y0 + 2^8 Y3 = 256 Y3      (mod 2^32),

and 256 Y2 = S2 - Y3, 256 Y1 = S1 - Y2, 256 Y0 = S0 - Y1: six instructions for four accumulators at scale 256. That
is exact where 256 Y_i fits 32 bits in every channel and F_i fits 16, which it does unless w_i = -128 and w_(i+1) < 0.

Sums that start at T_i alone give accumulators that start at multiples of 256. With a word K of the chain added by the
instruction that shifts, 256 Y3 + K, they start at any a_i:

    T_i = a_i + floor(a_(i+1) / 256)      K = a_3 - 256 (T_2 - 2^8 T_1 + 2^16 T_0)      (mod 2^32),

as the shifts of what follows round down.

One byte a weight: of the words of H0 = 256 w0 + w1 and H1 = 256 w2 + w3 + 128, for two inputs each, the first is F0,
and

    SXTAB16(H0 << 8 & 0xff00ff00, H1 ROR 8) = 256 w1 + w2 = F1,

because the low byte of H1 is w3 + 128, so that its high one is w2 without a borrow. H1 itself is F2 and 128 more in
each halfword: S2 has 128 sum(x) too much.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array

SCALE = 256
ROWS = 4  # output channels of a chain
SUMS = 3
#: What the array of raised weights holds.
RAISED = "weights of -128 that are -127 in the chains: the row, where its input is"


def fits(weights: Int64Array, packed: bool) -> bool:
    """Whether chains of the weights [..., ROWS, K] fit 16 bits; the last sum of a packed one always does."""
    pairs = slice(0, SUMS - 1 if packed else SUMS)
    first, second = weights[..., :SUMS, :][..., pairs, :], weights[..., 1:, :][..., pairs, :]
    return not bool(((first == -128) & (second < 0)).any())


class Raised(NamedTuple):
    """Weights [M, K] of which some of -128 are raised to -127, so that chains fit: where, [row, input] each."""

    weights: Int64Array
    at: Int64Array


def raised(weights: Int64Array, rows: Int64Array) -> Raised:
    """Chains of the weights [M, K], of these ``rows`` [chains, ROWS], fit once what is raised is."""
    low = np.zeros(weights.shape, np.bool_)
    for first in range(SUMS):
        before, after = rows[:, first], rows[:, first + 1]
        low[before] |= (weights[before] == -128) & (weights[after] < 0)
    return Raised(weights + low, np.argwhere(low))


def chained(values: Int64Array) -> Int64Array:
    """Chains of weights, or of initial accumulators: [..., ROWS, K] -> [..., SUMS, K]."""
    return SCALE * values[..., :SUMS, :] + values[..., 1:, :]


def starts(accumulators: Int64Array) -> Int64Array:
    """What the sums start at, as int32 words, where ``accumulators`` of the channels, [..., ROWS], do, times 256."""
    return fixedpoint.wrap_int32(accumulators[..., :SUMS] + (accumulators[..., 1:] >> 8))


def correction(accumulators: Int64Array) -> Int64Array:
    """K of each chain, as an int32 word: 0 where accumulators start at multiples of 256."""
    first, second, third = np.moveaxis(starts(accumulators), -1, 0)
    return fixedpoint.wrap_int32(accumulators[..., -1] - (third - (second << 8) + (first << 16) << 8))


def words(weights: Int64Array, packed: bool) -> Int64Array:
    """int32 words of the chains of weights [..., ROWS, K]: [..., words, K / 2], SUMS of them for each two inputs, or
    two if ``packed``."""
    halves = chained(weights)
    if packed:
        halves = np.stack([halves[..., 0, :], halves[..., 2, :] + 128], axis=-2)
    return fixedpoint.wrap_int32((halves[..., ::2] & 0xFFFF) | (halves[..., 1::2] << 16))


def words_of(packed: bool) -> int:
    """Words of a chain for two inputs."""
    return 2 if packed else SUMS


class Chain(NamedTuple):
    """Registers of one chain's sums, and the one that its last row will have besides."""

    sums: tuple[str, str, str]
    last: str

    @property
    def rows(self) -> tuple[str, str, str, str]:
        """Where the rows' accumulators are in the end."""
        return (*self.sums, self.last)

    def multiply(self, held: "Loads", words: Sequence[str], x: str, mask: str) -> None:
        """Two inputs, at address ``x``, times the chain's words. ``mask``: a register with 0xff00ff00 if these are
        packed, of which the first is then lost."""
        if not mask:
            for word, acc in zip(words, self.sums, strict=True):
                held.lines.append(f"smlad {acc}, {held.need(word)}, {held.need(x)}, {acc}")
                held.done(word)
            return
        first, second, third = self.sums
        one, two = (held.need(word) for word in words)
        by = held.need(x)
        held.lines += [
            f"smlad {first}, {one}, {by}, {first}",
            f"and {one}, {mask}, {one}, lsl #8",
            f"smlad {third}, {two}, {by}, {third}",
            f"sxtab16 {one}, {one}, {two}, ror #8",
            f"smlad {second}, {one}, {by}, {second}",
        ]
        for word in words:
            held.done(word)

    def accumulators(self, correction: str = "") -> list[str]:
        """The sums become the rows' accumulators, 256 times the true ones. ``correction``: the register of K, if they
        start at any number."""
        (first, second, third), last = self
        return [
            f"sub {last}, {third}, {second}, lsl #8",
            f"add {last}, {last}, {first}, lsl #16",
            f"add {last}, {correction}, {last}, lsl #8" if correction else f"lsl {last}, {last}, #8",
            f"sub {third}, {third}, {last}, asr #8",
            f"sub {second}, {second}, {third}, asr #8",
            f"sub {first}, {first}, {second}, asr #8",
        ]


class Loads:
    """Values come from memory in the order in which they are wanted, in groups: whenever one is missing, as many as
    registers are free. A group of n loads takes n + 1 cycles. ``lines`` are the instructions so far."""

    def __init__(self, wanted: Sequence[str], free: Sequence[str], *, moving: Collection[str] = ()) -> None:
        """``wanted`` are addresses; those that are ``moving`` are wanted in the order in which they lie, so that LR
        moves on with each.
        """
        self.lines: list[str] = []
        self._wanted, self._free, self._moving = list(wanted), list(free), frozenset(moving)
        self._held: dict[str, str] = {}

    def need(self, address: str) -> str:
        """The register that holds the value."""
        if address not in self._held:
            while self._wanted and self._free:
                next_one = self._wanted.pop(0)
                self._held[next_one] = register = self._free.pop(0)
                self.lines.append(f"ldr {register}, {'[lr], #4' if next_one in self._moving else next_one}")
        return self._held[address]

    def done(self, address: str) -> None:
        """The value is no longer needed."""
        self._free.append(self._held.pop(address))
