/* Copies of words beside the core, by a channel of the chip's DMA controller. */
#ifndef MEMAOPT_DMA_H
#define MEMAOPT_DMA_H

#include <stdint.h>

#include "compiler.h"
#include "copy.h"

/* Begins to copy ``words`` words; both ends are aligned to 4 bytes. Nobody touches the target before dma_wait() with the
 * same arguments has returned. Without a channel the core copies. */
ONE_TEXT static void dma_start(int32_t *to, const int32_t *from, int32_t words)
{
#if defined(MEMAOPT_DMA_CHANNEL)
    /* Control, words left, source, target. */
    volatile uint32_t *const channel = (volatile uint32_t *)MEMAOPT_DMA_CHANNEL;
    __asm__ volatile("dmb" ::: "memory");
    channel[0] = 0;
    *(volatile uint32_t *)MEMAOPT_DMA_CLEAR = MEMAOPT_DMA_DONE;
    channel[1] = (uint32_t)words;
    channel[2] = (uint32_t)(uintptr_t)from;
    channel[3] = (uint32_t)(uintptr_t)to;
    channel[0] = MEMAOPT_DMA_START;
#else
    copy_words(to, from, words);
#endif
}

/* Returns when all of it has arrived. Where the channel has gone off before that (its clock is off, or there was an error on
 * the bus), the core copies. */
ONE_TEXT static void dma_wait(int32_t *to, const int32_t *from, int32_t words)
{
#if defined(MEMAOPT_DMA_CHANNEL)
    while ((*(const volatile uint32_t *)MEMAOPT_DMA_STATUS & MEMAOPT_DMA_DONE) == 0) {
        if ((*(const volatile uint32_t *)MEMAOPT_DMA_CHANNEL & MEMAOPT_DMA_RUNNING) == 0) {
            copy_words(to, from, words);
            break;
        }
    }
    __asm__ volatile("dmb" ::: "memory");
#else
    (void)to;
    (void)from;
    (void)words;
#endif
}
#endif
