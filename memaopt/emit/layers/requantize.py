"""Requantisation in three instructions, proven for every accumulator.

An output is a non-decreasing step function of the accumulator, with at most 255 steps. A cheaper instruction
sequence, also non-decreasing, therefore equals it for ALL accumulators in a range if it agrees at each step's
threshold t (the least accumulator with that output) and at t - 1. The sequences, for an accumulator
``a`` that the kernel holds scaled by a constant S (H is the high word of a 64-bit product):

- multiply-add: ``(H(S a * m) + c) >> shift`` is SMMLA, then SSAT or USAT with a shift;
- multiply: ``H((S a + b) * m) >> shift`` is SMMUL, then the same; b is folded into the initial accumulator.

Where rounding is symmetric about zero (ties away from it), negative accumulators may need a constant of their
own: :attr:`Proven.negative`. Each output channel has its m, c or b; the shift is the layer's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from memaopt.emit.layers.describe import INT8_MAX, INT8_MIN, AccumulatorRange, Float64Array
from memaopt.fixedpoint import INT32_MAX, INT32_MIN, Int64Array

#: The shift that is tried first. Layers with equal shifts share kernels, and 13 suits most (scales below 1/64).
USUAL_SHIFT = 13
_NEAR = (0, 1, -1, 2, -2, 3, -3, 4, -4)
_FAR_AND_NEAR = tuple(sorted(range(-200, 201), key=abs))


class StepFunction(Protocol):
    """Non-decreasing outputs of accumulators, channel by channel, close to zero_point + scale * accumulator."""

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


def thresholds(requantization: StepFunction, span: AccumulatorRange) -> Thresholds:
    """The steps of each channel over its accumulators, found by bisection and checked on both sides."""
    outputs = np.arange(requantization.minimum + 1, requantization.maximum + 1, dtype=np.int64)
    low, high = span.low[:, None], span.high[:, None]

    def reached(at: Int64Array) -> npt.NDArray[np.bool_]:
        return np.asarray(outputs <= requantization.apply(at.T).T)

    # Bisect between `below`, where the output is not yet reached, and `above`, where it is. Start close to the
    # real-valued threshold where that brackets it.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        guess = (outputs - requantization.zero_point - 0.5) / requantization.real_scales[:, None]
    near = np.clip(np.nan_to_num(guess, nan=0.0), low.astype(float), high.astype(float)).astype(np.int64)
    below = np.broadcast_to(low - 1, near.shape).copy()
    above = np.broadcast_to(high + 1, near.shape).copy()
    for margin in (-4, 4):
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


@dataclass(frozen=True, eq=False)
class Proven:
    """One layer's sequence: equal to the reference for every accumulator of the layer.

    ``addend`` is c (multiply-add) or b (multiply). ``negative``, if not None, is what multiply-add adds to c
    where a < 0. ``clamp_low``/``clamp_high``: the saturation to 8 bits does not make the clamp by itself.
    """

    shift: int
    multiplier: Int64Array
    addend: Int64Array
    negative: Int64Array | None
    clamp_low: bool
    clamp_high: bool
    thresholds: int

    @property
    def is_plain(self) -> bool:
        """Three instructions: multiply, saturate, store."""
        return self.negative is None and not self.clamp_low and not self.clamp_high

    def describe(self) -> str:
        """For the layer's head comment."""
        extra = [] if self.negative is None else ["constants by sign"]
        extra += ["explicit clamp"] if self.clamp_low or self.clamp_high else []
        return f"proven at {self.thresholds} thresholds{', ' + ', '.join(extra) if extra else ''}"


class _Points(NamedTuple):
    """Where a sequence must have reached ``least`` (at ``a``), and where it must still be below it (``b``)."""

    least: Int64Array
    a: Int64Array
    needs_a: npt.NDArray[np.bool_]
    b: Int64Array
    needs_b: npt.NDArray[np.bool_]

    def of(self, channels: npt.NDArray[np.bool_]) -> "_Points":
        return _Points(
            self.least[channels], self.a[channels], self.needs_a[channels], self.b[channels], self.needs_b[channels]
        )


