/* Instruction fetch: a queue of 32-bit words that the core fills ahead of what it executes.
 *
 * A word is requested one cycle after the one before it, once the queue has room, and can issue `fetch_latency` cycles
 * later plus its memory's wait states; it leaves the queue when its last halfword issues. A queue of 4 words keeps up
 * with any code; one of 3 falls behind in runs of 32-bit instructions at addresses 2 mod 4, each of which holds two
 * words, but only near data accesses (`fetch_recovers`). Requests are computed when they are needed, or when a data
 * access could get in their way. */
#ifndef FETCH_H
#define FETCH_H

#include "memories.h"

enum { RING = 7, KEEPS_UP = 4 };

#define NEVER ((int64_t)1 << 62)

/* The memory that holds the code at an address. */
static inline Memory *find_code(State *s, uint64_t address)
{
    Memory *memory = memory_at(s, s->code);
    for (int64_t n = 0; !(memory->base <= address && address < memory->end); n++) {
        memory = memory_at(s, n);
        s->code = n;
    }
    return memory;
}

/* When the next word can be requested; never, as long as the queue is full. */
static inline int64_t next_request(const State *s, const Lane *lane)
{
    int64_t at = lane->requested + 1;
    uint64_t queue = (uint64_t)s->fetch_queue;
    if (queue < KEEPS_UP && lane->cycles - lane->accessed >= s->fetch_recovers)
        queue = KEEPS_UP;
    if (lane->word >= lane->first + queue) {
        const uint64_t oldest = lane->word - queue;
        if (oldest >= lane->unread)
            return NEVER;
        at = most(at, lane->freed[oldest & RING]);
    }
    return at;
}

static inline void request(State *s, Lane *lane, int64_t at, bool waits)
{
    const uint64_t address = lane->word << 2;
    const int64_t wait = waits ? fetch_wait(find_code(s, address), address, at) : 0;
    lane->requested = at + wait;
    lane->ready[lane->word & RING] = at + wait + s->fetch_latency;
    lane->word += 1;
}

/* Make the requests that the core makes before cycle `until`. */
static inline void run_ahead(State *s, Lane *lane, int64_t until)
{
    const uint64_t end = memory_at(s, s->code)->end >> 2;
    while (lane->word < end && next_request(s, lane) < until)
        request(s, lane, next_request(s, lane), true);
}

/* Empty the queue and request the target of a branch, which issues at the lane's time if nothing waits.
 *
 * A target of `size` 4 at an address 2 mod 4 needs the second word too, `refill_unaligned` cycles later. */
static inline void restart(State *s, Lane *lane, uint64_t address, uint32_t size, bool waits)
{
    const int64_t at = lane->cycles - s->fetch_latency;
    if (waits)
        run_ahead(s, lane, at);
    find_code(s, address);
    lane->first = lane->unread = lane->word = address >> 2;
    request(s, lane, at, waits);
    if (size == 4 && address & 2)
        lane->requested += s->refill_unaligned - 1;
}

/* Cycles that the instruction waits for its words; the lane's time moves on by as much. */
static inline int64_t issue(State *s, Lane *lane, uint64_t address, uint32_t size, bool waits)
{
    const uint64_t end = address + size, need = (end - 1) >> 2;
    while (lane->word <= need)
        request(s, lane, next_request(s, lane), waits);
    const int64_t wait = most(0, lane->ready[need & RING] - lane->cycles);
    lane->cycles += wait;
    lane->fetching += wait;
    for (; lane->unread < end >> 2; lane->unread++)
        lane->freed[lane->unread & RING] = lane->cycles;
    return wait;
}

/* Data accesses at the port that instructions come through: a fetch waits for each of them. */
static inline void contend(State *s, Lane *lane, const Memory *memory, int64_t at, int64_t words)
{
    if (memory->array && memory->first == 0 && !memory->accelerated)
        return; /* table_sixteenths is what it was found to cost there */
    if (memory_at(s, s->code)->port == memory->port) {
        run_ahead(s, lane, at);
        if (!memory->accelerated)
            lane->requested = most(lane->requested, at + words - 1);
    }
}

/* A conditional branch that was not taken: the core has asked for its target all the same. */
static inline void speculate_branch(State *s, Lane *lane, uint64_t target)
{
    run_ahead(s, lane, lane->cycles);
    Memory *memory = memory_at(s, s->code);
    if (memory->base <= target && target < memory->end)
        speculate(memory, target, lane->cycles);
}

#endif
