"""Rounding symmetric about zero with one instruction for the sign, proven for every accumulator.

Where ties go away from zero, accumulators below 0 need an addend that is less by d, a power of two where the reference
rounds twice: half of what the first rounding adds, on either side. Of two addends whose bits are the same but for the
last n, where the lower one has zeros,

    BIC t, c, acc, LSR #(32 - n)

leaves c from 0 on, and clears its last n bits below 0, as long as |acc| < 2^(32 - n): copies of the sign are shifted
down then, n zeros or n ones. SMMLA adds t. So the sequence is non-decreasing there, as c is no less than what clearing
leaves, and agreeing at each threshold t and at t - 1 proves it (requantize.py). Accumulators beyond must be saturated
whichever of the n bits are cleared: outputs of all of them lie between that of the one nearest to 0 and that of the
last one, with the addends that make these closest and farthest. b is any number that leaves thresholds on their side of
0, and seldom a multiple of the scale.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import INT32_MAX, INT32_MIN, Int64Array
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.intervals import (
    FAR,
    NEAR,
    ChannelConstants,
    Points,
    high_word,
    middle,
    multiple_in,
    starts,
)
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.rounding.thresholds import Bools, StepFunction, thresholds
from memaopt.problems.step_functions import AccumulatorRange

#: The shift and the number of bits that are tried first, so that layers share kernels (scales from 2^-11 to 2^-6).
_USUAL_SHIFT, _USUAL_BITS = 11, 5
#: More would leave accumulators too little room.
_MOST_BITS = 8
#: Distances of m beyond the near ones, nearest first: where b has no room, another slope may leave it some.
_SLOPES = np.array([sign * 64 * step for step in range(1, 65) for sign in (1, -1)])
#: How many multiples of 2^n besides the middle one are tried as the lower addend, on either side.
_MULTIPLES = (0, 1, -1, 2, -2, 4, -4, 8, -8)
#: Beyond all accumulators, where no threshold bounds b.
_BEYOND = np.int64(1) << 40


def prove_multiply_add(
    requantization: StepFunction, span: AccumulatorRange, scale: int, offset: Int64Array | None = None
) -> Proven | None:
    """requantize.prove_multiply_add; where constants go by sign, in this form if it is found."""
    proven = requantize.prove_multiply_add(requantization, span, scale, offset)
    if proven is None or proven.negative is None:
        return proven
    added = None if offset is None else tuple(offset.tolist())
    return _prove(requantization, span, scale, added, proven) or proven


class _Bounds(NamedTuple):
    """For each channel the least and the greatest accumulator as held, times the multiplier, with the least and the
    greatest addend: no output lies outside."""

    ends: tuple[Int64Array, Int64Array]
    low: Int64Array
    high: Int64Array

    @property
    def fit(self) -> bool:
        """Whether all fits 32 bits."""
        held = max(int(np.abs(end).max(initial=0)) for end in self.ends)
        return held <= INT32_MAX and self.low.min() >= INT32_MIN and self.high.max() <= INT32_MAX


@lru_cache(maxsize=256)
def _prove(
    requantization: StepFunction,
    span: AccumulatorRange,
    scale: int,
    offset: tuple[int, ...] | None,
    by_sign: Proven,
) -> Proven | None:
    """``by_sign``: what is known of the same outputs."""
    constant = by_sign.constant
    base = np.zeros(len(span.low), np.int64) if offset is None else np.array(offset, np.int64)
    points = Points.at_steps(thresholds(requantization, span), base)
    real = np.where(constant, 0.0, np.broadcast_to(requantization.real_scales, base.shape))
    wanted = requantization.apply(span.low) + base, requantization.apply(span.high) + base
    limits = requantization.minimum + base, requantization.maximum + base
    active = np.flatnonzero(~constant)
    for shift in requantize.shifts(real, scale, _USUAL_SHIFT):
        near = np.maximum(np.rint(real * (2.0 ** (32 + shift) / scale)).astype(np.int64), 1)
        apart = _addends_apart(points.of(active), near[active], scale, shift)
        # A channel whose thresholds are all on one side of 0 wants none.
        if apart.min() < 0 or not 0 < apart.max() < 1 << min(_MOST_BITS, shift):
            continue
        bits = max(int(apart.max()).bit_length(), _USUAL_BITS if shift == _USUAL_SHIFT else 0)
        m, b, c, c_negative, missing = _constants(points, near, ~constant, scale, shift, bits)
        if missing.any():
            continue
        m[constant] = 0
        c[constant] = c_negative[constant] = requantize.addend_of(wanted[0][constant], shift)
        ends = np.where(constant, 0, scale * span.low + b), np.where(constant, 0, scale * span.high + b)
        bounds = _Bounds(ends, high_word(ends[0], m) + c_negative, high_word(ends[1], m) + c)
        room = np.int64(1) << (32 - bits)
        of = points.of(active)
        inner = max(np.where(needs, np.abs(scale * at + b[active, None]), 0).max() for at, needs in _sides(of))
        # What lies beyond `room` is between these two at the low end, and between the others at the high one.
        below, above = (high_word(np.full_like(m, edge), m) for edge in (-room, room))
        beyond = (bounds.low, below + c), (above + c_negative, bounds.high)
        saturated = [
            (np.abs(end) < room) | np.all([np.clip(each >> shift, *limits) == want for each in pair], axis=0)
            for end, pair, want in zip(ends, beyond, wanted, strict=True)
        ]
        if not bounds.fit or inner >= room or not np.all(saturated):
            continue
        low, high = (bounds.low >> shift) - base, (bounds.high >> shift) - base
        clamp_low, clamp_high = requantize.needed_clamps(requantization, low, high)
        return replace(
            by_sign,
            shift=shift,
            multiplier=m,
            start=b,
            addend=c,
            negative=None,
            clamp_low=clamp_low,
            clamp_high=clamp_high,
            cleared=bits,
        )
    return None


def _offsets(points: Points, m: Int64Array, scale: int, shift: int) -> tuple[Int64Array, Int64Array]:
    """Where b should be for accumulators from 0 on, and for negative ones, if there were no addend."""
    zero = np.zeros_like(m)
    intervals = [starts(points.side(negative), m, zero, scale, shift) for negative in (False, True)]
    (at, above), (below, negative) = (((low > -FAR) & (high < FAR), middle(low, high)) for low, high in intervals)
    above = np.where(at, above, np.clip(np.where(below, negative, 0), *intervals[0]))
    negative = np.where(below, negative, np.clip(above, *intervals[1]))
    return above, negative


def _addends_apart(points: Points, m: Int64Array, scale: int, shift: int) -> Int64Array:
    """By how much the addend of negative accumulators should be less."""
    above, negative = _offsets(points, m, scale, shift)
    apart: Int64Array = np.rint((above - negative) * (m / 2.0**32)).astype(np.int64)
    return apart


def _constants(
    points: Points, near: Int64Array, channels: Bools, scale: int, shift: int, bits: int
) -> ChannelConstants:
    """For some channels an m near where it should be, and its constants; looked for no further once one has none."""
    found = ChannelConstants.begun(near, channels)
    for delta in NEAR:
        for multiple in _MULTIPLES:
            left = np.flatnonzero(found.open)
            if not len(left):
                return found
            m, of = np.maximum(near[left] + delta, 1), points.of(left)
            fits, *constants = _try(of, m, scale, shift, bits, multiple)
            found.keep(left, fits, m, *constants)
    for channel in np.flatnonzero(found.open):
        m = near[channel] + _SLOPES
        m = m[(m > 0) & (m <= INT32_MAX)]
        of = points.of(np.repeat(channel, len(m)))
        for multiple in _MULTIPLES:
            fits, *constants = _try(of, m, scale, shift, bits, multiple)
            if fits.any():
                first = np.argmax(fits, keepdims=True)
                found.keep(np.array([channel]), fits[first], m[first], *(each[first] for each in constants))
                break
        else:
            return found
    return found


def _try(
    points: Points, m: Int64Array, scale: int, shift: int, bits: int, multiple: int
) -> tuple[Bools, Int64Array, Int64Array, Int64Array]:
    """Whether constants are found for given m, b and both addends: the lower one is a multiple of 2^bits, so many
    beside the one for which b is in the middle of what changes no threshold's side of 0."""
    above, negative = points.side(False), points.side(True)
    first = np.minimum(*(np.where(needs, at, _BEYOND).min(axis=1) for at, needs in _sides(above)))
    last = np.maximum(*(np.where(needs, at, -_BEYOND).max(axis=1) for at, needs in _sides(negative)))
    least, most = -scale * first, -scale * last - 1
    wanted, wanted_negative = _offsets(points, m, scale, shift)
    apart = np.rint((wanted - wanted_negative) * (m / 2.0**32)).astype(np.int64)
    both = (first < _BEYOND) & (last > -_BEYOND)
    centre = np.where(both, (least + most) >> 1, np.clip(0, least, most))
    c_negative = (np.rint((wanted_negative - centre) * (m / 2.0 ** (32 + bits))).astype(np.int64) + multiple) << bits
    c = c_negative + apart
    bounds = [starts(side, m, value, scale, shift) for side, value in ((above, c), (negative, c_negative))]
    low = np.maximum(np.maximum(bounds[0][0], bounds[1][0]), least)
    high = np.minimum(np.minimum(bounds[0][1], bounds[1][1]), most)
    b, fits = multiple_in(low, high, 1)
    return fits & (apart >= 0) & (apart < 1 << bits) & (np.abs(c) <= INT32_MAX), b, c, c_negative


def _sides(points: Points) -> tuple[tuple[Int64Array, Bools], tuple[Int64Array, Bools]]:
    """Accumulators at which channels must agree with the reference, and which of them."""
    return (points.a, points.needs_a), (points.b, points.needs_b)
