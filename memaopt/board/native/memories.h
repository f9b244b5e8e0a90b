/* Wait states: what an access to each memory costs beyond the core's own cycles.
 *
 * A memory without an accelerator costs a fixed number of cycles for each access (fewer if it directly follows the last
 * one) and for each word of instructions. Flash behind an accelerator, as ST's ART (RM0432 and RM0090, embedded flash
 * memory), delivers one read of 8 or 16 bytes in `first` wait states, keeps the current read, a cache for instructions
 * and one for data, and may read ahead; one port serves all. */
#ifndef MEMORIES_H
#define MEMORIES_H

#include "address.h"

/* The slot of the line that holds a read, -1 if it has none. */
static inline int64_t slot_of(const Memory *memory, const Cache *cache, uint64_t read)
{
    if (cache->lines == 0)
        return -1;
    const uint16_t *slots = at_host(cache->slots);
    const uint64_t line = read >> (memory->line - memory->read);
    return (int64_t)slots[line - (memory->base >> memory->line)] - 1;
}

static inline uint32_t bit_of(const Memory *memory, uint64_t read)
{
    return (uint32_t)1 << (read & (((uint64_t)1 << (memory->line - memory->read)) - 1));
}

static inline bool is_cached(const Memory *memory, const Cache *cache, uint64_t read)
{
    const int64_t slot = slot_of(memory, cache, read);
    return slot >= 0 && (cache->valid[slot] & bit_of(memory, read)) != 0;
}

/* Use a read's line in the cache, with the read filled in; the least recently used line makes room. */
static inline void keep(const Memory *memory, Cache *cache, uint64_t read)
{
    if (cache->lines == 0)
        return;
    cache->clock += 1;
    int64_t slot = slot_of(memory, cache, read);
    if (slot < 0) {
        uint16_t *slots = at_host(cache->slots);
        const uint64_t first = memory->base >> memory->line;
        slot = 0;
        for (int64_t i = 1; i < cache->lines; i++)
            if (cache->used[i] < cache->used[slot])
                slot = i;
        if (cache->used[slot] > 0)
            slots[cache->line[slot] - first] = 0;
        const uint64_t line = read >> (memory->line - memory->read);
        slots[line - first] = (uint16_t)(slot + 1);
        cache->line[slot] = line;
        cache->valid[slot] = 0;
    }
    cache->used[slot] = cache->clock;
    cache->valid[slot] |= bit_of(memory, read);
}

/* Cycles from `at` until the flash array has delivered one read. */
static inline int64_t read_array(Memory *memory, int64_t at)
{
    const int64_t start = most(at, memory->busy);
    memory->busy = start + memory->first + 1;
    return start - at + memory->first;
}

/* Wait states of the word of instructions requested at cycle `at`. */
static inline int64_t fetch_wait(Memory *memory, uint64_t address, int64_t at)
{
    if (!memory->accelerated)
        return memory->fetch;
    const uint64_t read = address >> memory->read;
    if (read == memory->current)
        return 0;
    int64_t wait = 0;
    if (!is_cached(memory, &memory->instructions, read))
        wait = read == memory->ahead ? most(0, memory->ahead_ready - at) : read_array(memory, at);
    keep(memory, &memory->instructions, read);
    memory->current = read;
    const uint64_t following = read + 1;
    if (!memory->prefetch || following == memory->ahead || following << memory->read >= memory->end)
        return wait;
    if (!is_cached(memory, &memory->instructions, following)) {
        const int64_t begin = at + wait;
        memory->ahead = following;
        memory->ahead_ready = begin + read_array(memory, begin);
    }
    return wait;
}

/* Fetch the target of a branch that is then not taken: it occupies the array and fills the cache. */
static inline void speculate(Memory *memory, uint64_t address, int64_t at)
{
    if (!memory->accelerated)
        return;
    const uint64_t read = address >> memory->read;
    if (read != memory->current && read != memory->ahead && !is_cached(memory, &memory->instructions, read)) {
        read_array(memory, at);
        keep(memory, &memory->instructions, read);
    }
}

/* Sixteenths of a cycle that a load from an address costs beyond its other cycles. */
static inline int64_t bank_cost(const State *s, uint64_t address)
{
    const Bank *banks = at_host(s->banks);
    for (int64_t n = 0; n < s->bank_count; n++)
        if (banks[n].base <= address && address < banks[n].end)
            return banks[n].load;
    return 0;
}

/* Wait states of the data access that starts at cycle `at`. */
static inline int64_t data_wait(Memory *memory, uint64_t address, uint64_t width, int64_t at)
{
    if (memory->accelerated) {
        const uint64_t read = address >> memory->read;
        const bool hit = is_cached(memory, &memory->data, read);
        keep(memory, &memory->data, read);
        return hit ? 0 : read_array(memory, at);
    }
    const bool follows = address == memory->following;
    memory->following = address + width;
    return follows ? memory->next : memory->first;
}

#endif
