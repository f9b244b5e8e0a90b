"""Step functions: how an accumulator becomes an int8 output, as TFLite's kernels do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.problems.content import ByContent

Float64Array = npt.NDArray[np.float64]

INT8_MIN, INT8_MAX = -128, 127


@dataclass(frozen=True, eq=False)
class Requantization(ByContent):
    """clamp(zero_point + round(acc * scale)): how an accumulator becomes an output, channel by channel.

    Either ``multipliers`` and ``shifts`` (rounded twice, fixedpoint.multiply_by_quantized_multiplier) or
    ``scales`` (rounded once, fixedpoint.requantize_in_double) are given, with one entry for each channel. ``even``: the
    scales are floats, and rounding is fixedpoint.requantize_to_even.
    """

    zero_point: int
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX
    multipliers: Int64Array | None = None
    shifts: Int64Array | None = None
    scales: Float64Array | None = None
    even: bool = False

    def __post_init__(self) -> None:
        if (self.scales is None) == (self.multipliers is None or self.shifts is None):
            raise ValueError("a requantisation has either multipliers and shifts, or scales")
        if self.even and (self.scales is None or (self.scales != self.scales.astype(np.float32)).any()):
            raise ValueError("rounding to even needs scales of float32")
        if not INT8_MIN <= self.minimum <= self.maximum <= INT8_MAX:
            raise ValueError(f"clamp [{self.minimum}, {self.maximum}] is not a range of int8")

    @property
    def channels(self) -> int:
        return len(self.real_scales)

    def tiled(self, times: int) -> Requantization:
        """Of so many times as many channels, all of them one time after the other."""

        def each(values: Int64Array) -> Int64Array:
            return np.tile(values, times)

        return replace(
            self,
            multipliers=None if self.multipliers is None else each(self.multipliers),
            shifts=None if self.shifts is None else each(self.shifts),
            scales=None if self.scales is None else np.tile(self.scales, times),
        )

    @cached_property
    def real_scales(self) -> Float64Array:
        """The factor of each channel as a double: exact for ``scales``, else multiplier * 2^(shift - 31)."""
        if self.scales is not None:
            return self.scales
        assert self.multipliers is not None
        assert self.shifts is not None
        return np.ldexp(self.multipliers.astype(np.float64), (self.shifts - 31).astype(np.int32))

    def apply(self, accumulators: npt.ArrayLike) -> Int64Array:
        """Outputs of accumulators whose last axis is the channel (or of size 1)."""
        if self.scales is not None:
            rounding = fixedpoint.requantize_to_even if self.even else fixedpoint.requantize_in_double
            scaled = rounding(accumulators, self.scales)
        else:
            assert self.multipliers is not None
            assert self.shifts is not None
            scaled = fixedpoint.multiply_by_quantized_multiplier(accumulators, self.multipliers, self.shifts)
        clamped: Int64Array = np.clip(scaled + self.zero_point, self.minimum, self.maximum)
        return clamped


@dataclass(frozen=True, eq=False)
class AccumulatorRange(ByContent):
    """For each channel, the least and the greatest accumulator over all int8 inputs."""

    low: Int64Array
    high: Int64Array

    @property
    def ends(self) -> tuple[Int64Array, Int64Array]:
        return self.low, self.high


def accumulator_range(weights: Int64Array, bias: Int64Array, zero_point: int) -> AccumulatorRange:
    """``weights`` is [taps, M]. A tap in the padding adds nothing, which lies inside the range too."""
    positive, negative = np.maximum(weights, 0).sum(axis=0), np.minimum(weights, 0).sum(axis=0)
    least, most = INT8_MIN - zero_point, INT8_MAX - zero_point
    return AccumulatorRange(bias + positive * least + negative * most, bias + positive * most + negative * least)


@dataclass(frozen=True)
class Average:
    """The output of AVERAGE_POOL_2D from a sum over ``count`` elements: a step function, as requantisation is.

    Ties go away from zero, or up.
    """

    count: int
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX
    zero_point: int = 0
    ties_up: bool = False

    @property
    def real_scales(self) -> Float64Array:
        return np.array([1 / self.count])

    def apply(self, accumulators: npt.ArrayLike) -> Int64Array:
        """The rounded mean, clamped."""
        total, half = np.asarray(accumulators, np.int64), self.count // 2
        mean = (total + half) // self.count
        if not self.ties_up:
            mean = np.sign(total) * ((np.abs(total) + half) // self.count)
        clamped: Int64Array = np.clip(mean, self.minimum, self.maximum)
        return clamped


class Rescale(NamedTuple):
    """multiplier * 2^(shift - 31), rounded twice."""

    multiplier: int
    shift: int

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        return fixedpoint.multiply_by_quantized_multiplier(x, self.multiplier, self.shift)
