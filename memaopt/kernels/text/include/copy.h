/* Copies and fills by words, with known accesses. */
#ifndef MEMAOPT_COPY_H
#define MEMAOPT_COPY_H

#include <stdint.h>

#include "access.h"
#include "compiler.h"
#include "simd.h"

/* Copies ``words`` words; both ends are aligned to 4 bytes.
 * Registers: r0 to, r1 from, r2 words left, r3-r10 words. */
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

/* Copies ``words`` words, each exclusive-ored with ``mask``; both ends are aligned to 4 bytes.
 * Registers: r0 to, r1 from, r2 words left, r3 mask, r4-r11 words. */
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

/* Copies ``bytes`` bytes, by words where there are four; nothing need be aligned.
 * Registers: r0 to, r1 from, r2 bytes left, r3 a word or a byte. */
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

/* Copies ``words`` words to where they may lie higher among themselves: the last one first; both ends are aligned to
 * 4 bytes. Registers: r0 end of to, r1 end of from, r2 words left, r3-r10 words. */
#if MEMAOPT_ASM
KERNEL static void copy_words_up(void *to, const void *from, int32_t words)
{
    __asm__ volatile(
        "  push  {r4-r10}          \n"
        "  add   r0, r0, r2, lsl #2\n"
        "  add   r1, r1, r2, lsl #2\n"
        "  subs  r2, r2, #8        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  ldmdb r1!, {r3-r10}     \n"
        "  subs  r2, r2, #8        \n"
        "  stmdb r0!, {r3-r10}     \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #8        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  ldr   r3, [r1, #-4]!    \n"
        "  subs  r2, r2, #1        \n"
        "  str   r3, [r0, #-4]!    \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  pop   {r4-r10}          \n"
        "  bx    lr                \n"
    );
}
#else
static void copy_words_up(void *to, const void *from, int32_t words)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (int32_t i = 4 * words; i-- > 0;) {
        target[i] = source[i];
    }
}
#endif

/* Copies ``bytes`` bytes to where they may lie higher among themselves, by words where there are four: the last ones
 * first; nothing need be aligned. Registers: r0 end of to, r1 end of from, r2 bytes left, r3 a word or a byte. */
#if MEMAOPT_ASM
KERNEL static void copy_bytes_up(void *to, const void *from, int32_t bytes)
{
    __asm__ volatile(
        "  add   r0, r0, r2        \n"
        "  add   r1, r1, r2        \n"
        "  subs  r2, r2, #4        \n"
        "  blt   2f                \n"
        "1:                        \n"
        "  ldr   r3, [r1, #-4]!    \n"
        "  subs  r2, r2, #4        \n"
        "  str   r3, [r0, #-4]!    \n"
        "  bge   1b                \n"
        "2:                        \n"
        "  adds  r2, r2, #4        \n"
        "  beq   4f                \n"
        "3:                        \n"
        "  ldrb  r3, [r1, #-1]!    \n"
        "  subs  r2, r2, #1        \n"
        "  strb  r3, [r0, #-1]!    \n"
        "  bne   3b                \n"
        "4:                        \n"
        "  bx    lr                \n"
    );
}
#else
static void copy_bytes_up(void *to, const void *from, int32_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (int32_t i = bytes; i-- > 0;) {
        target[i] = source[i];
    }
}
#endif

/* Sets ``words`` words, aligned to 4 bytes.
 * Registers: r0 to, r1 and r3-r5 value, r2 words left, r6 unused. */
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

/* Each of ``count`` bytes ``times`` times, ``apart`` bytes from each to the next; those of the next byte ``step`` behind.
 * Registers: r0 to, r1 from, r2 bytes left, r3 times, r4 step, r5 apart, r6 a byte, r7 where it goes, r8 times left. */
#if MEMAOPT_ASM
KERNEL static void spread_bytes(int8_t *to, const int8_t *from, int32_t count, int32_t times, int32_t step, int32_t apart)
{
    __asm__ volatile(
        "  push  {r4-r8}           \n"
        "  ldr   r4, [sp, #20]     \n"
        "  ldr   r5, [sp, #24]     \n"
        "  .balign 4               \n"
        "1:                        \n"
        "  ldrb.w r6, [r1], #1     \n"
        "  mov.w r7, r0            \n"
        "  mov.w r8, r3            \n"
        "2:                        \n"
        "  strb.w r6, [r7]         \n"
        "  subs.w r8, r8, #1       \n"
        "  add.w r7, r7, r5        \n"
        "  bne.w 2b                \n"
        "  add.w r0, r0, r4        \n"
        "  subs.w r2, r2, #1       \n"
        "  bne.w 1b                \n"
        "  pop   {r4-r8}           \n"
        "  bx    lr                \n"
    );
}
#else
static void spread_bytes(int8_t *to, const int8_t *from, int32_t count, int32_t times, int32_t step, int32_t apart)
{
    for (int32_t i = 0; i < count; i++) {
        for (int32_t j = 0; j < times; j++) {
            to[i * step + j * apart] = from[i];
        }
    }
}
#endif

/* Sets ``words`` words to 0, ``step`` bytes from each to the next; all are aligned to 4 bytes.
 * Registers: r0 to, r1 step, r2 words left, r3 zero, r4 three steps, r5 unused. */
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
 * times two words as three (256 w0 + w1, 256 w1 + w2, 256 w2 + w3), a word, ``fours`` times four words.
 * Registers: r0 to, r1 from, r2 records left, r3 pairs, r4-r6 and r12 words, r7 and r8 masks, r9 turns left, r10 fours. */
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

