/* q15 matrix products to compare with: C[M][N] = A[M][K] B[K][N], all row-major, 32-bit sums modulo 2^32,
 * rounded to nearest (ties up) and saturated.
 *
 * naive_q15:        three loops.
 * inner_q15_2x4x2:  B transposed into scratch[N][K] first; inner products of 2 rows with 2 columns, 4 steps unrolled.
 * outer_q15_4x2x2:  the outer-product kernel of the MEMA paper (arXiv 2304.05544): 8 sums; two steps of the
 *                   reduction at a time, each word of A with two columns of B in one SMLAD each.
 */
#include <arm_acle.h>
#include <stdint.h>

#define ALWAYS static inline __attribute__((always_inline))

void naive_q15(const int16_t *a, const int16_t *b, int16_t *c, uint32_t m, uint32_t k, uint32_t n);
void inner_q15_2x4x2(
    const int16_t *a, const int16_t *b, int16_t *c, uint32_t m, uint32_t k, uint32_t n, int16_t *scratch);
void outer_q15_4x2x2(const int16_t *a, const int16_t *b, int16_t *c, uint32_t m, uint32_t k, uint32_t n);

/* Two neighbours in one word; the address may be odd in halfwords. */
ALWAYS int16x2_t pair(const int16_t *p)
{
    int16x2_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

ALWAYS int32_t add(int32_t sum, int16_t a, int16_t b)
{
    return (int32_t)((uint32_t)sum + (uint32_t)(a * b));
}

ALWAYS int16_t finish(int32_t sum)
{
    int32_t result;
    __asm("ssat %0, #16, %1, asr #15" : "=r"(result) : "r"((uint32_t)sum + (1u << 14)));
    return (int16_t)result;
}

void naive_q15(const int16_t *a, const int16_t *b, int16_t *c, uint32_t m, uint32_t k, uint32_t n)
{
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (uint32_t p = 0; p < k; p++) {
                sum = add(sum, a[i * k + p], b[p * n + j]);
            }
            c[i * n + j] = finish(sum);
        }
    }
}

/* ROWS x COLUMNS inner products; a column of B is a row of its transpose. */
ALWAYS void inner_tile(
    const int16_t *a, const int16_t *bt, int16_t *c, uint32_t k, uint32_t n, const uint32_t rows, const uint32_t columns)
{
    const int16_t *a1 = a + k;
    const int16_t *bt1 = bt + k;
    int32_t s00 = 0;
    int32_t s01 = 0;
    int32_t s10 = 0;
    int32_t s11 = 0;
    for (uint32_t p = k / 4; p > 0; p--) {
#define STEP(o)                                         \
    do {                                                \
        const int16x2_t a0o = pair(a + (o));            \
        const int16x2_t b0o = pair(bt + (o));           \
        s00 = __smlad(a0o, b0o, s00);                   \
        if (columns > 1) {                              \
            const int16x2_t b1o = pair(bt1 + (o));      \
            s01 = __smlad(a0o, b1o, s01);               \
            if (rows > 1) {                             \
                s11 = __smlad(pair(a1 + (o)), b1o, s11); \
            }                                           \
        }                                               \
        if (rows > 1) {                                 \
            s10 = __smlad(pair(a1 + (o)), b0o, s10);    \
        }                                               \
    } while (0)
        STEP(0);
        STEP(2);
#undef STEP
        a += 4;
        a1 += 4;
        bt += 4;
        bt1 += 4;
    }
    for (uint32_t p = 0; p < k % 4; p++) {
        s00 = add(s00, a[p], bt[p]);
        if (columns > 1) {
            s01 = add(s01, a[p], bt1[p]);
        }
        if (rows > 1) {
            s10 = add(s10, a1[p], bt[p]);
        }
        if (rows > 1 && columns > 1) {
            s11 = add(s11, a1[p], bt1[p]);
        }
    }
    c[0] = finish(s00);
    if (columns > 1) {
        c[1] = finish(s01);
    }
    if (rows > 1) {
        c[n] = finish(s10);
    }
    if (rows > 1 && columns > 1) {
        c[n + 1] = finish(s11);
    }
}

void inner_q15_2x4x2(
    const int16_t *a, const int16_t *b, int16_t *c, uint32_t m, uint32_t k, uint32_t n, int16_t *scratch)
{
    for (uint32_t p = 0; p < k; p++) {
        for (uint32_t j = 0; j < n; j++) {
            scratch[j * k + p] = b[p * n + j];
        }
    }
    for (uint32_t i = 0; i < m; i += 2, a += 2 * k, c += 2 * n) {
        uint32_t j = 0;
        if (i + 1 < m) {
            for (; j + 1 < n; j += 2) {
                inner_tile(a, scratch + j * k, c + j, k, n, 2, 2);
            }
            if (j < n) {
                inner_tile(a, scratch + j * k, c + j, k, n, 2, 1);
            }
        } else {
            for (; j + 1 < n; j += 2) {
                inner_tile(a, scratch + j * k, c + j, k, n, 1, 2);
            }
            if (j < n) {
                inner_tile(a, scratch + j * k, c + j, k, n, 1, 1);
            }
        }
    }
}

