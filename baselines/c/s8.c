/* s8 matrix products to compare with: TFLite's int8 1x1 CONV_2D, to the last bit. A[M][K] are the weights, B[N][K] and
 * C[N][M] activations (NHWC). Zero points are folded into the bias; the output's is 0, and nothing is clamped further.
 *
 * naive_s8:        three loops.
 * inner_s8_2x4x2:  inner products of 2 channels with 2 positions, 4 steps at a time: bytes are widened to pairs of
 *                  halfwords with SXTB16 and multiplied with SMLAD, as CMSIS-NN does.
 */
#include <arm_acle.h>
#include <stdint.h>

#define ALWAYS static inline __attribute__((always_inline))

typedef struct {
    int32_t bias;
    int32_t multiplier;
    int32_t left;
    int32_t right;
} channel;

void naive_s8(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, uint32_t n, const channel *channels);
void inner_s8_2x4x2(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, uint32_t n, const channel *channels);

ALWAYS int8_t saturate(int32_t value)
{
    int32_t result;
    __asm("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return (int8_t)result;
}

/* TFLite's MultiplyByQuantizedMultiplier: a rounding doubling high product, then a rounding shift (ties away from 0). */
ALWAYS int8_t requantise(int32_t sum, const channel *to)
{
    const int64_t shifted = (int32_t)((uint32_t)sum << to->left);
    const int32_t high = (int32_t)((shifted * to->multiplier + (1LL << 30)) >> 31);
    const int32_t mask = (int32_t)((1u << to->right) - 1u);
    const int32_t up = (high & mask) > (mask >> 1) + (high < 0 ? 1 : 0) ? 1 : 0;
    return saturate((high >> to->right) + up);
}

void naive_s8(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, uint32_t n, const channel *channels)
{
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t i = 0; i < m; i++) {
            int32_t sum = channels[i].bias;
            for (uint32_t p = 0; p < k; p++) {
                sum += a[i * k + p] * b[j * k + p];
            }
            c[j * m + i] = requantise(sum, &channels[i]);
        }
    }
}

/* Four bytes as one word; the address may be any. */
ALWAYS uint32_t word(const int8_t *p)
{
    uint32_t bytes;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return bytes;
}

/* Bytes 0 and 2, and bytes 1 and 3, as pairs of halfwords. */
ALWAYS int16x2_t even(uint32_t bytes)
{
    int16x2_t pair;
    __asm("sxtb16 %0, %1" : "=r"(pair) : "r"(bytes));
    return pair;
}

ALWAYS int16x2_t odd(uint32_t bytes)
{
    int16x2_t pair;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(bytes));
    return pair;
}

/* CHANNELS x POSITIONS inner products. */
ALWAYS void inner_tile(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, const channel *channels,
    const uint32_t rows, const uint32_t columns)
{
    const int8_t *a1 = a + k;
    const int8_t *b1 = b + k;
    int32_t s00 = channels[0].bias;
    int32_t s01 = s00;
    int32_t s10 = rows > 1 ? channels[1].bias : 0;
    int32_t s11 = s10;
    for (uint32_t p = k / 4; p > 0; p--) {
        const uint32_t a0w = word(a);
        const uint32_t b0w = word(b);
        const int16x2_t a0e = even(a0w);
        const int16x2_t a0o = odd(a0w);
        const int16x2_t b0e = even(b0w);
        const int16x2_t b0o = odd(b0w);
        s00 = __smlad(a0e, b0e, s00);
        s00 = __smlad(a0o, b0o, s00);
        int16x2_t a1e = 0;
        int16x2_t a1o = 0;
        if (rows > 1) {
            const uint32_t a1w = word(a1);
            a1e = even(a1w);
            a1o = odd(a1w);
            s10 = __smlad(a1e, b0e, s10);
            s10 = __smlad(a1o, b0o, s10);
            a1 += 4;
        }
        if (columns > 1) {
            const uint32_t b1w = word(b1);
            const int16x2_t b1e = even(b1w);
            const int16x2_t b1o = odd(b1w);
            s01 = __smlad(a0e, b1e, s01);
            s01 = __smlad(a0o, b1o, s01);
            if (rows > 1) {
                s11 = __smlad(a1e, b1e, s11);
                s11 = __smlad(a1o, b1o, s11);
            }
            b1 += 4;
        }
        a += 4;
        b += 4;
    }
    for (uint32_t p = 0; p < k % 4; p++) {
        s00 += a[p] * b[p];
        if (columns > 1) {
            s01 += a[p] * b1[p];
        }
        if (rows > 1) {
            s10 += a1[p] * b[p];
        }
        if (rows > 1 && columns > 1) {
            s11 += a1[p] * b1[p];
        }
    }
    c[0] = requantise(s00, &channels[0]);
    if (columns > 1) {
        c[m] = requantise(s01, &channels[0]);
    }
    if (rows > 1) {
        c[1] = requantise(s10, &channels[1]);
    }
    if (rows > 1 && columns > 1) {
        c[m + 1] = requantise(s11, &channels[1]);
    }
}

void inner_s8_2x4x2(
    const int8_t *a, const int8_t *b, int8_t *c, uint32_t m, uint32_t k, uint32_t n, const channel *channels)
{
    for (uint32_t j = 0; j < n; j += 2, b += 2 * k, c += 2 * m) {
        uint32_t i = 0;
        if (j + 1 < n) {
            for (; i + 1 < m; i += 2) {
                inner_tile(a + i * k, b, c + i, m, k, channels + i, 2, 2);
            }
            if (i < m) {
                inner_tile(a + i * k, b, c + i, m, k, channels + i, 1, 2);
            }
        } else {
            for (; i + 1 < m; i += 2) {
                inner_tile(a + i * k, b, c + i, m, k, channels + i, 2, 1);
            }
            if (i < m) {
                inner_tile(a + i * k, b, c + i, m, k, channels + i, 1, 1);
            }
        }
    }
}