/* The same, where ``from`` has weights alone and ``channels`` what kernels read between them.
 * Registers: r0 to, r1 from, r2 channels, r3 records left, r4-r6 and r12 words, r7 and r8 masks, r9 turns left, r10 pairs,
 * r11 fours. */
#if MEMAOPT_ASM
KERNEL static void expand_chains_apart(int32_t *to, const int32_t *from, const int32_t *channels, int32_t records,
                                       int32_t pairs, int32_t fours)
{
    __asm__ volatile(
        "  push  {r4-r11}         \n"
        "  ldr   r10, [sp, #32]   \n"
        "  ldr   r11, [sp, #36]   \n"
        "  mov   r7, #0xff00ff00  \n"
        "  mov   r8, #0x00800080  \n"
        "1:                       \n"
        "  ldmia r2!, {r4-r6}     \n"
        "  mov   r9, r10          \n"
        "  stmia r0!, {r4-r6}     \n"
        "2:                       \n"
        "  ldmia r1!, {r4, r6}    \n"
        "  subs  r9, r9, #1       \n"
        "  and   r5, r7, r4, lsl #8 \n"
        "  sxtab16 r5, r5, r6, ror #8 \n"
        "  ssub16 r6, r6, r8      \n"
        "  stmia r0!, {r4-r6}     \n"
        "  bne   2b               \n"
        "  ldr   r4, [r2], #4     \n"
        "  movs  r9, r11          \n"
        "  str   r4, [r0], #4     \n"
        "  beq   4f               \n"
        "3:                       \n"
        "  ldmia r2!, {r4-r6, r12} \n"
        "  subs  r9, r9, #1       \n"
        "  stmia r0!, {r4-r6, r12} \n"
        "  bne   3b               \n"
        "4:                       \n"
        "  subs  r3, r3, #1       \n"
        "  bne   1b               \n"
        "  pop   {r4-r11}         \n"
        "  bx    lr               \n"
    );
}
#else
static void expand_chains_apart(int32_t *to, const int32_t *from, const int32_t *channels, int32_t records,
                                int32_t pairs, int32_t fours)
{
    for (int32_t record = 0; record < records; record++) {
        for (int32_t i = 0; i < 3; i++) {
            *to++ = *channels++;
        }
        for (int32_t i = 0; i < pairs; i++, from += 2, to += 3) {
            const uint32_t high = (uint32_t)from[0], low = (uint32_t)from[1];
            to[0] = from[0];
            to[1] = (int32_t)sxtab16(high << 8 & 0xFF00FF00u, low >> 8 | low << 24);
            to[2] = (int32_t)pack_halves(low_half(low) - 128, high_half(low) - 128);
        }
        for (int32_t i = 0; i < 1 + 4 * fours; i++) {
            *to++ = *channels++;
        }
    }
}
#endif

/* Weights of 3x3 windows, a word for each row, as a walk reads them of each channel: for one or two ``sets`` of
 * columns, of which the first begins within a word if it is ``odd``; behind the first set two words that stay. */
ONE_TEXT static void expand_taps(int32_t *to, const int32_t *from, int32_t channels, int32_t odd, int32_t sets)
{
    for (int32_t channel = 0; channel < channels; channel++, from += 5) {
        /* Bytes w1, w0, w2, w1 of a row; halfwords are 256 times as much. */
        const uint32_t x = (uint32_t)load_s32(&from[0]), y = (uint32_t)load_s32(&from[1]), z = (uint32_t)load_s32(&from[2]);
        for (int32_t set = 0; set < sets; set++, to += 5) {
            const int32_t up = set == odd ? 0 : 8, down = 8 - up;
            store_s32(&to[0], (int32_t)(x << up & 0xFF00FF00u));
            store_s32(&to[1], (int32_t)(y << up & 0xFF00FF00u));
            store_s32(&to[2], (int32_t)(z << up & 0xFF00FF00u));
            store_s32(&to[3], (int32_t)((x >> down & 0xFF00u) | (y >> down & 0xFF00u) << 16));
            store_s32(&to[4], (int32_t)(z >> down & 0xFF00u));
            if (set == 0) {
                store_s32(&to[5], load_s32(&from[3]));
                store_s32(&to[6], load_s32(&from[4]));
                to += 2;
            }
        }
    }
}

/* The same, where ``from`` has weights alone and ``kept`` the two words that stay of each channel. */
ONE_TEXT static void expand_taps_apart(int32_t *to, const int32_t *from, const int32_t *kept, int32_t channels, int32_t odd,
                                       int32_t sets)
{
    for (int32_t channel = 0; channel < channels; channel++, from += 3, kept += 2) {
        const uint32_t x = (uint32_t)load_s32(&from[0]), y = (uint32_t)load_s32(&from[1]), z = (uint32_t)load_s32(&from[2]);
        for (int32_t set = 0; set < sets; set++, to += 5) {
            const int32_t up = set == odd ? 0 : 8, down = 8 - up;
            store_s32(&to[0], (int32_t)(x << up & 0xFF00FF00u));
            store_s32(&to[1], (int32_t)(y << up & 0xFF00FF00u));
            store_s32(&to[2], (int32_t)(z << up & 0xFF00FF00u));
            store_s32(&to[3], (int32_t)((x >> down & 0xFF00u) | (y >> down & 0xFF00u) << 16));
            store_s32(&to[4], (int32_t)(z >> down & 0xFF00u));
            if (set == 0) {
                store_s32(&to[5], load_s32(&kept[0]));
                store_s32(&to[6], load_s32(&kept[1]));
                to += 2;
            }
        }
    }
}

#endif
