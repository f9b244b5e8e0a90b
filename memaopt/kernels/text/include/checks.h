/* Checked while compiling. */
#ifndef MEMAOPT_CHECKS_H
#define MEMAOPT_CHECKS_H

#include <stdint.h>

/* What C leaves to the compiler and this file relies on. */
#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "This code is for little-endian targets: words hold the elements of lower addresses in their lower bits."
#endif
#elif defined(__ARM_BIG_ENDIAN) || defined(__BIG_ENDIAN__)
#error "This code is for little-endian targets: words hold the elements of lower addresses in their lower bits."
#endif
_Static_assert((int32_t)~UINT32_C(4) >> 1 == -3 && (int64_t)~UINT64_C(4) >> 1 == -3,
               "right shifts of negative numbers are arithmetic");
_Static_assert((int8_t)0x180 == -128 && (int16_t)0x18000L == -32768 && (int32_t)0x80000000u == INT32_MIN,
               "conversions to signed integers are modulo their range");

#endif