/* ROWS x COLUMNS sums, up to 4 x 2: rows k and k + 1 of B become one pair for each column. */
ALWAYS void outer_tile(
    const int16_t *a, const int16_t *b, int16_t *c, uint32_t k, uint32_t n, const uint32_t rows, const uint32_t columns)
{
    int32_t sum[4][2] = {{0, 0}, {0, 0}, {0, 0}, {0, 0}};
    for (uint32_t p = k / 2; p > 0; p--) {
        const int16x2_t b0 = (int16x2_t)((uint16_t)b[0] | (uint32_t)b[n] << 16);
        const int16x2_t b1 = columns > 1 ? (int16x2_t)((uint16_t)b[1] | (uint32_t)b[n + 1] << 16) : 0;
#pragma GCC unroll 4
        for (uint32_t i = 0; i < rows; i++) {
            const int16x2_t word = pair(a + i * k);
            sum[i][0] = __smlad(word, b0, sum[i][0]);
            if (columns > 1) {
                sum[i][1] = __smlad(word, b1, sum[i][1]);
            }
        }
        a += 2;
        b += 2 * n;
    }
#pragma GCC unroll 4
    for (uint32_t i = 0; i < rows; i++) {
#pragma GCC unroll 2
        for (uint32_t j = 0; j < columns; j++) {
            c[i * n + j] = finish(k % 2 == 1 ? add(sum[i][j], a[i * k], b[j]) : sum[i][j]);
        }
    }
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#if defined(__clang__)
#define ASSEMBLY __attribute__((naked, noinline))
#else
#define ASSEMBLY __attribute__((naked, noinline, noipa))
#endif

/* The sums of a whole 4 x 2 tile. Compilers spill them, so this is assembly: 8 sums, 2 pairs of B, a word of A, two
 * pointers and the row stride of A take all 14 registers; the row stride of B and the end of A are on the stack. */
static ASSEMBLY void outer_4x2_sums(
    const int16_t *a, const int16_t *b, int32_t *sums, uint32_t pairs, uint32_t a_row_bytes, uint32_t b_row_bytes)
{
    __asm volatile(
        "push   {r4-r11, lr}           \n"
        "mov    r12, r3                \n"
        "add    r3, r0, r3, lsl #2     \n"
        "push   {r2, r3}               \n"
        "ldr    r2, [sp, #44]          \n"
        "movs   r6, #0                 \n"
        "mov    r7, r6                 \n"
        "mov    r8, r6                 \n"
        "mov    r9, r6                 \n"
        "mov    r10, r6                \n"
        "mov    r11, r6                \n"
        "mov    lr, r6                 \n"
        "cmp    r12, #0                \n"
        "mov    r12, r6                \n"
        "beq    2f                     \n"
        ".p2align 2                    \n"
        "1:                            \n"
        "ldr    r3, [sp, #48]          \n" /* two rows of B ... */
        "ldr    r5, [r1]               \n"
        "ldr    r4, [r1, r3]           \n"
        "add    r1, r1, r3, lsl #1     \n"
        "pkhbt  r3, r5, r4, lsl #16    \n" /* ... as the pairs of column 0 and of column 1 */
        "pkhtb  r4, r4, r5, asr #16    \n"
        "ldr    r5, [r0, r2]           \n"
        "smlad  r8, r5, r3, r8         \n"
        "smlad  r9, r5, r4, r9         \n"
        "ldr    r5, [r0, r2, lsl #1]   \n"
        "smlad  r10, r5, r3, r10       \n"
        "smlad  r11, r5, r4, r11       \n"
        "add    r5, r0, r2, lsl #1     \n"
        "ldr    r5, [r5, r2]           \n"
        "smlad  r12, r5, r3, r12       \n"
        "smlad  lr, r5, r4, lr         \n"
        "ldr    r5, [r0], #4           \n"
        "smlad  r6, r5, r3, r6         \n"
        "smlad  r7, r5, r4, r7         \n"
        "ldr    r3, [sp, #4]           \n"
        "cmp    r0, r3                 \n"
        "bne    1b                     \n"
        "2:                            \n"
        "pop    {r2, r3}               \n"
        "stm    r2, {r6-r12, lr}       \n"
        "pop    {r4-r11, pc}           \n");
}
#pragma GCC diagnostic pop

static void outer_4x2(const int16_t *a, const int16_t *b, int16_t *c, uint32_t k, uint32_t n)
{
    int32_t sums[8];
    outer_4x2_sums(a, b, sums, k / 2, 2 * k, 2 * n);
    if (k % 2 == 1) {
        for (uint32_t i = 0; i < 4; i++) {
            sums[2 * i] = add(sums[2 * i], a[i * k + k - 1], b[(k - 1) * n]);
            sums[2 * i + 1] = add(sums[2 * i + 1], a[i * k + k - 1], b[(k - 1) * n + 1]);
        }
    }
    for (uint32_t i = 0; i < 4; i++, c += n) {
        c[0] = finish(sums[2 * i]);
        c[1] = finish(sums[2 * i + 1]);
    }
}

void outer_q15_4x2x2(const int16_t *a, const int16_t *b, int16_t *c, uint32_t m, uint32_t k, uint32_t n)
{
    for (uint32_t i = 0; i < m; i += 4, a += 4 * k, c += 4 * n) {
#define COLUMNS(rows)                                     \
    do {                                                  \
        uint32_t j = 0;                                   \
        for (; j + 1 < n; j += 2) {                       \
            if (rows == 4) {                              \
                outer_4x2(a, b + j, c + j, k, n);         \
            } else {                                      \
                outer_tile(a, b + j, c + j, k, n, rows, 2); \
            }                                             \
        }                                                 \
        if (j < n) {                                      \
            outer_tile(a, b + j, c + j, k, n, rows, 1);   \
        }                                                 \
    } while (0)
        switch (m - i) {
        case 1:
            COLUMNS(1);
            break;
        case 2:
            COLUMNS(2);
            break;
        case 3:
            COLUMNS(3);
            break;
        default:
            COLUMNS(4);
            break;
        }
#undef COLUMNS
    }
}
