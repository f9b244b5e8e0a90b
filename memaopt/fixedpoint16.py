"""Fixed point in 16 bits: sigmoids and hyperbolic tangents as gemmlowp has them, tables and rescaling as of 16x8.

Everything is computed in int64 from int16 values and is exact. Constants are those of :mod:`.fixedpoint`, rounded to
16 bits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from memaopt.fixedpoint import Int64Array, IntLike, round_half_away_from_zero, rounding_divide_by_pot

INT16_MIN, INT16_MAX = -(1 << 15), (1 << 15) - 1

# exp(-2^k) in Q0.15 for k = -2 .. 4, and the constants of the polynomial and of the Newton iteration below.
_EXP_OF_MINUS_POWERS = (25520, 19875, 12055, 4435, 600, 11, 0)
_EXP_MINUS_ONE_EIGHTH, _ONE_THIRD = 28918, 10923
_48_OVER_17, _MINUS_32_OVER_17 = 23130, -15420
MOST_BITS = 4
"""Integer bits of a tangent's argument, which has one more as that of the exponential."""


STEPS = 512
"""Of a table that is interpolated: it has a value more."""


def saturate(x: IntLike) -> Int64Array:
    """The nearest int16."""
    clipped: Int64Array = np.clip(np.asarray(x, np.int64), INT16_MIN, INT16_MAX)
    return clipped


def _high_mul(a: IntLike, b: IntLike) -> Int64Array:
    """round(a * b / 2^15), ties up, saturated."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    result: Int64Array = np.minimum((product + (1 << 14)) >> 15, INT16_MAX)
    return result


def _exp_on_negative_values(x: Int64Array, bits: int) -> Int64Array:
    """exp(x) in Q0.15 of x <= 0 with that many integer bits; see fixedpoint.exp_on_negative_values."""
    quarter = 1 << (13 - bits)
    remainder = (x & (quarter - 1)) - quarter
    t = saturate(remainder << bits) + (1 << 12)
    t2 = _high_mul(t, t)
    tail = rounding_divide_by_pot(_high_mul(t2, t2), 2) + _high_mul(t2, t)
    polynomial = t + rounding_divide_by_pot(_high_mul(tail, _ONE_THIRD) + t2, 1)
    result = saturate(_EXP_MINUS_ONE_EIGHTH + _high_mul(_EXP_MINUS_ONE_EIGHTH, polynomial))
    quarters = remainder - x
    for k, factor in enumerate(_EXP_OF_MINUS_POWERS):
        result = np.where((quarters >> (13 - bits + k)) & 1, _high_mul(result, factor), result)
    return np.where(x == 0, INT16_MAX, result)


def _half_reciprocal(x: Int64Array) -> Int64Array:
    """1 / (1 + x), halved twice, of x in [0, 1) in Q0.15: three Newton-Raphson steps."""
    half_denominator = (x + INT16_MAX + 1) >> 1
    estimate = _48_OVER_17 + _high_mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 13) - _high_mul(half_denominator, estimate)
        estimate = estimate + saturate(_high_mul(estimate, error) << 2)
    return estimate


def logistic(x: IntLike) -> Int64Array:
    """1 / (1 + exp(-x)) in Q0.15 of x with 3 integer bits."""
    values = np.asarray(x, np.int64)
    positive = saturate(_half_reciprocal(_exp_on_negative_values(-np.abs(values), 3)) << 1)
    found: Int64Array = np.where(values < 0, INT16_MAX - positive, positive)
    return np.where(values == 0, 1 << 14, found)


def tanh(x: IntLike, bits: int) -> Int64Array:
    """tanh(x) in Q0.15 of x with so many integer bits, 0 to MOST_BITS."""
    values = np.asarray(x, np.int64)
    exponential = _exp_on_negative_values(saturate(-np.abs(values)), bits + 1)
    positive = saturate((_half_reciprocal(exponential) - (1 << 13)) << 2)
    return np.sign(values) * np.where(values == 0, 0, positive)


def multiply_wide(x: IntLike, multiplier: IntLike, shift: IntLike) -> Int64Array:
    """x * multiplier * 2^(shift - 31) of up to 48 bits, rounded once, ties up, by the multiplier's upper 16 bits."""
    m, right = np.asarray(multiplier, np.int64), 15 - np.asarray(shift, np.int64)
    reduced = np.where(m < 0x7FFF0000, (m + (1 << 15)) >> 16, INT16_MAX)
    rounded: Int64Array = (np.asarray(x, np.int64) * reduced + (np.int64(1) << (right - 1))) >> right
    return rounded


def interpolated(x: IntLike, table: Int64Array) -> Int64Array:
    """A table of STEPS + 1 values, between which int16 are interpolated in 1/128."""
    values = np.asarray(x, np.int64)
    at = 256 + (values >> 7)
    found: Int64Array = table[at] + (((table[at + 1] - table[at]) * (values & 0x7F) + 64) >> 7)
    return found


def table(scale: float, zero_point: int, output_scale: float, function: Callable[[Any], Any]) -> Int64Array:
    """A function of scale * (x - zero point), for every 128th int16 x, in steps of the output's scale.

    As LUTPopulateInt16: each value is moved by half of what interpolation would be wrong by in the middle behind it.
    """
    least, most = (scale * (end - zero_point) for end in (INT16_MIN, INT16_MAX))
    step, steps = (most - least) / STEPS, float(1 << 16) / (output_scale * (INT16_MAX - INT16_MIN))
    at = least + np.arange(STEPS) * step
    values, middles, following = (function(x) * steps for x in (at, at + step / 2, at + step))
    rounded = round_half_away_from_zero(values)
    wrong = round_half_away_from_zero((following + rounded) / 2) - round_half_away_from_zero(middles)
    last = round_half_away_from_zero(np.atleast_1d(function(np.float64(most)) * steps))
    return saturate(np.concatenate([rounded - round_half_away_from_zero(wrong / 2), last]))
