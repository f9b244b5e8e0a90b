/* The two maps of addresses (memaopt/board/maps.py), and what is asked of the emulator. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

typedef int32_t (*ReadRegister)(void *uc, int32_t number, void *value);
typedef int32_t (*StopEmulation)(void *uc);

/* The bytes at an address that Python wrote into the state. */
static inline void *at_host(uint64_t address) { return (void *)(uintptr_t)address; }

static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* A core register by Unicorn's number. */
static inline uint64_t register_of(void *uc, State *s, int32_t number)
{
    uint64_t value = 0;
    ((ReadRegister)(uintptr_t)s->read_register)(uc, number, &value);
    return value & 0xFFFFFFFFu;
}

/* The number of the row decoded for an address, 0 if there is none. */
static inline uint32_t row_at(const State *s, uint64_t address)
{
    const uint32_t *pages = at_host(s->code_pages), *rows = at_host(s->code_map);
    return rows[(uint64_t)pages[address / PAGE] * (PAGE / 2) + address % PAGE / 2];
}

/* Drop what was decoded where a store changes code: it is decoded again when it is next executed. */
static inline void forget_row(State *s, uint64_t address, uint64_t width)
{
    const uint32_t *pages = at_host(s->code_pages);
    uint32_t *rows = at_host(s->code_map);
    /* An instruction that begins a halfword earlier may reach into the bytes stored. */
    for (uint64_t at = (address & ~(uint64_t)1) - 2; at < address + width; at += 2) {
        const uint64_t page = pages[at / PAGE % PAGES];
        if (page)
            rows[page * (PAGE / 2) + at % PAGE / 2] = 0;
    }
}

/* The number of the buffer that holds a byte, 0 if nothing is mapped there. */
static inline uint32_t buffer_at(const State *s, uint64_t address)
{
    const uint32_t *pages = at_host(s->data_pages);
    const uint16_t *buffers = at_host(s->data_map);
    return buffers[(uint64_t)pages[address / PAGE] * PAGE + address % PAGE];
}

static inline Memory *memory_at(const State *s, int64_t number) { return (Memory *)at_host(s->memories) + number; }

#endif
