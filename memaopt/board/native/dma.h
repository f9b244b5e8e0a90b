/* One channel of a DMA controller that copies words from memory to memory, as the machine's file describes it.
 *
 * What it copies is there at once, and nobody may look: until the program has read in the status register that all has
 * arrived, an access to the target is a fault. A transfer takes its figures' cycles; where the core uses the memory that
 * it reads from meanwhile, both lose their places in a row (modelled); other buses are taken as free (not modelled). */
#ifndef DMA_H
#define DMA_H

#include "system.h"

typedef int32_t (*MoveMemory)(void *uc, uint64_t address, void *bytes, uint64_t size);

/* Bytes that are moved at a time. */
#define PIECE 1024u

/* A register as the program sees it. */
static inline uint32_t *device_word(const State *s, uint64_t address)
{
    uint32_t *words = at_host(s->peripherals);
    return &words[(address - PERIPHERALS) / 4];
}

static inline int64_t now_of(const State *s) { return s->lanes[s->waits ? REAL : IDEAL].cycles; }

/* Whether a transfer is on its way that nobody has waited for. */
static inline bool in_flight(const State *s) { return s->dma_high != 0; }

static inline Memory *read_by_channel(const State *s) { return memory_at(s, s->dma_memory); }

/* The program is about to read the status register. */
static inline void show_status(State *s)
{
    if (in_flight(s) && now_of(s) >= s->dma_ready) {
        *device_word(s, s->dma_status) |= (uint32_t)s->dma_done;
        s->dma_high = 0;
    }
}

/* Count the words of a transfer; false if one of them is not in a memory that can be read, or written. */
static inline bool count_transfer(State *s, uint64_t from, uint64_t to, uint64_t bytes)
{
    const uint8_t *writable = at_host(s->writable);
    int64_t(*counts)[4] = at_host(s->counts);
    for (uint64_t at = 0; at < bytes; at += 4) {
        const uint32_t source = buffer_at(s, (from + at) & 0xFFFFFFFFu), target = buffer_at(s, (to + at) & 0xFFFFFFFFu);
        if (!source || !target || !writable[target])
            return false;
        counts[source][LOADS] += 1;
        counts[source][LOAD_BYTES] += 4;
        counts[target][STORES] += 1;
        counts[target][STORE_BYTES] += 4;
        forget_row(s, to + at, 4);
    }
    return true;
}

/* Begin what the channel's registers say; false if it is no transfer that the board knows. */
static inline bool begin_transfer(void *uc, State *s, const uint32_t *channel)
{
    const uint64_t words = channel[1], from = channel[2], to = channel[3];
    if (channel[0] != s->dma_start || words == 0 || (int64_t)words > s->dma_most || (from | to) & 3)
        return false;
    const uint8_t *memory_of = at_host(s->memory_of);
    if (!count_transfer(s, from, to, 4 * words))
        return false;
    s->dma_memory = memory_of[buffer_at(s, from)];
    Memory *memory = read_by_channel(s);
    if (memory->accelerated)
        return false;
    uint8_t piece[PIECE];
    for (uint64_t at = 0; at < 4 * words; at += PIECE) {
        const uint64_t left = 4 * words - at, size = left < PIECE ? left : PIECE;
        ((MoveMemory)(uintptr_t)s->read_memory)(uc, from + at, piece, size);
        ((MoveMemory)(uintptr_t)s->write_memory)(uc, to + at, piece, size);
    }
    const int64_t waits = s->waits ? memory->first + ((int64_t)words - 1) * memory->next : 0;
    s->dma_ready = now_of(s) + s->dma_begins + (int64_t)words * s->dma_word + waits;
    s->dma_low = to;
    s->dma_high = to + 4 * words;
    s->dma_bytes += 4 * (int64_t)words;
    memory->following = 0;
    return true;
}

/* Do what registers stand for that lie from `begin` up to `end` and were just written: 0, or why the run ends. */
static inline int64_t see_channel(void *uc, State *s, uint64_t begin, uint64_t end)
{
    uint32_t *clear = device_word(s, s->dma_clear), *channel = device_word(s, s->dma_channel);
    if (begin <= s->dma_clear && s->dma_clear < end) {
        *device_word(s, s->dma_status) &= ~*clear;
        *clear = 0;
    }
    if (s->dma_channel + 4 <= begin || end <= s->dma_channel)
        return 0;
    if ((*device_word(s, s->dma_clock) & s->dma_clocked) != s->dma_clocked) {
        *channel = 0;
        return 0;
    }
    if (in_flight(s))
        return FAULT_DMA_BUSY;
    if (!(*channel & s->dma_running))
        return 0;
    return begin_transfer(uc, s, channel) ? 0 : FAULT_DMA_KIND;
}

/* The core is about to use a memory: where a transfer reads from it, neither goes on where it was. */
static inline int64_t contended_wait(State *s, Memory *memory, uint64_t address, uint64_t width, int64_t at)
{
    if (!in_flight(s) || at >= s->dma_ready || memory != read_by_channel(s))
        return data_wait(memory, address, width, at);
    memory->following = 0;
    const int64_t states = data_wait(memory, address, width, at);
    s->dma_ready += states + memory->first - memory->next;
    return states;
}

#endif
