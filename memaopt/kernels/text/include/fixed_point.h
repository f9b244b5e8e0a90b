/* Integer arithmetic of TFLite's layers, to the last bit. */
#ifndef MEMAOPT_FIXED_POINT_H
#define MEMAOPT_FIXED_POINT_H

#include <stdint.h>

#include "compiler.h"

static inline int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* round(a * b / 2^31), ties up; not for a = b = INT32_MIN. */
static inline int32_t multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* round(x / 2^e), ties away from zero. */
static inline int32_t divide_by_power(int32_t x, int32_t e)
{
    const int32_t mask = (int32_t)((1u << e) - 1u);
    const int32_t remainder = x & mask;
    return (x >> e) + (remainder > (mask >> 1) + (x < 0 ? 1 : 0) ? 1 : 0);
}

/* x * multiplier * 2^(shift - 31), rounded twice, as TFLite's convolutions do. */
static inline int32_t rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return divide_by_power(multiply_high((int32_t)((uint32_t)x << left), multiplier), right);
}

/* round(x * scale), ties away from zero, as TFLite's fully connected layer does. The product is only compared: a
   compiler that may fuse it with a sum would round once where TFLite rounds twice. */
static inline int32_t rescale_in_double(int32_t x, double scale)
{
    const double product = (double)x * scale;
    const double whole = (double)(int32_t)product;
    return (int32_t)whole + (product >= whole + 0.5 ? 1 : 0) - (product <= whole - 0.5 ? 1 : 0);
}

/* round(x * scale) of a product in float, ties to even, as ONNX's integer operators do; only compared, as above. */
static inline int32_t rescale_to_even(int32_t x, float scale)
{
    const float product = (float)x * scale;
    const int32_t whole = (int32_t)product;
    const float above = (float)whole + 0.5f;
    const float below = (float)whole - 0.5f;
    const int32_t odd = whole & 1;
    return whole + (product > above || (product >= above && odd) ? 1 : 0) -
           (product < below || (product <= below && odd) ? 1 : 0);
}

/* x, but no farther from 0 than a power of two, and 0 if it is no number. */
static inline float kept_within(float x, int32_t far)
{
    return x > (float)far ? (float)far : x >= -(float)far ? x : x < -(float)far ? -(float)far : 0.0f;
}

