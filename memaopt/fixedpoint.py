"""The one fixed-point arithmetic: TFLite's int8 requantisation and the q15 rounding, on numpy integers.

Everything is computed in int64 from int32 values and is exact. Names follow TFLite's and gemmlowp's.
"""

import math

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
IntLike = npt.ArrayLike

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def saturating_rounding_doubling_high_mul(a: IntLike, b: IntLike) -> Int64Array:
    """round(a * b / 2^31), ties towards plus infinity, saturated to int32 (a = b = INT32_MIN).

    gemmlowp's SRDHM truncates ``(a*b + nudge) / 2^31`` with a nudge of 2^30 or 1 - 2^30 by sign, which equals
    floor((a*b + 2^30) / 2^31) for every product.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, INT32_MAX)


def rounding_divide_by_pot(x: IntLike, exponent: IntLike) -> Int64Array:
    """round(x / 2^exponent), ties away from zero (gemmlowp's RoundingDivideByPOT); exponent >= 0."""
    x64, e = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << e) - 1
    remainder = x64 & mask
    threshold = (mask >> 1) + (x64 < 0)
    return (x64 >> e) + (remainder > threshold)


def wrap_int32(x: IntLike) -> Int64Array:
    """x modulo 2^32, as a signed 32-bit value: what a 32-bit register holds."""
    return ((np.asarray(x, np.int64) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def multiply_by_quantized_multiplier(x: IntLike, multiplier: IntLike, shift: IntLike) -> Int64Array:
    """x * multiplier * 2^(shift - 31), rounded twice: TFLite's CONV_2D and DEPTHWISE_CONV_2D.

    ``shift`` > 0 shifts left before the multiplication, < 0 right after it.
    """
    s = np.asarray(shift, np.int64)
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    shifted = wrap_int32(np.asarray(x, np.int64) << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def multiply_by_quantized_multiplier_single_rounding(
    x: IntLike, multiplier: IntLike, shift: IntLike
) -> Int64Array:
    """x * multiplier * 2^(shift - 31), rounded once, ties towards plus infinity: TFLite's FULLY_CONNECTED."""
    total = 31 - np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    return (product + (np.int64(1) << (total - 1))) >> total


def quantize_multiplier(scale: float) -> tuple[int, int]:
    """The int32 multiplier in [2^30, 2^31) and the shift with scale ~ multiplier * 2^(shift - 31).

    TFLite's QuantizeMultiplier: zero gives (0, 0), and anything below 2^-31 is flushed to it.
    """
    if scale == 0.0:
        return 0, 0
    mantissa, shift = math.frexp(scale)
    multiplier = math.floor(mantissa * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def round_q15(accumulator: IntLike) -> Int64Array:
    """A 2.30 accumulator (modulo 2^32) as q15: round to nearest, ties up, saturated to 16 bits."""
    rounded = wrap_int32(np.asarray(accumulator, np.int64) + (1 << 14)) >> 15
    return np.clip(rounded, -(1 << 15), (1 << 15) - 1)
