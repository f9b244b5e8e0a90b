/* Single accesses to memory, counted one by one. */
#ifndef MEMAOPT_ACCESS_H
#define MEMAOPT_ACCESS_H

#include <stdint.h>

/* Elements of activations, parameters and scratch memory are read and written through volatile, so the compiler
 * neither merges nor repeats an access: the accesses that the layer's comment promises are the ones made. */
static inline int32_t load_s8(const int8_t *p)
{
    return *(const volatile int8_t *)p;
}

static inline void store_s8(int8_t *p, int32_t value)
{
    *(volatile int8_t *)p = (int8_t)value;
}

static inline int32_t load_s16(const int16_t *p)
{
    return *(const volatile int16_t *)p;
}

static inline void store_s16(int16_t *p, int32_t value)
{
    *(volatile int16_t *)p = (int16_t)value;
}

static inline int32_t load_s32(const int32_t *p)
{
    return *(const volatile int32_t *)p;
}

static inline void store_s32(int32_t *p, int32_t value)
{
    *(volatile int32_t *)p = value;
}

/* A word of elements; both ends are aligned to 4 bytes. */
static inline void copy_word(int8_t *to, const int8_t *from)
{
    store_s32((int32_t *)(void *)to, load_s32((const int32_t *)(const void *)from));
}

static inline int64_t load_s64(const int64_t *p)
{
    return *(const volatile int64_t *)p;
}

static inline void store_s64(int64_t *p, int64_t value)
{
    *(volatile int64_t *)p = value;
}

static inline float load_f32(const float *p)
{
    return *(const volatile float *)p;
}

static inline void store_f32(float *p, float value)
{
    *(volatile float *)p = value;
}

static inline double load_f64(const double *p)
{
    return *(const volatile double *)p;
}

#endif
