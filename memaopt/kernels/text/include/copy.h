/* Copies and fills by words, with known accesses. */
#ifndef MEMAOPT_COPY_H
#define MEMAOPT_COPY_H

#include <stdint.h>

#include "compiler.h"
#include "simd.h"

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

/* Copies ``records`` of chained weights that lie in a byte each as the words that kernels read: three starts, ``pairs``
 * times two words as three (256 w0 + w1, 256 w1 + w2, 256 w2 + w3), a word, ``fours`` times four words. */
#if MEMAOPT_ASM
KERNEL static void expand_chains(int32_t *to, const int32_t *from, int32_t records, int32_t pairs, int32_t fours)
{
    __asm__ volatile(
        "  push  {r4-r10}         \n"
        "  ldr   r10, [sp, #28]   \n"
        "  mov   r7, #0xff00ff00  \n"
        "  mov   r8, #0x00800080  \n"
        "1:                       \n"
        "  ldmia r1!, {r4-r6}     \n"
        "  mov   r9, r3           \n"
        "  stmia r0!, {r4-r6}     \n"
        "2:                       \n"
        "  ldmia r1!, {r4, r6}    \n"
        "  subs  r9, r9, #1       \n"
        "  and   r5, r7, r4, lsl #8 \n"
        "  sxtab16 r5, r5, r6, ror #8 \n"
        "  ssub16 r6, r6, r8      \n"
        "  stmia r0!, {r4-r6}     \n"
        "  bne   2b               \n"
        "  ldr   r4, [r1], #4     \n"
        "  movs  r9, r10          \n"
        "  str   r4, [r0], #4     \n"
        "  beq   4f               \n"
        "3:                       \n"
        "  ldmia r1!, {r4-r6, r12} \n"
        "  subs  r9, r9, #1       \n"
        "  stmia r0!, {r4-r6, r12} \n"
        "  bne   3b               \n"
        "4:                       \n"
        "  subs  r2, r2, #1       \n"
        "  bne   1b               \n"
        "  pop   {r4-r10}         \n"
        "  bx    lr               \n"
    );
}
#else
static void expand_chains(int32_t *to, const int32_t *from, int32_t records, int32_t pairs, int32_t fours)
{
    for (int32_t record = 0; record < records; record++) {
        for (int32_t i = 0; i < 3; i++) {
            *to++ = *from++;
        }
        for (int32_t i = 0; i < pairs; i++, from += 2, to += 3) {
            const uint32_t high = (uint32_t)from[0], low = (uint32_t)from[1];
            to[0] = from[0];
            to[1] = (int32_t)sxtab16(high << 8 & 0xFF00FF00u, low >> 8 | low << 24);
            to[2] = (int32_t)pack_halves(low_half(low) - 128, high_half(low) - 128);
        }
        for (int32_t i = 0; i < 1 + 4 * fours; i++) {
            *to++ = *from++;
        }
    }
}
#endif

#endif
