"""Requantisation in three instructions, proven for every accumulator.

An output is a non-decreasing step function of the accumulator, with at most 255 steps. A cheaper instruction
sequence, also non-decreasing, therefore equals it for ALL accumulators in a range if it agrees at each step's
threshold t (the least accumulator with that output) and at t - 1. The sequence, for an accumulator ``a`` that the
kernel holds scaled by a constant S (H is the high word of a 64-bit product), is

    (H((S a + b) m) + c) >> shift

b is folded into the initial accumulator; SMMLA multiplies and adds c (SMMUL does where c = 0), and SSAT or USAT
shifts. Each output channel has its m, b and c; the shift is the layer's. Where rounding is symmetric about zero
(ties away from it), negative accumulators may need another c: :attr:`Proven.negative`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from memaopt.fixedpoint import INT32_MAX, INT32_MIN, Int64Array
from memaopt.kernels.rounding.intervals import (
    FAR,
    NEAR,
    ChannelConstants,
    Points,
    addends,
    high_word,
    middle,
    multiple_in,
    starts,
)
from memaopt.kernels.rounding.thresholds import Bools, StepFunction, thresholds
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, AccumulatorRange, Float64Array

#: The shift that is tried first. Layers with equal shifts share kernels, and 13 suits most (scales below 1/64).
USUAL_SHIFT = 13


@dataclass(frozen=True, eq=False)
class Proven:
    """One layer's sequence: equal to the reference for every accumulator of the layer.

    ``start`` is b, ``addend`` c; ``negative``, if not None, is added to c where a < 0. ``clamp_low`` and
    ``clamp_high``: the saturation to 8 bits does not make the clamp by itself. ``constant`` marks channels whose
    output no input changes: their m is 0, or (without c) their accumulator has to be ``start`` alone. ``cleared``: so
    many of the last bits of c are 0 where a < 0 (cleared.py). ``bare``: there is no c.
    """

    shift: int
    multiplier: Int64Array
    start: Int64Array
    addend: Int64Array
    negative: Int64Array | None
    constant: Bools
    clamp_low: bool
    clamp_high: bool
    thresholds: int
    cleared: int = 0
    bare: bool = False

    def of_all(self, channels: int) -> "Proven":
        """The sequence of one channel for so many, whose ranges lie in its own."""
        return replace(
            self,
            multiplier=np.repeat(self.multiplier, channels),
            start=np.repeat(self.start, channels),
            addend=np.repeat(self.addend, channels),
            negative=None if self.negative is None else np.repeat(self.negative, channels),
            constant=np.repeat(self.constant, channels),
        )

    def describe(self) -> str:
        """For the layer's head comment."""
        extra = [] if self.negative is None else ["constants by sign"]
        extra += ["bits of constants by sign"] if self.cleared else []
        extra += ["explicit clamp"] if self.clamp_low or self.clamp_high else []
        return f"proven at {self.thresholds} thresholds{', ' + ', '.join(extra) if extra else ''}"


class _Constants(NamedTuple):
    """For each channel: whether constants were found, and b, c and the c of negative accumulators."""

    found: Bools
    b: Int64Array
    c: Int64Array
    c_negative: Int64Array


def _constants(points: Points, m: Int64Array, scale: int, shift: int, form: "_Form", step: int) -> _Constants:
    """b (a multiple of ``step``) and c for given m, where there are any."""
    zero = np.zeros_like(m)
    if form is _Form.MULTIPLY:
        low, high = starts(points, m, zero, scale, shift)
        b, fits = multiple_in(low, high, step)
        return _Constants(fits, b, zero, zero)
    sides = [points.side(False), points.side(True)] if form is _Form.BY_SIGN else [points]
    intervals = [addends(side, m, scale, shift) for side in sides]
    c = [middle(*interval) for interval in intervals]
    free = [(low <= -FAR) & (high >= FAR) for low, high in intervals]
    if len(sides) == 2:
        # A side that constrains nothing takes the other side's constant.
        c = [np.where(free[0], c[1], c[0]), np.where(free[1], c[0], c[1])]
    fits = np.all([low <= high for low, high in intervals], axis=0)
    if fits.all():
        return _Constants(fits, zero, c[0], c[-1])
    # c moves a step by 1/m of an accumulator at best. Where that is too coarse, b places it finely.
    bounds = [starts(side, m, value, scale, shift) for side, value in zip(sides, c, strict=True)]
    low, high = np.max([x[0] for x in bounds], axis=0), np.min([x[1] for x in bounds], axis=0)
    if len(sides) == 2:
        low, high = np.maximum(low, 0), np.minimum(high, scale - 1)  # so that b changes no sign
    b, found = multiple_in(low, high, step)
    return _Constants(fits | found, np.where(fits, 0, b), c[0], c[-1])


