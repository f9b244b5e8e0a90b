/* The small functions that emitted layers share. A layer's source is scanned for their names, and only those that
 * are used (with what they use in turn) go into the file. Each section starts with a line "@ name". */

@ MEMAOPT_ASM
/* Kernels that need every register are assembly on Cortex-M cores with the DSP instructions (M4, M7, M33, ...), and
 * plain C elsewhere. */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(MEMAOPT_NO_ASM)
#define MEMAOPT_ASM 1
#else
#define MEMAOPT_ASM 0
#endif

@ KERNEL
/* A function that is all assembly: it reads its arguments itself, and GCC must not guess what it changes. */
#if defined(__clang__)
#define KERNEL __attribute__((naked, noinline, aligned(32)))
#elif defined(__GNUC__)
#define KERNEL __attribute__((naked, noinline, noipa, aligned(32)))
#endif

@ IN_SECTION
/* Where code or constants live is the linker's business; on a host they live where the compiler puts them. */
#if defined(__arm__) && defined(__GNUC__)
#define IN_SECTION(name) __attribute__((section(name)))
#else
#define IN_SECTION(name)
#endif

@ NO_UNROLL
/* A loop of few iterations that stays a loop: unrolled it would take kilobytes of flash to save some cycles. */
#if defined(__clang__)
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define NO_UNROLL _Pragma("GCC unroll 1")
#else
#define NO_UNROLL
#endif

@ load_s8
/* Elements of activations, parameters and scratch memory are read and written through volatile, so the compiler
 * neither merges nor repeats an access: the accesses that the layer's comment promises are the ones made. */
static inline int32_t load_s8(const int8_t *p)
{
    return *(const volatile int8_t *)p;
}

@ store_s8
static inline void store_s8(int8_t *p, int32_t value)
{
    *(volatile int8_t *)p = (int8_t)value;
}

@ load_s32
static inline int32_t load_s32(const int32_t *p)
{
    return *(const volatile int32_t *)p;
}

@ load_f32
static inline float load_f32(const float *p)
{
    return *(const volatile float *)p;
}

@ store_f32
static inline void store_f32(float *p, float value)
{
    *(volatile float *)p = value;
}

@ load_f64
static inline double load_f64(const double *p)
{
    return *(const volatile double *)p;
}

@ clamp
static inline int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

@ multiply_high
/* round(a * b / 2^31), ties up; not for a = b = INT32_MIN. */
static inline int32_t multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

@ divide_by_power
/* round(x / 2^e), ties away from zero. */
static inline int32_t divide_by_power(int32_t x, int32_t e)
{
    const int32_t mask = (int32_t)((1u << e) - 1u);
    const int32_t remainder = x & mask;
    return (x >> e) + (remainder > (mask >> 1) + (x < 0 ? 1 : 0) ? 1 : 0);
}

@ rescale
/* x * multiplier * 2^(shift - 31), rounded twice, as TFLite's convolutions do. */
static inline int32_t rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return divide_by_power(multiply_high((int32_t)((uint32_t)x << left), multiplier), right);
}

@ rescale_in_double
/* round(x * scale), ties away from zero, as TFLite's fully connected layer does. */
static inline int32_t rescale_in_double(int32_t x, double scale)
{
    const double product = (double)x * scale;
    const int32_t whole = (int32_t)product;
    const double rest = product - (double)whole;
    return whole + (rest >= 0.5 ? 1 : 0) - (rest <= -0.5 ? 1 : 0);
}

@ leading_zeros
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

