/* Armv7E-M's instructions on bytes and halfwords: ACLE's intrinsics where there are any, else plain C of the same bits. */
#ifndef MEMAOPT_SIMD_H
#define MEMAOPT_SIMD_H

#include <stdint.h>

#if defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#define MEMAOPT_SIMD 1
#else
#define MEMAOPT_SIMD 0
#endif

/* Four bytes as a little-endian word; nothing need be aligned. */
static inline uint32_t load_word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline int32_t low_half(uint32_t x)
{
    return (int16_t)(uint16_t)x;
}

static inline int32_t high_half(uint32_t x)
{
    return (int16_t)(uint16_t)(x >> 16);
}

/* SMLAD: both products of signed halfwords, added modulo 2^32. */
static inline int32_t smlad(uint32_t x, uint32_t y, int32_t acc)
{
#if MEMAOPT_SIMD
    return __smlad((int16x2_t)x, (int16x2_t)y, acc);
#else
    const uint32_t low = (uint32_t)(low_half(x) * low_half(y)), high = (uint32_t)(high_half(x) * high_half(y));
    return (int32_t)((uint32_t)acc + low + high);
#endif
}

/* UXTB16: bytes 0 and 2, each in a halfword. */
static inline uint32_t uxtb16(uint32_t x)
{
    return x & 0x00FF00FFu;
}

static inline uint32_t pack_halves(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

/* SXTB16: bytes 0 and 2, each with its sign in a halfword. */
static inline uint32_t sxtb16(uint32_t x)
{
    return pack_halves((int8_t)(uint8_t)x, (int8_t)(uint8_t)(x >> 16));
}

/* Four bytes of an activation, aligned to 4, in one access. */
static inline uint32_t load_four(const int8_t *p)
{
#if MEMAOPT_SIMD
    return *(const volatile uint32_t *)(const volatile void *)p;
#else
    return load_word((const uint8_t *)p);
#endif
}

/* Four bytes of an activation, aligned to 4, written in one access. */
static inline void store_four(int8_t *p, uint32_t bytes)
{
#if MEMAOPT_SIMD
    *(volatile uint32_t *)(volatile void *)p = bytes;
#else
    for (int32_t i = 0; i < 4; i++) {
        p[i] = (int8_t)(uint8_t)(bytes >> 8 * i);
    }
#endif
}

/* The same at any address, which the chip's single loads and stores may have and a pointer to words may not. */
static inline uint32_t load_four_anywhere(const int8_t *p)
{
#if MEMAOPT_SIMD && defined(__GNUC__)
    uint32_t four;
    __asm__ volatile("ldr %0, [%1]" : "=r"(four) : "r"(p), "m"(*(const int8_t(*)[4])p));
    return four;
#else
    return load_word((const uint8_t *)p);
#endif
}

static inline void store_four_anywhere(int8_t *p, uint32_t bytes)
{
#if MEMAOPT_SIMD && defined(__GNUC__)
    __asm__ volatile("str %2, [%1]" : "=m"(*(int8_t(*)[4])p) : "r"(p), "r"(bytes));
#else
    for (int32_t i = 0; i < 4; i++) {
        p[i] = (int8_t)(uint8_t)(bytes >> 8 * i);
    }
#endif
}

/* SXTAB16: bytes 0 and 2 of y, each with its sign, added to the halves of x. */
static inline uint32_t sxtab16(uint32_t x, uint32_t y)
{
#if MEMAOPT_SIMD
    return (uint32_t)__sxtab16((int16x2_t)x, (int8x4_t)y);
#else
    return pack_halves(low_half(x) + (int8_t)(uint8_t)y, high_half(x) + (int8_t)(uint8_t)(y >> 16));
#endif
}

/* The greater of two signed bytes, four times: SSUB8 and SEL. */
static inline uint32_t greater_bytes(uint32_t x, uint32_t y)
{
#if MEMAOPT_SIMD
    (void)__ssub8((int8x4_t)x, (int8x4_t)y);
    return (uint32_t)__sel((uint8x4_t)x, (uint8x4_t)y);
#else
    uint32_t greater = 0;
    for (int32_t shift = 0; shift < 32; shift += 8) {
        const int32_t a = (int8_t)(uint8_t)(x >> shift), b = (int8_t)(uint8_t)(y >> shift);
        greater |= (uint32_t)(uint8_t)(a > b ? a : b) << shift;
    }
    return greater;
#endif
}

/* USADA8: the sum of four unsigned bytes, added. */
static inline uint32_t sum_of_bytes(uint32_t x, uint32_t sum)
{
#if MEMAOPT_SIMD
    return __usada8((uint8x4_t)x, (uint8x4_t)0u, sum);
#else
    return sum + (x & 0xFF) + (x >> 8 & 0xFF) + (x >> 16 & 0xFF) + (x >> 24);
#endif
}

/* Where element k of a row lies that is packed in fours of elements 0, 2, 1, 3, as SXTAB16 takes words apart. */
static inline int32_t in_fours(int32_t k)
{
    return (k & ~3) | (k & 1) << 1 | (k >> 1 & 1);
}

/* SSAT: the nearest int8. GCC's intrinsic warns of conversions within itself. */
static inline int32_t saturated(int32_t x)
{
#if MEMAOPT_SIMD && defined(__GNUC__)
    int32_t nearest;
    __asm__("ssat %0, #8, %1" : "=r"(nearest) : "r"(x));
    return nearest;
#else
    return x < INT8_MIN ? INT8_MIN : x > INT8_MAX ? INT8_MAX : x;
#endif
}

/* SMMLA: the high word of a * b, plus c. */
static inline int32_t smmla(int32_t a, int32_t b, int32_t c)
{
    return c + (int32_t)(((int64_t)a * b) >> 32);
}

/* SMMLAR: the same, rounded to nearest. */
static inline int32_t smmlar(int32_t a, int32_t b, int32_t c)
{
    return c + (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
}

/* 256 times accumulator i of four, of which the sums are s[j] = 256 acc[j] + acc[j + 1] modulo 2^32. With a correction
 * the accumulators start at numbers that are no multiples of 256. */
static inline int32_t unchained(const int32_t *s, int32_t correction, int32_t i)
{
    const uint32_t last = ((uint32_t)s[2] - ((uint32_t)s[1] << 8) + ((uint32_t)s[0] << 16)) << 8;
    int32_t y = (int32_t)(last + (uint32_t)correction);
    for (int32_t j = 2; j >= i; j--) {
        y = (int32_t)((uint32_t)s[j] - (uint32_t)(y >> 8));
    }
    return y;
}

/* SMLAWB: the upper 32 of the 48 bits of a * b, for a b of 16 bits, plus c. */
static inline int32_t multiply_wide(int32_t a, int32_t b, int32_t c)
{
    return c + (int32_t)(((int64_t)a * b) >> 16);
}

#endif