class _Form(Enum):
    MULTIPLY = "multiply"
    ADD = "multiply and add"
    BY_SIGN = "multiply and add by sign"


def prove_multiply_add(
    requantization: StepFunction,
    span: AccumulatorRange,
    scale: int,
    offset: Int64Array | None = None,
    step: int = 1,
) -> Proven | None:
    """The sequence with SMMLA, in which constant channels' accumulators may be anything; None if not found.

    ``offset`` is added to a channel's outputs (128 where bytes are stored unsigned). b is a multiple of ``step``.
    """
    added = None if offset is None else tuple(offset.tolist())
    return _prove(requantization, span, scale, added, (_Form.ADD, _Form.BY_SIGN), step)


def prove_multiply(
    requantization: StepFunction, span: AccumulatorRange, scale: int, offset: Int64Array | None = None
) -> Proven | None:
    """The sequence with SMMUL: c is 0, and constant channels must have no weights; None if not found."""
    added = None if offset is None else tuple(offset.tolist())
    return _prove(requantization, span, scale, added, (_Form.MULTIPLY,))


@lru_cache(maxsize=256)
def _prove(
    requantization: StepFunction,
    span: AccumulatorRange,
    scale: int,
    offset: tuple[int, ...] | None,
    forms: tuple[_Form, ...],
    step: int = 1,
) -> Proven | None:
    steps = thresholds(requantization, span)
    base = np.zeros(len(span.low), np.int64) if offset is None else np.array(offset, np.int64)
    points = Points.at_steps(steps, base)
    constant: Bools = np.logical_not((points.needs_a & points.needs_b).any(axis=1))
    active = AccumulatorRange(np.where(constant, 0, span.low), np.where(constant, 0, span.high))
    if max(np.abs(end).max(initial=0) for end in active.ends) * scale > INT32_MAX:
        return None
    values = requantization.apply(span.low) + base
    real = np.where(constant, 0.0, np.broadcast_to(requantization.real_scales, base.shape))
    hardest: int | None = None
    for shift in shifts(real, scale):
        for form in forms:
            search = _Search(points, real, active, scale, shift, form, step)
            # The channel that ended a search mostly ends the next one too: it is looked at first.
            if hardest is not None and not search.has_some(hardest):
                continue
            found = search.nearest(~constant)
            if found.open.any():
                hardest = int(np.argmax(found.open))
                continue
            m, b, c, c_negative = found.m, found.b, found.c, found.c_negative
            if form is _Form.MULTIPLY:
                m[constant] = 1 << 30
                b[constant] = ((2 * values[constant] + 1) << (32 + shift)) >> 31
            else:
                m[constant], b[constant] = 0, 0
                c[constant] = c_negative[constant] = addend_of(values[constant], shift)
            ends = [high_word(scale * end + b, m) + np.where(end < 0, c_negative, c) for end in active.ends]
            if min(e.min(initial=0) for e in ends) < INT32_MIN or max(e.max(initial=0) for e in ends) > INT32_MAX:
                continue
            clamp_low, clamp_high = needed_clamps(requantization, *((end >> shift) - base for end in ends))
            return Proven(
                shift,
                m,
                b,
                c,
                c_negative - c if form is _Form.BY_SIGN else None,
                constant,
                clamp_low=clamp_low,
                clamp_high=clamp_high,
                thresholds=steps.at.size,
                bare=form is _Form.MULTIPLY,
            )
    return None


def addend_of(outputs: Int64Array, shift: int) -> Int64Array:
    """The c that gives these outputs whatever is computed: with m = 0, halfway to the next ones."""
    addend: Int64Array = ((2 * outputs + 1) << shift) >> 1
    return addend


