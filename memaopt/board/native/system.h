/* Registers that mean something to the board: DWT's cycle counter, the FPU's switch, flags that hardware sets.
 *
 * Peripherals and the private peripheral bus are host memory that the emulator reads and writes. The hook runs before
 * an instruction, so what a store changed is looked at when the next instruction begins, and the cycle counter is put
 * in place before a load reads it. Arm ARM DDI 0403, B3.2 (CPACR), C1.6 (DEMCR) and C1.8 (DWT). */
#ifndef SYSTEM_H
#define SYSTEM_H

#include "memories.h"

#define PERIPHERALS 0x40000000u
#define PERIPHERALS_END 0x60000000u
#define PRIVATE_BUS 0xE0000000u
#define PRIVATE_BUS_END 0xE0100000u
#define CYCCNT_ADDRESS 0xE0001004u

/* Words of the private peripheral bus. */
enum { CYCCNT = 0x1004 / 4, CTRL = 0x1000 / 4, DEMCR = 0xEDFC / 4, CPACR = 0xED88 / 4 };

/* Bring the cycle counter up to now. */
static inline void count_cycles(State *s)
{
    const int64_t now = s->lanes[s->waits ? REAL : IDEAL].cycles;
    if (s->counting)
        s->counter = (s->counter + now - s->counted_from) & 0xFFFFFFFF;
    s->counted_from = now;
}

/* An instruction is about to access the bytes from `address` up to `end`. */
static inline void note_access(State *s, uint64_t address, uint64_t end, bool store)
{
    const bool device = PERIPHERALS <= address && address < PERIPHERALS_END;
    if (!device && !(PRIVATE_BUS <= address && address < PRIVATE_BUS_END))
        return;
    if (store) {
        s->touched = address & ~(uint64_t)3;
        s->touched_end = end;
    } else if (address < CYCCNT_ADDRESS + 4 && end > CYCCNT_ADDRESS) {
        uint32_t *words = at_host(s->private_bus);
        count_cycles(s);
        words[CYCCNT] = (uint32_t)s->counter;
    }
}

static inline bool was_touched(const State *s, uint64_t address)
{
    return s->touched <= address && address < s->touched_end;
}

/* The bits that follow a register, as it was written. */
static inline void follow(uint32_t *words, const Flag *flag)
{
    const uint64_t value = words[(flag->register_at - PERIPHERALS) / 4] & flag->bits;
    uint32_t *status = &words[(flag->status - PERIPHERALS) / 4];
    if (flag->shift < 0)
        *status = (uint32_t)((*status & ~(flag->bits >> -flag->shift)) | (value >> -flag->shift));
    else
        *status = (uint32_t)((*status & ~(flag->bits << flag->shift)) | (value << flag->shift));
}

/* Switch a cache: what it holds stays in it. */
static inline void switch_cache(Cache *cache, bool on) { cache->lines = on ? cache->most : 0; }

static inline void see_private(State *s)
{
    const uint32_t *words = at_host(s->private_bus);
    count_cycles(s);
    if (was_touched(s, CYCCNT_ADDRESS))
        s->counter = words[CYCCNT];
    s->counting = words[DEMCR] >> 24 & words[CTRL] & 1;
    s->fpu_off = !s->has_fpu || (words[CPACR] >> 20 & 0xF) != 0xF;
}

/* Do what the registers stand for that the last instruction wrote. */
static inline void see_stores(State *s)
{
    if (s->touched >= PRIVATE_BUS) {
        see_private(s);
    } else {
        uint32_t *words = at_host(s->peripherals);
        const Flag *flags = at_host(s->flag_table);
        for (int64_t n = 0; n < s->flag_count; n++)
            if (was_touched(s, flags[n].register_at))
                follow(words, &flags[n]);
        for (int64_t n = 0; n < s->memory_count; n++) {
            Memory *memory = memory_at(s, n);
            if (memory->control != 0 && was_touched(s, memory->control)) {
                const uint64_t value = words[(memory->control - PERIPHERALS) / 4];
                memory->prefetch = (value & memory->prefetch_bit) != 0;
                switch_cache(&memory->instructions, (value & memory->instructions_bit) != 0);
                switch_cache(&memory->data, (value & memory->data_bit) != 0);
            }
        }
    }
    s->touched_end = 0;
}

#endif
