"""What thresholds ask of a sequence's constants: intervals of its start b and of its addend c.

A step to output ``least`` at threshold t bounds both from one side: the sequence has reached it at t, not at t - 1.
"""

from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels.rounding.thresholds import Bools, Thresholds

#: Distances from the m that the scale gives, in the order in which they are tried.
NEAR = (0, 1, -1, 2, -2, 3, -3, 4, -4)
FAR = np.int64(1) << 60


def high_word(x: Int64Array, multiplier: Int64Array) -> Int64Array:
    """H(x multiplier), of a product of 64 bits."""
    product: Int64Array = x * multiplier
    return product >> 32


class ChannelConstants(NamedTuple):
    """m, b, c and c of negative accumulators of every channel that was looked at, and those that found none."""

    m: Int64Array
    b: Int64Array
    c: Int64Array
    c_negative: Int64Array
    open: Bools

    @classmethod
    def begun(cls, m: Int64Array, channels: Bools) -> "ChannelConstants":
        """Nothing found yet for some channels."""
        b, c, c_negative = (np.zeros_like(m) for _ in range(3))
        return cls(m.copy(), b, c, c_negative, channels.copy())

    def keep(self, channels: Int64Array, found: Bools, *values: Int64Array) -> None:
        """m, b, c and c of negative accumulators of channels, as far as they were found."""
        at = channels[found]
        for target, value in zip(self, values, strict=False):
            target[at] = value[found]
        self.open[at] = False


class Points(NamedTuple):
    """Where a sequence must have reached ``least`` (at ``a``), and where it must still be below it (``b``)."""

    least: Int64Array
    a: Int64Array
    needs_a: Bools
    b: Int64Array
    needs_b: Bools

    @classmethod
    def at_steps(cls, steps: Thresholds, base: Int64Array) -> "Points":
        """Of channels whose outputs are ``base`` more."""
        least = steps.outputs[None, :] + base[:, None]
        return cls(least, steps.at, steps.at <= steps.high[:, None], steps.at - 1, steps.at > steps.low[:, None])

    def of(self, channels: Bools | Int64Array) -> "Points":
        """Of some channels."""
        return Points(
            self.least[channels], self.a[channels], self.needs_a[channels], self.b[channels], self.needs_b[channels]
        )

    def side(self, negative: bool) -> "Points":
        """Only what concerns negative accumulators, or only the others."""
        on_a, on_b = (self.a < 0, self.b < 0) if negative else (self.a >= 0, self.b >= 0)
        return self._replace(needs_a=self.needs_a & on_a, needs_b=self.needs_b & on_b)


def interval(floors: Int64Array, ceilings: Int64Array, points: Points) -> tuple[Int64Array, Int64Array]:
    """What lies between the floors and the ceilings that are needed."""
    least = np.where(points.needs_a, floors, -FAR).max(axis=1, initial=-FAR)
    most = np.where(points.needs_b, ceilings, FAR).min(axis=1, initial=FAR)
    return least, most


def middle(least: Int64Array, most: Int64Array) -> Int64Array:
    """A value of each interval, near its middle if both ends are finite."""
    one_sided = np.where(least > -FAR, least, np.where(most < FAR, most, 0))
    return np.where((least > -FAR) & (most < FAR), (least + most) >> 1, one_sided)


def multiple_in(least: Int64Array, most: Int64Array, step: int) -> tuple[Int64Array, Bools]:
    """A multiple of ``step`` near the middle of each interval, and whether it lies in it."""
    near = middle(least, most)
    below = near - near % step
    nearest = np.where(below < least, below + step, below)
    return nearest, (least <= nearest) & (nearest <= most)


def addends(points: Points, m: Int64Array, scale: int, shift: int) -> tuple[Int64Array, Int64Array]:
    """The interval of c with b = 0."""
    floors = (points.least << shift) - high_word(points.a * scale, m[:, None])
    ceilings = (points.least << shift) - 1 - high_word(points.b * scale, m[:, None])
    return interval(floors, ceilings, points)


def starts(points: Points, m: Int64Array, c: Int64Array, scale: int, shift: int) -> tuple[Int64Array, Int64Array]:
    """The interval of b for given c: (scale a + b) m reaches ((least << shift) - c) << 32."""
    target, divisor = (points.least << shift) - c[:, None], np.maximum(m, 2)[:, None]
    quotient, remainder = np.divmod(-target, divisor)
    edge = -((np.clip(quotient, -(1 << 29), 1 << 29) << 32) + (remainder << 32) // divisor)
    return interval(edge - scale * points.a, edge - 1 - scale * points.b, points)
