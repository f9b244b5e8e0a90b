/* What the compiler and the core can do, as macros. */
#ifndef MEMAOPT_COMPILER_H
#define MEMAOPT_COMPILER_H

/* Kernels that need every register are assembly on Cortex-M cores with the DSP instructions (M4, M7, M33, ...), and
 * plain C elsewhere. */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(MEMAOPT_NO_ASM)
#define MEMAOPT_ASM 1
#else
#define MEMAOPT_ASM 0
#endif

/* Some keep counters or sums in the registers of an FPU besides. */
#if MEMAOPT_ASM && defined(__ARM_FP)
#define MEMAOPT_ASM_FPU 1
#else
#define MEMAOPT_ASM_FPU 0
#endif

/* A function that is all assembly: it reads its arguments itself, and GCC must not guess what it changes. */
#if defined(__clang__)
#define NAKED __attribute__((naked, noinline))
#elif defined(__GNUC__)
#define NAKED __attribute__((naked, noinline, noipa))
#endif

/* A function of C that is one text, whoever calls it: what it takes does not depend on the caller. */
#if defined(__GNUC__) && !defined(__clang__)
#define ONE_TEXT __attribute__((noipa))
#elif defined(__clang__)
#define ONE_TEXT __attribute__((noinline))
#else
#define ONE_TEXT
#endif

/* One that starts a line of a flash cache, so that it waits the same wherever the linker puts it. */
#define KERNEL NAKED __attribute__((aligned(32)))

/* A function that stays one, called with the arguments that are written: what is promised and counted is its own. */
#if defined(__clang__)
#define LAYER __attribute__((noinline, used))
#elif defined(__GNUC__) && __GNUC__ >= 8
#define LAYER __attribute__((noipa))
#else
#define LAYER
#endif

/* Where code or constants live is the linker's business; on a host they live where the compiler puts them. */
#if defined(__arm__) && defined(__GNUC__)
#define IN_SECTION(name) __attribute__((section(name)))
#else
#define IN_SECTION(name)
#endif

/* A loop of few iterations that stays a loop: unrolled it would take kilobytes of flash to save some cycles. */
#if defined(__clang__)
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define NO_UNROLL _Pragma("GCC unroll 1")
#else
#define NO_UNROLL
#endif

#endif
