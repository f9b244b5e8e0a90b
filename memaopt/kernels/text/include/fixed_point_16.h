/* Sigmoids and hyperbolic tangents in 16 bits, as gemmlowp computes them, to the last bit. */
#ifndef MEMAOPT_FIXED_POINT_16_H
#define MEMAOPT_FIXED_POINT_16_H

#include <stdint.h>

#include "access.h"
#include "fixed_point.h"

static inline int32_t saturate_16(int32_t x)
{
    return clamp(x, INT16_MIN, INT16_MAX);
}

/* round(x * scale), ties away from zero, as TFLite's fully connected layer does with sums of 64 bits (see
   rescale_in_double). */
static inline int32_t rescale_wide_in_double(int64_t x, double scale)
{
    const double product = (double)x * scale;
    const double whole = (double)(int32_t)product;
    return (int32_t)whole + (product >= whole + 0.5 ? 1 : 0) - (product <= whole - 0.5 ? 1 : 0);
}

/* A table of 513 values between which int16 x are interpolated in 1/128. */
static inline int32_t interpolate_16(int32_t x, const int16_t *table)
{
    const int16_t *const at = table + 256 + (x >> 7);
    const int32_t base = load_s16(at);
    return base + (((load_s16(at + 1) - base) * (x & 0x7f) + 64) >> 7);
}

/* round(a * b / 2^15), ties up; not for a = b = INT16_MIN. */
static inline int32_t multiply_high_16(int32_t a, int32_t b)
{
    return (a * b + (1 << 14)) >> 15;
}

/* x times exp(-2^k), given as a factor in Q0.15, if that power is in the exponent. */
static inline int32_t times_if(int32_t x, int32_t bit, int32_t factor)
{
    return (bit & 1) != 0 ? multiply_high_16(x, factor) : x;
}

/* exp(x) in Q0.15 of x <= 0 with that many integer bits: a polynomial around -1/8 and the powers of 1/4. */
static inline int32_t exp_16(int32_t x, int32_t bits)
{
    const int32_t quarter = 1 << (13 - bits);
    const int32_t remainder = (x & (quarter - 1)) - quarter;
    const int32_t t = remainder * (1 << bits) + (1 << 12);
    const int32_t t2 = multiply_high_16(t, t);
    const int32_t tail = divide_by_power(multiply_high_16(t2, t2), 2) + multiply_high_16(t2, t);
    const int32_t polynomial = t + divide_by_power(multiply_high_16(tail, 10923) + t2, 1);
    const int32_t quarters = remainder - x;
    int32_t result = saturate_16(28918 + multiply_high_16(28918, polynomial));
    result = times_if(result, quarters >> (13 - bits), 25520);
    result = times_if(result, quarters >> (14 - bits), 19875);
    result = times_if(result, quarters >> (15 - bits), 12055);
    result = times_if(result, quarters >> (16 - bits), 4435);
    result = times_if(result, quarters >> (17 - bits), 600);
    result = times_if(result, quarters >> (18 - bits), 11);
    result = times_if(result, quarters >> (19 - bits), 0);
    return x == 0 ? INT16_MAX : result;
}

/* 1 / (1 + x), halved twice, of x in [0, 1) in Q0.15: three Newton-Raphson steps. */
static inline int32_t half_reciprocal_16(int32_t x)
{
    const int32_t half_denominator = (x + INT16_MAX + 1) >> 1;
    int32_t estimate = 23130 + multiply_high_16(half_denominator, -15420);
    NO_UNROLL
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 13) - multiply_high_16(half_denominator, estimate);
        estimate += saturate_16(multiply_high_16(estimate, error) * 4);
    }
    return estimate;
}

/* 1 / (1 + exp(-x)) in Q0.15 of x with 3 integer bits. */
static inline int32_t logistic_16(int32_t x)
{
    const int32_t positive = saturate_16(half_reciprocal_16(exp_16(x < 0 ? x : -x, 3)) * 2);
    return x == 0 ? 1 << 14 : x < 0 ? INT16_MAX - positive : positive;
}

/* tanh(x) in Q0.15 of x with that many integer bits. */
static inline int32_t tanh_16(int32_t x, int32_t bits)
{
    const int32_t positive = saturate_16((half_reciprocal_16(exp_16(x < 0 ? x : -x, bits + 1)) - (1 << 13)) * 4);
    return x == 0 ? 0 : x < 0 ? -positive : positive;
}

#endif