def _points(steps: Thresholds, offset: Int64Array) -> _Points:
    a, b = steps.at, steps.at - 1
    least = steps.outputs[None, :] + offset[:, None]
    return _Points(least, a, a <= steps.high[:, None], b, b >= steps.low[:, None])


_FAR = np.int64(1) << 60


def _interval(
    floors: Int64Array, needs_floor: npt.NDArray[np.bool_],
    ceilings: Int64Array, needs_ceiling: npt.NDArray[np.bool_],
) -> tuple[Int64Array, Int64Array]:  # fmt: skip
    least = np.where(needs_floor, floors, -_FAR).max(axis=1, initial=-_FAR)
    most = np.where(needs_ceiling, ceilings, _FAR).min(axis=1, initial=_FAR)
    return least, most


def _middle(least: Int64Array, most: Int64Array) -> Int64Array:
    """A value of each interval, near its middle if both ends are finite."""
    one_sided = np.where(least > -_FAR, least, np.where(most < _FAR, most, 0))
    return np.where((least > -_FAR) & (most < _FAR), (least + most) >> 1, one_sided)


def _shifts(requantization: StepFunction, scale: int) -> Iterator[int]:
    """Shifts whose multipliers fit 31 bits, the usual one first, then by precision."""
    greatest = float(requantization.real_scales.max(initial=0.0))
    limit = 24
    while limit > 0 and greatest * 2.0 ** (32 + limit) / scale >= 2.0**31 - 8:
        limit -= 1
    if limit >= USUAL_SHIFT:
        yield USUAL_SHIFT
    yield from (s for s in range(limit, 0, -1) if s != USUAL_SHIFT)


def _multipliers(requantization: StepFunction, scale: int, shift: int) -> Int64Array:
    return np.rint(requantization.real_scales * (2.0 ** (32 + shift) / scale)).astype(np.int64)


def _high_word(x: Int64Array, multiplier: Int64Array) -> Int64Array:
    product: Int64Array = x * multiplier
    return product >> 32


def prove_multiply_add(
    requantization: StepFunction, span: AccumulatorRange, scale: int, offset: Int64Array | None = None
) -> Proven | None:
    """m, c and a shift with (H(scale a * m) + c) >> shift = output + offset for every accumulator, or None.

    ``offset`` is added to a channel's outputs (128 where bytes are stored unsigned).
    """
    steps = thresholds(requantization, span)
    channels = len(span.low)
    points = _points(steps, np.zeros(channels, np.int64) if offset is None else offset)
    if max(np.abs(span.low).max(initial=0), np.abs(span.high).max(initial=0)) * scale > INT32_MAX:
        return None
    for shift in _shifts(requantization, scale):
        for by_sign in (False, True):
            found = _search_multiply_add(requantization, points, scale, shift, by_sign)
            if found is None:
                continue
            multiplier, addend, negative = found
            ends = [
                _high_word(end * scale, multiplier) + addend + (np.where(end < 0, negative, 0) if by_sign else 0)
                for end in span
            ]
            if min(e.min(initial=0) for e in ends) < INT32_MIN or max(e.max(initial=0) for e in ends) > INT32_MAX:
                continue
            base = 0 if offset is None else offset
            low, high = (ends[0] >> shift) - base, (ends[1] >> shift) - base
            return Proven(
                shift, multiplier, addend, negative if by_sign else None,
                clamp_low=requantization.minimum > INT8_MIN and bool((low < requantization.minimum).any()),
                clamp_high=requantization.maximum < INT8_MAX and bool((high > requantization.maximum).any()),
                thresholds=steps.at.size,
            )  # fmt: skip
    return None