def needed_clamps(requantization: StepFunction, low: Int64Array, high: Int64Array) -> tuple[bool, bool]:
    """Whether outputs have to be clamped from below and from above: channels whose least and greatest are these before
    that reach beyond a bound that is no bound of 8 bits."""
    least, most = requantization.minimum, requantization.maximum
    return least > INT8_MIN and bool((low < least).any()), most < INT8_MAX and bool((high > most).any())


def shifts(real: Float64Array, scale: int, usual: int = USUAL_SHIFT) -> Iterator[int]:
    """Shifts whose multipliers fit 31 bits, the usual one first, then by precision. ``real``: the channels' factors."""
    greatest = float(real.max(initial=0.0))
    limit = 24
    while limit > 0 and greatest * 2.0 ** (32 + limit) / scale >= 2.0**31 - 8:
        limit -= 1
    if limit >= usual:
        yield usual
    yield from (s for s in range(limit, 0, -1) if s != usual)


class _Search(NamedTuple):
    """What constants are looked for: channels' points and scales, the accumulators of those that are not constant, and
    a shift and a form of the sequence."""

    points: Points
    real: Float64Array
    span: AccumulatorRange
    scale: int
    shift: int
    form: _Form
    step: int

    def nearest(self, channels: Bools) -> ChannelConstants:
        """What is found for some channels, none of them constant: for each the m nearest to where it should be."""
        base = np.zeros(len(self.real), np.int64)
        base[channels] = self._multipliers(channels)
        found = ChannelConstants.begun(base, channels)
        for delta in NEAR:
            open_ = found.open.copy()
            if not open_.any():
                break
            m = np.maximum(base[open_] + delta, 1)
            k = self._fitting(open_, m)
            found.keep(np.flatnonzero(open_), k.found, m, k.b, k.c, k.c_negative)
        return found

    def has_some(self, channel: int) -> bool:
        """Whether anything would be found for a channel: each m of it is a row here."""
        one = np.array([channel])
        m = np.maximum(self._multipliers(one) + np.array(NEAR), 1)
        return bool(self._fitting(np.repeat(one, len(NEAR)), m).found.any())

    def _multipliers(self, channels: Any) -> Int64Array:
        """Where the m of each channel should be near."""
        base: Int64Array = np.rint(self.real[channels] * (2.0 ** (32 + self.shift) / self.scale)).astype(np.int64)
        if self.form is not _Form.MULTIPLY:
            return base
        return _roomiest(self.points.of(channels), base, self.scale, self.shift)

    def _fitting(self, channels: Any, m: Int64Array) -> _Constants:
        """The constants for given m of channels: found where all that is computed fits 32 bits besides."""
        k = _constants(self.points.of(channels), m, self.scale, self.shift, self.form, self.step)
        held = np.stack([*(self.scale * end[channels] + k.b for end in self.span.ends), k.c, k.c_negative])
        return k._replace(found=k.found & (m <= INT32_MAX) & (np.abs(held) <= INT32_MAX).all(axis=0))


def _roomiest(points: Points, base: Int64Array, scale: int, shift: int) -> Int64Array:
    """The m next to ``base`` that leaves b the widest interval.

    With u = 1/m, every threshold bounds b by a line in u, so the interval's width is concave in u: a ternary search
    finds its maximum. (b has a resolution of 1/scale accumulator, so the real slope itself seldom leaves room.)
    """
    edge = np.ldexp(points.least.astype(np.float64), 32 + shift)
    low, high = 1 / (base * 1.01 + 1), 1 / np.maximum(base * 0.99 - 1, 0.5)

    from_a = np.where(points.needs_a, -scale * points.a, -np.inf)
    from_b = np.where(points.needs_b, -scale * points.b, np.inf)

    def widths(*u: Float64Array) -> Float64Array:
        line = edge * np.stack(u)[..., None]
        least = (line + from_a).max(axis=-1, initial=-np.inf)
        most = (line + from_b).min(axis=-1, initial=np.inf)
        return np.asarray(most - least)

    for _ in range(36):
        third = (high - low) / 3
        near, far = widths(low + third, high - third)
        rising = near < far
        low, high = np.where(rising, low + third, low), np.where(rising, high, high - third)
    roomiest: Int64Array = np.rint(2 / (low + high)).astype(np.int64)
    return roomiest
