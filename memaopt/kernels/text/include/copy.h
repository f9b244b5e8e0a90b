/* Copies and fills by words, with known accesses. */
#ifndef MEMAOPT_COPY_H
#define MEMAOPT_COPY_H

#include <stdint.h>

#include "compiler.h"

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

#endif
