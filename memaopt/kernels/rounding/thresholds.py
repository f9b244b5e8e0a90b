"""Outputs as a step function of the accumulator, and where its steps are."""

from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.problems.step_functions import AccumulatorRange, Float64Array

Bools = npt.NDArray[np.bool_]


class StepFunction(Protocol):
    """Non-decreasing outputs of accumulators, channel by channel, close to zero_point + scale * accumulator; equal, and
    hashed, by content."""

    def __hash__(self) -> int: ...

    @property
    def minimum(self) -> int: ...

    @property
    def maximum(self) -> int: ...

    @property
    def zero_point(self) -> int: ...

    @property
    def real_scales(self) -> Float64Array: ...

    def apply(self, accumulators: npt.ArrayLike) -> Int64Array:
        """Outputs of accumulators whose last axis is the channel."""
        ...


class Thresholds(NamedTuple):
    """``at[c, i]`` is the least accumulator in [low, high + 1] whose output is at least ``outputs[i]``."""

    outputs: Int64Array
    at: Int64Array
    low: Int64Array
    high: Int64Array


@lru_cache(maxsize=256)
def thresholds(requantization: StepFunction, span: AccumulatorRange) -> Thresholds:
    """The steps of each channel over its accumulators, found by bisection and checked on both sides."""
    outputs = np.arange(requantization.minimum + 1, requantization.maximum + 1, dtype=np.int64)
    low, high = span.low[:, None], span.high[:, None]

    def reached(at: Int64Array) -> Bools:
        return np.asarray(outputs <= requantization.apply(at.T).T)

    # Bisect between `below`, where the output is not yet reached, and `above`, where it is. Start close to the
    # real-valued threshold where that brackets it.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        guess = (outputs - requantization.zero_point - 0.5) / requantization.real_scales[:, None]
    near = np.clip(np.nan_to_num(guess, nan=0.0), low.astype(float), high.astype(float)).astype(np.int64)
    below = np.broadcast_to(low - 1, near.shape).copy()
    above = np.broadcast_to(high + 1, near.shape).copy()
    for margin in (-1, 1, -4, 4):
        if margin == -4 and (above - below).max(initial=0) <= 2:
            break
        probe = np.clip(near + margin, low, high)
        is_reached = reached(probe)
        above = np.where(is_reached, np.minimum(above, probe), above)
        below = np.where(is_reached, below, np.maximum(below, probe))
    while (above - below).max(initial=0) > 1:
        middle = np.clip((below + above) >> 1, low, high)
        is_reached = reached(middle)
        narrow = above - below <= 1
        above = np.where(is_reached & ~narrow, middle, above)
        below = np.where(is_reached | narrow, below, middle)
    return Thresholds(outputs, above, span.low, span.high)