def _search_multiply_add(
    requantization: StepFunction, points: _Points, scale: int, shift: int, by_sign: bool
) -> tuple[Int64Array, Int64Array, Int64Array] | None:
    base = _multipliers(requantization, scale, shift)
    multiplier, addend, negative = base.copy(), np.zeros_like(base), np.zeros_like(base)
    open_ = np.ones(len(base), np.bool_)
    for delta in _NEAR:
        p, m = points.of(open_), base[open_] + delta
        floors = (p.least << shift) - _high_word(p.a * scale, m[:, None])
        ceilings = (p.least << shift) - 1 - _high_word(p.b * scale, m[:, None])
        if by_sign:
            low0, high0 = _interval(floors, p.needs_a & (p.a >= 0), ceilings, p.needs_b & (p.b >= 0))
            low1, high1 = _interval(floors, p.needs_a & (p.a < 0), ceilings, p.needs_b & (p.b < 0))
            fits = (low0 <= high0) & (low1 <= high1)
            c, d = _middle(low0, high0), _middle(low1, high1)
            # A side that constrains nothing takes the other side's constant.
            c = np.where((low0 <= -_FAR) & (high0 >= _FAR), d, c)
            d = np.where((low1 <= -_FAR) & (high1 >= _FAR), c, d)
        else:
            low0, high0 = _interval(floors, p.needs_a, ceilings, p.needs_b)
            fits, c = low0 <= high0, _middle(low0, high0)
            d = c
        fits &= (m >= 0) & (m <= INT32_MAX) & (np.abs(c) <= INT32_MAX) & (np.abs(d) <= INT32_MAX)
        where = np.flatnonzero(open_)[fits]
        multiplier[where], addend[where], negative[where] = m[fits], c[fits], (d - c)[fits]
        open_[where] = False
        if not open_.any():
            return multiplier, addend, negative
    return None


def prove_multiply(
    requantization: StepFunction, span: AccumulatorRange, scale: int, offset: Int64Array | None = None
) -> Proven | None:
    """m, b and a shift with H((scale a + b) * m) >> shift = output + offset for every accumulator, or None."""
    steps = thresholds(requantization, span)
    channels = len(span.low)
    base_offset = np.zeros(channels, np.int64) if offset is None else offset
    points = _points(steps, base_offset)
    # b has a resolution of 1/scale accumulator, so a slope that meets every threshold has to be looked for: one
    # step of m moves the line by about 1/512 of an accumulator over the range that is not saturated.
    with np.errstate(divide="ignore"):
        unsaturated = np.minimum(np.abs(np.stack(span)).max(axis=0), 256 / requantization.real_scales) + 1
    for shift in _shifts(requantization, scale):
        base = _multipliers(requantization, scale, shift)
        step = np.maximum(base // (512 * unsaturated).astype(np.int64), 1)
        multiplier, addend = base.copy(), np.zeros_like(base)
        open_ = np.ones(channels, np.bool_)
        for delta in _FAR_AND_NEAR:
            p, m = points.of(open_), np.maximum(base[open_] + delta * step[open_], 1)
            # (scale a + b) m >= least << (32 + shift), and below it at the point before.
            edge = -((-(p.least << (32 + shift))) // m[:, None])
            low, high = _interval(edge - scale * p.a, p.needs_a, edge - 1 - scale * p.b, p.needs_b)
            b = _middle(low, high)
            held = np.stack([scale * end[open_] + b for end in span])
            fits = (low <= high) & (m <= INT32_MAX) & (np.abs(held) <= INT32_MAX).all(axis=0)
            where = np.flatnonzero(open_)[fits]
            multiplier[where], addend[where] = m[fits], b[fits]
            open_[where] = False
            if not open_.any():
                break
        if open_.any():
            continue
        low, high = (
            (_high_word(scale * end + addend, multiplier) >> shift) - base_offset for end in span
        )
        return Proven(
            shift, multiplier, addend, None,
            clamp_low=requantization.minimum > INT8_MIN and bool((low < requantization.minimum).any()),
            clamp_high=requantization.maximum < INT8_MAX and bool((high > requantization.maximum).any()),
            thresholds=steps.at.size,
        )  # fmt: skip
    return None
