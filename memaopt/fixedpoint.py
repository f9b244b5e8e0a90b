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
    result: Int64Array = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return result


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


def quantize_multipliers(scales: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
    """:func:`quantize_multiplier` of each (double) scale, as arrays of multipliers and shifts.

    A negative scale gives a negative multiplier (LEAKY_RELU's alpha may be negative).
    """
    values = np.asarray(scales, np.float64)
    mantissa, exponent = np.frexp(np.abs(values))
    multiplier = np.floor(mantissa * (1 << 31) + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    carried = multiplier == 1 << 31
    multiplier, shift = np.where(carried, multiplier // 2, multiplier), shift + carried
    flushed = (values == 0.0) | (shift < -31)
    return np.where(flushed, 0, multiplier * np.sign(values).astype(np.int64)), np.where(flushed, 0, shift)


def round_half_away_from_zero(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """C's round(): the nearest integer, ties away from zero, exact for every double."""
    values = np.asarray(x, np.float64)
    truncated = np.trunc(values)
    rounded: npt.NDArray[np.float64] = truncated + np.copysign(np.abs(values - truncated) >= 0.5, values)
    return rounded


def quantized(x: npt.ArrayLike, scale: float, zero_point: int, bits: int = 8, *, even: bool = False) -> Int64Array:
    """round(x / scale) + zero_point of float32, ties away from zero or to even, saturated to so many bits. What is no
    number is the zero point, and beyond 32 bits it saturates (TFLite leaves both undefined).
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        steps = np.nan_to_num(np.asarray(x, np.float32) / np.float32(scale), nan=0.0)
    kept = np.clip(steps, -(2.0**31), 2.0**31)
    rounded = (np.rint(kept) if even else round_half_away_from_zero(kept)).astype(np.int64)
    found: Int64Array = np.clip(rounded + zero_point, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return found


def requantize_in_double(x: IntLike, scale: npt.ArrayLike) -> Int64Array:
    """round(x * scale) in double precision, ties away from zero: TFLite's reference FULLY_CONNECTED.

    ``scale`` is the double input_scale * weights_scale / output_scale; |x * scale| must stay below 2^31.
    """
    product = np.asarray(x, np.int64).astype(np.float64) * np.asarray(scale, np.float64)
    return round_half_away_from_zero(product).astype(np.int64)


def requantize_to_even(x: IntLike, scale: npt.ArrayLike) -> Int64Array:
    """round(x * scale), the product in float32, ties to even: what ONNX's integer operators do of an accumulator.

    ``scale`` is a float32 (of any type); |x * scale| must stay below 2^31.
    """
    product = np.asarray(x, np.int64).astype(np.float32) * np.asarray(scale, np.float32)
    return np.rint(product).astype(np.int64)


def round_q15(accumulator: IntLike) -> Int64Array:
    """A 2.30 accumulator (modulo 2^32) as q15: round to nearest, ties up, saturated to 16 bits."""
    rounded = wrap_int32(np.asarray(accumulator, np.int64) + (1 << 14)) >> 15
    saturated: Int64Array = np.clip(rounded, -(1 << 15), (1 << 15) - 1)
    return saturated


# exp(-2^k) in Q0.31 for k = -2 .. 4, and the constants of the polynomial and of the Newton iteration below.
_EXP_OF_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_MINUS_ONE_EIGHTH, _ONE_THIRD = 1895147668, 715827883
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540
_HALF_ROOT_2 = 1518500250

# In Q0.31: log 2 and the fourth root of 1/2; with f the fourth root of 2, 11/240 f, f/20, 2/f - f and f/4.
_LOG_2, _FOURTH_ROOT_HALF = 1488522236, 1805811301
_CUBED, _SQUARED, _CONSTANT, _LINEAR = 117049297, 127690142, 1057819769, 638450708


def _saturating_shift_left(x: Int64Array, bits: int) -> Int64Array:
    saturated: Int64Array = np.clip(x << bits, INT32_MIN, INT32_MAX)
    return saturated


def exp_on_negative_values(x: IntLike, integer_bits: int = 5) -> Int64Array:
    """exp(x) in Q0.31 of x <= 0 with that many integer bits, as gemmlowp computes it for SOFTMAX.

    x = r - n/4 with r in [-1/4, 0): a fourth-order Taylor polynomial around -1/8 gives exp(r), and each
    bit of n multiplies by its exp(-2^k).
    """
    q = np.asarray(x, np.int64)
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    remainder = (q & (quarter - 1)) - quarter
    t = _saturating_shift_left(remainder, integer_bits) + (1 << 28)
    t2 = saturating_rounding_doubling_high_mul(t, t)
    t3 = saturating_rounding_doubling_high_mul(t2, t)
    t4_over_4 = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(t2, t2), 2)
    tail = saturating_rounding_doubling_high_mul(t4_over_4 + t3, _ONE_THIRD) + t2
    polynomial = t + rounding_divide_by_pot(tail, 1)
    result = _EXP_MINUS_ONE_EIGHTH + saturating_rounding_doubling_high_mul(_EXP_MINUS_ONE_EIGHTH, polynomial)
    quarters = remainder - q
    for k, factor in enumerate(_EXP_OF_MINUS_POWERS, start=-2):
        if integer_bits > k:
            bit = (quarters >> (fractional_bits + k)) & 1
            result = np.where(bit, saturating_rounding_doubling_high_mul(result, factor), result)
    return np.where(q == 0, INT32_MAX, result)


def one_over_one_plus_x(x: IntLike) -> Int64Array:
    """1 / (1 + x) in Q0.31 of x in [0, 1), also Q0.31: gemmlowp's three Newton-Raphson steps."""
    half_denominator = (np.asarray(x, np.int64) + INT32_MAX + 1) >> 1
    estimate = _48_OVER_17 + saturating_rounding_doubling_high_mul(half_denominator, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - saturating_rounding_doubling_high_mul(half_denominator, estimate)
        correction = saturating_rounding_doubling_high_mul(estimate, error)
        estimate = estimate + _saturating_shift_left(correction, 2)
    return _saturating_shift_left(estimate, 1)


def inverse_square_root(x: int) -> tuple[int, int]:
    """The multiplier and shift of 1 / sqrt(x), x > 0, as TFLite computes it: five Newton steps from 1 on
    x / 4^k in [1/4, 1), with 3 integer bits. 1 has the multiplier 2^31 - 1.
    """
    if x == 1:
        return INT32_MAX, 0
    pairs = (31 - x.bit_length()) // 2 - 1
    half = rounding_divide_by_pot(x << 2 * pairs >> 1, 1)
    three_halves, root = (1 << 28) + (1 << 27), np.asarray(1 << 28, np.int64)
    high_mul = saturating_rounding_doubling_high_mul
    for _ in range(5):
        cube = _saturating_shift_left(high_mul(high_mul(root, root), root), 6)
        root = _saturating_shift_left(high_mul(three_halves, root) - high_mul(half, cube), 3)
    return int(high_mul(root, _HALF_ROOT_2)), pairs - 11


def log_of_sum(x: IntLike) -> Int64Array:
    """log(x) in Q5.26 of x >= 1 in Q12.19, as TFLite computes it for LOG_SOFTMAX.

    x = r * 2^n, r within a factor of the fourth root of 2 around the fourth root of 1/2 (times a quarter's power):
    log(r) is a rational function of how far r lies from it, and n counts quarters of a power of 2, all in Q6.25.
    """
    value, high_mul = np.asarray(x, np.int64), saturating_rounding_doubling_high_mul
    zeros = 32 - np.frexp(value.astype(np.float64))[1].astype(np.int64)
    shifted = high_mul(value << (zeros - 1), _HALF_ROOT_2) << 1
    headroom = 31 - np.frexp(high_mul(value, _HALF_ROOT_2).astype(np.float64))[1].astype(np.int64)
    r = np.minimum(np.minimum(shifted, value << headroom), INT32_MAX)
    quarter = 1 << 23
    power = np.maximum(((12 - zeros) << 25) + quarter, ((12 - headroom) << 25) - quarter)
    middle, q = (r + _FOURTH_ROOT_HALF + 1) >> 1, 2 * (r - _FOURTH_ROOT_HALF)
    square = high_mul(q, q)
    numerator = high_mul(q, r) + high_mul(high_mul(q, square), _CUBED)
    denominator = high_mul(middle, _CONSTANT + q + high_mul(_SQUARED, square)) + high_mul(_LINEAR, q)
    fraction = high_mul(rounding_divide_by_pot(numerator, 6), one_over_one_plus_x(denominator))
    return _saturating_shift_left(high_mul(power, _LOG_2) + fraction, 1)