@ shift_left_saturating
static inline int32_t shift_left_saturating(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * ((int64_t)1 << bits);
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

@ one_over_one_plus
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

@ patch_tiles
/* What a matrix kernel works on: tiles of up to three output positions. In each following tile the positions'
 * inputs and the outputs lie at a fixed distance from this one's. */
struct patch_tiles {
    const int8_t *x[3];
    int8_t *out;
    const int32_t *weights;
    int32_t tiles;
};

@ patch_grid
/* Rows of output positions: bytes from a position's input to the next one's, and to the next row's. */
struct patch_grid {
    int32_t n, width, row_step, step, outputs;
};

@ run_tiles
/* Runs a kernel over rows of positions, n at a time. What a row leaves over starts a tile that ends in the next
 * row; the last tile of all overlaps the one before it. */
static void run_tiles(void (*kernel)(const struct patch_tiles *), const struct patch_grid *grid, const int32_t *weights,
                      const int8_t *x, int8_t *out, int32_t rows)
{
    const int32_t count = rows * grid->width;
    int32_t p = 0;
    while (p < count) {
        p = p > count - grid->n ? count - grid->n : p;
        struct patch_tiles tiles = {.out = out + p * grid->outputs, .weights = weights};
        for (int32_t j = 0; j < grid->n; j++) {
            tiles.x[j] = x + (p + j) / grid->width * grid->row_step + (p + j) % grid->width * grid->step;
        }
        const int32_t whole = (grid->width - p % grid->width) / grid->n;
        tiles.tiles = whole > 0 ? whole : 1;
        kernel(&tiles);
        p += tiles.tiles * grid->n;
    }
}

@ load_word
/* Four bytes as a little-endian word; nothing need be aligned. */
static inline uint32_t load_word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

@ low_half
static inline int32_t low_half(uint32_t x)
{
    return (int16_t)(uint16_t)x;
}

@ high_half
static inline int32_t high_half(uint32_t x)
{
    return (int16_t)(uint16_t)(x >> 16);
}

@ smlad
/* SMLAD: both products of signed halfwords, added modulo 2^32. */
static inline int32_t smlad(uint32_t x, uint32_t y, int32_t acc)
{
#if defined(__ARM_FEATURE_SIMD32)
    return __smlad((int16x2_t)x, (int16x2_t)y, acc);
#else
    const uint32_t low = (uint32_t)(low_half(x) * low_half(y)), high = (uint32_t)(high_half(x) * high_half(y));
    return (int32_t)((uint32_t)acc + low + high);
#endif
}

@ uxtb16
/* UXTB16: bytes 0 and 2, each in a halfword. */
static inline uint32_t uxtb16(uint32_t x)
{
    return x & 0x00FF00FFu;
}

@ pack_halves
static inline uint32_t pack_halves(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

@ sxtb16
/* SXTB16: bytes 0 and 2, each with its sign in a halfword. */
static inline uint32_t sxtb16(uint32_t x)
{
    return pack_halves((int8_t)(uint8_t)x, (int8_t)(uint8_t)(x >> 16));
}

@ load_four
/* Four bytes of an activation, aligned to 4, in one access. */
static inline uint32_t load_four(const int8_t *p)
{
#if defined(__ARM_FEATURE_SIMD32)
    return *(const volatile uint32_t *)(const volatile void *)p;
#else
    return load_word((const uint8_t *)p);
#endif
}

@ sxtab16
/* SXTAB16: bytes 0 and 2 of y, each with its sign, added to the halves of x. */
static inline uint32_t sxtab16(uint32_t x, uint32_t y)
{
#if defined(__ARM_FEATURE_SIMD32)
    return (uint32_t)__sxtab16((int16x2_t)x, (int8x4_t)y);
#else
    return pack_halves(low_half(x) + (int8_t)(uint8_t)y, high_half(x) + (int8_t)(uint8_t)(y >> 16));
#endif
}

@ greater_bytes
/* The greater of two signed bytes, four times: SSUB8 and SEL. */
static inline uint32_t greater_bytes(uint32_t x, uint32_t y)
{
#if defined(__ARM_FEATURE_SIMD32)
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

@ divide_rounding
/* The nearest integer, ties away from zero: division truncates. */
static inline int32_t divide_rounding(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

@ smmla
/* SMMLA: the high word of a * b, plus c. */
static inline int32_t smmla(int32_t a, int32_t b, int32_t c)
{
    return c + (int32_t)(((int64_t)a * b) >> 32);
}

@ multiply_wide
/* SMLAWB: the upper 32 of the 48 bits of a * b, for a b of 16 bits, plus c. */
static inline int32_t multiply_wide(int32_t a, int32_t b, int32_t c)
{
    return c + (int32_t)(((int64_t)a * b) >> 16);
}

@ copy_words
/* Copies ``words`` words; both ends are aligned to 4 bytes. */
#if MEMAOPT_ASM
KERNEL static void copy_words(void *to, const void *from, int32_t words)
{
    __asm__ volatile(
        "  push  {r4-r10}          \n"
        "  subs  r2, r2, #8        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  ldmia r1!, {r3-r10}     \n"
        "  subs  r2, r2, #8        \n"
        "  stmia r0!, {r3-r10}     \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #8        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  ldr   r3, [r1], #4      \n"
        "  subs  r2, r2, #1        \n"
        "  str   r3, [r0], #4      \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  pop   {r4-r10}          \n"
        "  bx    lr                \n"
    );
}
#else
static void copy_words(void *to, const void *from, int32_t words)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (int32_t i = 0; i < 4 * words; i++) {
        target[i] = source[i];
    }
}
#endif

@ copy_words_flipped
/* Copies ``words`` words, each exclusive-ored with ``mask``; both ends are aligned to 4 bytes. */
#if MEMAOPT_ASM
KERNEL static void copy_words_flipped(void *to, const void *from, int32_t words, uint32_t mask)
{
    __asm__ volatile(
        "  push  {r4-r11}          \n"
        "  subs  r2, r2, #8        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  ldmia r1!, {r4-r11}     \n"
        "  eor   r4, r4, r3        \n"
        "  eor   r5, r5, r3        \n"
        "  eor   r6, r6, r3        \n"
        "  eor   r7, r7, r3        \n"
        "  eor   r8, r8, r3        \n"
        "  eor   r9, r9, r3        \n"
        "  eor   r10, r10, r3      \n"
        "  eor   r11, r11, r3      \n"
        "  subs  r2, r2, #8        \n"
        "  stmia r0!, {r4-r11}     \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #8        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  ldr   r4, [r1], #4      \n"
        "  subs  r2, r2, #1        \n"
        "  eor   r4, r4, r3        \n"
        "  str   r4, [r0], #4      \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  pop   {r4-r11}          \n"
        "  bx    lr                \n"
    );
}
#else
static void copy_words_flipped(void *to, const void *from, int32_t words, uint32_t mask)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (int32_t i = 0; i < 4 * words; i++) {
        target[i] = (uint8_t)(source[i] ^ (mask >> (i % 4 * 8)));
    }
}
#endif

@ copy_bytes
/* Copies ``bytes`` bytes, by words where there are four; nothing need be aligned. */
#if MEMAOPT_ASM
KERNEL static void copy_bytes(void *to, const void *from, int32_t bytes)
{
    __asm__ volatile(
        "  subs  r2, r2, #4        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  ldr   r3, [r1], #4      \n"
        "  subs  r2, r2, #4        \n"
        "  str   r3, [r0], #4      \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #4        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  ldrb  r3, [r1], #1      \n"
        "  subs  r2, r2, #1        \n"
        "  strb  r3, [r0], #1      \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  bx    lr                \n"
    );
}
#else
static void copy_bytes(void *to, const void *from, int32_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (int32_t i = 0; i < bytes; i++) {
        target[i] = source[i];
    }
}
#endif

@ fill_words
/* Sets ``words`` words, aligned to 4 bytes. */
#if MEMAOPT_ASM
KERNEL static void fill_words(void *to, uint32_t value, int32_t words)
{
    __asm__ volatile(
        "  push  {r4-r6}           \n"
        "  mov   r3, r1            \n"
        "  mov   r4, r1            \n"
        "  mov   r5, r1            \n"
        "  subs  r2, r2, #4        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  stmia r0!, {r1, r3, r4, r5} \n"
        "  subs  r2, r2, #4        \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #4        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  str   r1, [r0], #4      \n"
        "  subs  r2, r2, #1        \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  pop   {r4-r6}           \n"
        "  bx    lr                \n"
    );
}
#else
static void fill_words(void *to, uint32_t value, int32_t words)
{
    uint8_t *target = to;
    for (int32_t i = 0; i < 4 * words; i++) {
        target[i] = (uint8_t)(value >> (i % 4 * 8));
    }
}
#endif

@ clear_words_apart
/* Sets ``words`` words to 0, ``step`` bytes from each to the next; all are aligned to 4 bytes. */
#if MEMAOPT_ASM
KERNEL static void clear_words_apart(void *to, int32_t step, int32_t words)
{
    __asm__ volatile(
        "  push  {r4, r5}          \n"
        "  mov   r3, #0            \n"
        "  add   r4, r1, r1, lsl #1 \n"
        "  subs  r2, r2, #4        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  str   r3, [r0]          \n"
        "  str   r3, [r0, r1]      \n"
        "  str   r3, [r0, r1, lsl #1] \n"
        "  str   r3, [r0, r4]      \n"
        "  subs  r2, r2, #4        \n"
        "  add   r0, r0, r1, lsl #2 \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #4        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  str   r3, [r0]          \n"
        "  subs  r2, r2, #1        \n"
        "  add   r0, r0, r1        \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  pop   {r4, r5}          \n"
        "  bx    lr                \n"
    );
}
#else
static void clear_words_apart(void *to, int32_t step, int32_t words)
{
    uint8_t *target = to;
    for (int32_t i = 0; i < 4 * words; i++) {
        target[i / 4 * step + i % 4] = 0;
    }
}
#endif
