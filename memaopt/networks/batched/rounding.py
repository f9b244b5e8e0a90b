"""Accumulators to outputs, many at a time: a float32 estimate where it cannot differ from the exact arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.problems.step_functions import Requantization

Array = npt.NDArray[Any]

_CACHED = 1 << 16
"""Elements that are rounded at a time: they stay in a processor's own cache."""


def rounder(q: Requantization, constants: Int64Array) -> Callable[[Array], Array]:
    """What makes float32 outputs of exact sums (integers in float32 or float64, [n, channels]); with the channel's
    constant they are accumulators.

    An accumulator that is rounded twice, first to multiples of h = 2^-right and then, ties away from zero, to an
    integer, goes away from zero from m + 1/2 - h / 2 on: it is rounded once, h / 2 further from zero. Where that
    estimate lies nearer to the middle between two integers than it can be off, the exact arithmetic is asked.
    """
    scales = q.real_scales.astype(np.float32)
    outwards = np.zeros(q.channels)
    if q.shifts is not None:
        outwards = np.where(q.shifts < 0, np.ldexp(0.5, np.minimum(q.shifts, 0)), 0.0)
    added = constants * q.real_scales
    # Near an output from -128 to 127 each term is below this in size; a scale, a product and two sums round it.
    largest = 600 + 2 * float(np.abs(added).max(initial=0.0))
    limit = np.float32(0.5 - largest * 2.0**-21)
    # Outwards is up unless accumulators below zero are told apart.
    both_signs = q.minimum < q.zero_point
    beside = (added if both_signs else added + outwards + q.zero_point).astype(np.float32)
    outwards = outwards.astype(np.float32)
    # A value beyond the clamp is the clamp's end, whatever it rounds to.
    low, high = np.float32(q.minimum), np.float32(q.maximum)

    def some(sums: Array, outputs: Array) -> None:
        """The outputs of some rows of sums, [n, channels]."""
        estimate = np.multiply(sums, scales, dtype=np.float32, casting="same_kind")
        estimate += beside
        if both_signs:
            estimate += np.copysign(outwards, estimate)
            estimate += np.float32(q.zero_point)
        np.clip(estimate, low, high, out=estimate)
        np.rint(estimate, out=outputs)
        np.subtract(estimate, outputs, out=estimate)
        np.abs(estimate, out=estimate)
        near = np.flatnonzero(estimate > limit)
        if near.size:
            channels = near % q.channels
            exact = sums.reshape(-1)[near].astype(np.int64) + constants[channels]
            outputs.reshape(-1)[near] = _exactly(q, exact, channels)

    def rounded(sums: Array) -> Array:
        outputs = np.empty(sums.shape, np.float32)
        at_once = max(1, _CACHED // q.channels)
        for first in range(0, len(sums), at_once):
            some(sums[first : first + at_once], outputs[first : first + at_once])
        return outputs

    return rounded


def _exactly(q: Requantization, accumulators: Int64Array, channels: Array) -> Int64Array:
    """The outputs of accumulators of some channel each."""

    def of(values: Array | None) -> Array | None:
        return None if values is None else values[channels]

    each = dataclasses.replace(q, multipliers=of(q.multipliers), shifts=of(q.shifts), scales=of(q.scales))
    return each.apply(accumulators)
