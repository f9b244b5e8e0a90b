/* The small functions that emitted layers share. A layer's source is scanned for their names, and only those that
 * are used (with what they use in turn) go into the file. Each section starts with a line "@ name". */

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

@ load_s16
static inline int32_t load_s16(const int16_t *p)
{
    return *(const volatile int16_t *)p;
}

@ store_s16
static inline void store_s16(int16_t *p, int32_t value)
{
    *(volatile int16_t *)p = (int16_t)value;
}

@ load_u16
static inline int32_t load_u16(const uint16_t *p)
{
    return *(const volatile uint16_t *)p;
}

@ load_s32
static inline int32_t load_s32(const int32_t *p)
{
    return *(const volatile int32_t *)p;
}

@ store_s32
static inline void store_s32(int32_t *p, int32_t value)
{
    *(volatile int32_t *)p = value;
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
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - multiply_high(half_denominator, estimate);
        estimate += shift_left_saturating(multiply_high(estimate, error), 2);
    }
    return shift_left_saturating(estimate, 1);
}
