/* f32 matrix products to compare with: C[M][N] = A[M][K] B[K][N], all row-major.
 *
 * naive_f32:        three loops.
 * inner_f32_2x8x2:  inner products of 2 rows with 2 columns, 8 steps of the reduction unrolled.
 * outer_f32_5x1x5:  the outer-product kernel of the MEMA paper (arXiv 2304.05544): 25 sums, a row of 5 elements
 *                   of B and one element of A are 31 of the 32 registers; each product is one VFMA.
 */
#include <stdint.h>

#define ALWAYS static inline __attribute__((always_inline))

/* sum + a b in one VFMA. Clang takes the builtin for a call unless the product may be fused. */
ALWAYS float fused(float a, float b, float sum)
{
#if defined(__clang__)
#pragma STDC FP_CONTRACT ON
    return a * b + sum;
#else
    return __builtin_fmaf(a, b, sum);
#endif
}

void naive_f32(const float *a, const float *b, float *c, uint32_t m, uint32_t k, uint32_t n);
void inner_f32_2x8x2(const float *a, const float *b, float *c, uint32_t m, uint32_t k, uint32_t n);
void outer_f32_5x1x5(const float *a, const float *b, float *c, uint32_t m, uint32_t k, uint32_t n);

void naive_f32(const float *a, const float *b, float *c, uint32_t m, uint32_t k, uint32_t n)
{
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t j = 0; j < n; j++) {
            float sum = 0.0F;
            for (uint32_t p = 0; p < k; p++) {
                sum += a[i * k + p] * b[p * n + j];
            }
            c[i * n + j] = sum;
        }
    }
}

/* ROWS x COLUMNS inner products. */
ALWAYS void inner_tile(
    const float *a, const float *b, float *c, uint32_t k, uint32_t n, const uint32_t rows, const uint32_t columns)
{
    const float *const a1 = a + k;
    float s00 = 0.0F;
    float s01 = 0.0F;
    float s10 = 0.0F;
    float s11 = 0.0F;
#define STEP(p)                                                \
    do {                                                       \
        s00 = fused(a[p], b[0], s00);                 \
        if (columns > 1) {                                     \
            s01 = fused(a[p], b[1], s01);             \
        }                                                      \
        if (rows > 1) {                                        \
            s10 = fused(a1[p], b[0], s10);            \
            if (columns > 1) {                                 \
                s11 = fused(a1[p], b[1], s11);        \
            }                                                  \
        }                                                      \
        b += n;                                                \
    } while (0)
    uint32_t p = 0;
    for (; p + 8 <= k; p += 8) {
        STEP(p);
        STEP(p + 1);
        STEP(p + 2);
        STEP(p + 3);
        STEP(p + 4);
        STEP(p + 5);
        STEP(p + 6);
        STEP(p + 7);
    }
    for (; p < k; p++) {
        STEP(p);
    }
#undef STEP
    c[0] = s00;
    if (columns > 1) {
        c[1] = s01;
    }
    if (rows > 1) {
        c[n] = s10;
        if (columns > 1) {
            c[n + 1] = s11;
        }
    }
}

void inner_f32_2x8x2(const float *a, const float *b, float *c, uint32_t m, uint32_t k, uint32_t n)
{
    for (uint32_t i = 0; i < m; i += 2, a += 2 * k, c += 2 * n) {
        uint32_t j = 0;
        if (i + 1 < m) {
            for (; j + 1 < n; j += 2) {
                inner_tile(a, b + j, c + j, k, n, 2, 2);
            }
            if (j < n) {
                inner_tile(a, b + j, c + j, k, n, 2, 1);
            }
        } else {
            for (; j + 1 < n; j += 2) {
                inner_tile(a, b + j, c + j, k, n, 1, 2);
            }
            if (j < n) {
                inner_tile(a, b + j, c + j, k, n, 1, 1);
            }
        }
    }
}

/* One tile of MR x NR sums: for each step, a row of B stays in registers while a column of A passes. */
#define OUTER(MR, NR)                                                                                             \
    static void outer_##MR##x##NR(const float *a, const float *b, float *c, uint32_t k, uint32_t n)               \
    {                                                                                                             \
        float sum[MR][NR];                                                                                        \
        _Pragma("GCC unroll 5") for (uint32_t i = 0; i < MR; i++)                                                 \
        {                                                                                                         \
            _Pragma("GCC unroll 5") for (uint32_t j = 0; j < NR; j++) { sum[i][j] = 0.0F; }                       \
        }                                                                                                         \
        for (uint32_t p = k; p > 0; p--) {                                                                        \
            float row[NR];                                                                                        \
            _Pragma("GCC unroll 5") for (uint32_t j = 0; j < NR; j++) { row[j] = b[j]; }                          \
            _Pragma("GCC unroll 5") for (uint32_t i = 0; i < MR; i++)                                             \
            {                                                                                                     \
                const float element = a[i * k];                                                                   \
                _Pragma("GCC unroll 5") for (uint32_t j = 0; j < NR; j++)                                         \
                {                                                                                                 \
                    sum[i][j] = fused(element, row[j], sum[i][j]);                                       \
                }                                                                                                 \
            }                                                                                                     \
            a++;                                                                                                  \
            b += n;                                                                                               \
        }                                                                                                         \
        _Pragma("GCC unroll 5") for (uint32_t i = 0; i < MR; i++)                                                 \
        {                                                                                                         \
            _Pragma("GCC unroll 5") for (uint32_t j = 0; j < NR; j++) { c[i * n + j] = sum[i][j]; }               \
        }                                                                                                         \
    }
#define OUTER_ROWS(NR) OUTER(1, NR) OUTER(2, NR) OUTER(3, NR) OUTER(4, NR) OUTER(5, NR)
OUTER_ROWS(1)
OUTER_ROWS(2)
OUTER_ROWS(3)
OUTER_ROWS(4)
OUTER_ROWS(5)

typedef void tile_function(const float *a, const float *b, float *c, uint32_t k, uint32_t n);
#define TILES(MR) {outer_##MR##x1, outer_##MR##x2, outer_##MR##x3, outer_##MR##x4, outer_##MR##x5}
static tile_function *const tiles[5][5] = {TILES(1), TILES(2), TILES(3), TILES(4), TILES(5)};

void outer_f32_5x1x5(const float *a, const float *b, float *c, uint32_t m, uint32_t k, uint32_t n)
{
    for (uint32_t i = 0; i < m; i += 5) {
        const uint32_t rows = m - i < 5 ? m - i : 5;
        for (uint32_t j = 0; j < n; j += 5) {
            const uint32_t columns = n - j < 5 ? n - j : 5;
            tiles[rows - 1][columns - 1](a + i * k, b + j, c + i * n + j, k, n);
        }
    }
}
