/* What CMSIS-DSP's matrix products need of CMSIS-Core's header of this name: attributes, and the DSP instructions.
 * SMLAD is an assembly statement, as in CMSIS-Core 5: the order in which the source has them is faster than the one
 * into which compilers schedule the ACLE intrinsic of CMSIS-Core 6. */
#ifndef CMSIS_COMPILER_H
#define CMSIS_COMPILER_H

#include <arm_acle.h>
#include <stdint.h>

#define __STATIC_INLINE static inline
#define __STATIC_FORCEINLINE static inline __attribute__((always_inline))
#define __ALIGNED(x) __attribute__((aligned(x)))
#define __WEAK __attribute__((weak))
#define __ASM __asm

#define __SMLALD(a, b, sum) __smlald((int16x2_t)(a), (int16x2_t)(b), (int64_t)(sum))
#define __SSAT(value, bits) __ssat((int32_t)(value), (bits))
#define __CLZ(value) ((uint8_t)__clz(value))

__STATIC_FORCEINLINE uint32_t __SMLAD(uint32_t a, uint32_t b, uint32_t sum)
{
    uint32_t result;
    __asm volatile("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

#endif
