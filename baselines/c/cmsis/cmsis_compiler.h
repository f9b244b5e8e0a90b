/* What CMSIS-DSP's matrix products need of CMSIS-Core's header of this name: attributes, and the DSP instructions
 * by their ACLE intrinsics, which the compiler can schedule. */
#ifndef CMSIS_COMPILER_H
#define CMSIS_COMPILER_H

#include <arm_acle.h>
#include <stdint.h>

#define __STATIC_INLINE static inline
#define __STATIC_FORCEINLINE static inline __attribute__((always_inline))
#define __ALIGNED(x) __attribute__((aligned(x)))
#define __WEAK __attribute__((weak))
#define __ASM __asm

#define __SMLAD(a, b, sum) __smlad((int16x2_t)(a), (int16x2_t)(b), (int32_t)(sum))
#define __SMLALD(a, b, sum) __smlald((int16x2_t)(a), (int16x2_t)(b), (int64_t)(sum))
#define __SSAT(value, bits) __ssat((int32_t)(value), (bits))
#define __CLZ(value) ((uint8_t)__clz(value))

#endif