/* round(x), ties away from zero, of what is kept within so many either way. */
static inline int32_t rounded_away(float x, int32_t far)
{
    const float kept = kept_within(x, far);
    const int32_t whole = (int32_t)kept;
    const float rest = kept - (float)whole;
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

/* The same, ties to even. */
static inline int32_t rounded_to_even(float x, int32_t far)
{
    const float kept = kept_within(x, far);
    const int32_t whole = (int32_t)kept;
    const float rest = kept - (float)whole;
    const int32_t odd = whole & 1;
    return whole + (rest > 0.5f || (rest >= 0.5f && odd) ? 1 : 0) - (rest < -0.5f || (rest <= -0.5f && odd) ? 1 : 0);
}

/* The zeros above the top set bit of x != 0. */
static inline int32_t leading_zeros(uint32_t x)
{
#if defined(__GNUC__)
    return (int32_t)__builtin_clz((unsigned int)x);
#else
    int32_t n = 0;
    while (x < 0x80000000u) {
        x <<= 1;
        n++;
    }
    return n;
#endif
}

static inline int32_t shift_left_saturating(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * ((int64_t)1 << bits);
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* 1 / (1 + x) in Q0.31 of x in [0, 1), also Q0.31: three Newton-Raphson steps from 48/17 - 32/17 d. */
static inline int32_t one_over_one_plus(int32_t x)
{
    const int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int32_t estimate = 1515870810 + multiply_high(half_denominator, -1010580540);
    NO_UNROLL
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - multiply_high(half_denominator, estimate);
        estimate += shift_left_saturating(multiply_high(estimate, error), 2);
    }
    return shift_left_saturating(estimate, 1);
}

/* round(round(scale * x / 2^32) / 2^exponent) up to 255, where half is 2^(exponent - 1), exponent 1 to 30. */
static inline uint32_t softmax_byte(uint32_t scale, uint32_t x, uint32_t half, int32_t exponent)
{
    const uint32_t product = (uint32_t)(((uint64_t)scale * x + 0x80000000u) >> 32);
    const uint32_t output = (product + half) >> exponent;
    return output < 255 ? output : 255;
}

static inline int32_t least_of(int32_t a, int64_t b)
{
    return b < a ? (int32_t)b : a;
}

/* log(x) in Q5.26 of x >= 1 in Q12.19: x = r * 2^n, r near the fourth root of 1/2, n in quarters and Q6.25, and log(r) a
   rational function of how far r lies from that root. */
static inline int32_t log_of_sum(int32_t x)
{
    const int32_t root = 1805811301;
    const int32_t zeros = leading_zeros((uint32_t)x);
    const int32_t lower = multiply_high(x, 1518500250);
    const int32_t headroom = leading_zeros((uint32_t)lower) - 1;
    const int64_t first = (int64_t)multiply_high((int32_t)((uint32_t)x << (zeros - 1)), 1518500250) * 2;
    const int32_t r = least_of(least_of(INT32_MAX, first), (int64_t)x << headroom);
    const int32_t above = (12 - zeros) * (1 << 25) + (1 << 23);
    const int32_t below = (12 - headroom) * (1 << 25) - (1 << 23);
    const int32_t power = above > below ? above : below;
    const int32_t middle = (int32_t)(((int64_t)r + root + 1) >> 1);
    const int32_t q = 2 * (r - root);
    const int32_t square = multiply_high(q, q);
    const int32_t numerator = multiply_high(q, r) + multiply_high(multiply_high(q, square), 117049297);
    const int32_t factor = 1057819769 + q + multiply_high(127690142, square);
    const int32_t denominator = multiply_high(middle, factor) + multiply_high(638450708, q);
    const int32_t fraction = multiply_high(divide_by_power(numerator, 6), one_over_one_plus(denominator));
    return shift_left_saturating(multiply_high(power, 1488522236) + fraction, 1);
}

/* The multiplier and the shift of 1 / sqrt(x) of 0 <= x < 2^29, of 0 those of 1: five Newton-Raphson steps on x / 4^k in
 * [1/4, 1), with 3 integer bits. */
static inline int32_t inverse_root(int32_t x, int32_t *shift)
{
    if (x <= 1) {
        *shift = 0;
        return INT32_MAX;
    }
    const int32_t pairs = (leading_zeros((uint32_t)x) - 1) / 2 - 1;
    const int32_t half = divide_by_power((x << (2 * pairs)) >> 1, 1);
    int32_t root = 1 << 28;
    NO_UNROLL
    for (int32_t i = 0; i < 5; i++) {
        const int32_t cube = shift_left_saturating(multiply_high(multiply_high(root, root), root), 6);
        const int32_t step = multiply_high((1 << 28) + (1 << 27), root) - multiply_high(half, cube);
        root = shift_left_saturating(step, 3);
    }
    *shift = pairs - 11;
    return multiply_high(root, 1518500250);
}

/* The nearest integer, ties away from zero: division truncates. */
static inline int32_t divide_rounding(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

/* a / b * multiplier * 2^(shift - 31) of 9 bits each, as TFLite Micro divides: the reciprocal of b in Q0.31, times a
   shifted as far left as it goes. 0 where b is 0, and where the last shift would be beyond 31 bits. */
static inline int32_t divide_rescaled(int32_t a, int32_t b, int32_t multiplier, int32_t shift)
{
    const int32_t numerator = b < 0 ? -a : a;
    const int32_t divisor = b < 0 ? -b : b;
    const uint32_t bits = (uint32_t)(numerator < 0 ? ~numerator : numerator);
    const int32_t headroom = bits != 0 ? leading_zeros(bits) - 1 : 31;
    const int32_t zeros = divisor != 0 ? leading_zeros((uint32_t)divisor) : 0;
    const int32_t right = headroom + 31 - zeros - shift;
    if (divisor == 0 || right > 31) {
        return 0;
    }
    const int32_t reciprocal = one_over_one_plus((int32_t)(((uint32_t)divisor << zeros) - 0x80000000u));
    const int32_t unscaled = multiply_high((int32_t)((uint32_t)numerator << headroom), reciprocal);
    return divide_by_power(multiply_high(unscaled, multiplier), right);
}

#endif
