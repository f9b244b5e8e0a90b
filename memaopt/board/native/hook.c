/* The native hook: counts, times and checks every instruction at some twenty nanoseconds apiece.
 *
 * Unicorn calls memaopt_instruction before each instruction. It finds the instruction's decoded row, computes the
 * address of its access from the registers (a memory hook would corrupt IT blocks), and updates the counters and clocks
 * of memaopt/board/layout.py, of which layout.h is made. */
#include "dma.h"
#include "fetch.h"

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

enum { SP = 12 }; /* UC_ARM_REG_SP */

#define ADDRESSES 0xFFFFFFFFu
#define MOST_STACK ((uint64_t)1 << 20)

static void stop(void *uc, State *s, int64_t reason, uint64_t address, uint64_t access)
{
    s->stop = reason;
    s->stop_address = address;
    s->fault_address = access;
    ((StopEmulation)(uintptr_t)s->stop_emulation)(uc);
}

/* Cycles of the core itself, the same with and without wait states. */
static void spend(State *s, Row *row, int64_t cycles)
{
    s->lanes[IDEAL].cycles += cycles;
    row->cycles[IDEAL] += cycles;
    if (s->waits) {
        s->lanes[REAL].cycles += cycles;
        row->cycles[REAL] += cycles;
    }
}

/* Wait for the instruction to be fetched. */
static void wait_for(State *s, Row *row, uint64_t address)
{
    row->cycles[IDEAL] += issue(s, &s->lanes[IDEAL], address, row->size, false);
    if (s->waits)
        row->cycles[REAL] += issue(s, &s->lanes[REAL], address, row->size, true);
}

/* How the core came here: by a taken branch, or past instructions that an IT block skipped. */
static void arrive(State *s, Row *rows, uint64_t address, uint32_t size)
{
    Row *last = &rows[s->last];
    if (address == s->expected && (last->flags & CONDITIONAL || !(last->flags & BRANCH))) {
        if (s->waits && last->flags & CONDITIONAL)
            speculate_branch(s, &s->lanes[REAL], (uint64_t)last->offset);
        return;
    }
    if (last->flags & BRANCH) {
        spend(s, last, last->refill);
        restart(s, &s->lanes[IDEAL], address, size, false);
        if (s->waits)
            restart(s, &s->lanes[REAL], address, size, true);
        return;
    }
    for (uint64_t at = s->expected; at < address;) {
        const uint32_t n = row_at(s, at);
        if (n == 0)
            break;
        wait_for(s, &rows[n], at);
        spend(s, &rows[n], s->skipped);
        s->skips += 1;
        s->previous = 0;
        at += rows[n].size;
    }
}

/* The whole cycles of what loads have cost in sixteenths. */
static int64_t whole(Lane *lane)
{
    const int64_t cycles = lane->sixteenths >> 4;
    lane->sixteenths &= 15;
    return cycles;
}

/* Wait states of an instruction's accesses to one memory, from the lane's time on. */
static void wait_data(State *s, Row *row, Memory *memory, uint64_t at, bool store, bool table)
{
    Lane *lane = &s->lanes[REAL];
    const uint64_t width = row->width;
    const int64_t now = lane->cycles, words = row->words;
    int64_t wait = most(0, lane->stored - now);
    contend(s, lane, memory, now + wait, words);
    if (s->bank_count && !store)
        lane->sixteenths += words * bank_cost(s, at);
    /* A single store leaves its wait states to the store buffer. */
    const bool buffered = store && words == 1;
    for (int64_t i = 0; i < words; i++) {
        const int64_t states = contended_wait(s, memory, at + (uint64_t)i * width, width, now + wait + i);
        if (buffered)
            lane->stored = now + wait + 1 + states;
        else
            wait += states;
    }
    if (table && memory->first == 0)
        lane->sixteenths += words * s->table_sixteenths;
    wait += whole(lane);
    lane->cycles += wait;
    lane->waiting += wait;
    row->cycles[REAL] += wait;
}

/* Why an instruction that stops the run does so. */
static int64_t reason_of(uint32_t flags)
{
    if (flags & UNDEFINED)
        return FAULT_UNDEFINED;
    if (flags & SUPERVISOR)
        return FAULT_SUPERVISOR;
    if (flags & SLEEP)
        return STOP_SLEEP;
    if (flags & COPROCESSOR)
        return FAULT_COPROCESSOR;
    if (flags & IN_BLOCK)
        return FAULT_BLOCK;
    return flags & BREAKPOINT ? STOP_BREAKPOINT : STOP_HALT;
}

/* SP goes to another stack: the one that it left before, or the object or the free bytes that lie below it. */
static void change_stack(State *s, uint64_t sp)
{
    const uint64_t top = s->stack_top, limit = s->stack_limit, low = s->stack_low;
    if (s->left_limit < sp && sp <= s->left_top) {
        s->stack_top = s->left_top;
        s->stack_limit = s->left_limit;
        s->stack_low = s->left_low;
    } else {
        s->left_bytes = most(s->left_bytes, (int64_t)(s->left_top - s->left_low));
        uint64_t begin = sp;
        const uint32_t holds = buffer_at(s, (sp - 1) & ADDRESSES);
        while (holds && buffer_at(s, (begin - 1) & ADDRESSES) == holds && sp - begin < MOST_STACK)
            begin -= 1;
        s->stack_top = s->stack_low = sp;
        s->stack_limit = begin;
    }
    s->left_top = top;
    s->left_limit = limit;
    s->left_low = low;
}

/* SP was written: how deep the stack is, and whether SP went to another one. */
static void look_at_stack(void *uc, State *s)
{
    const bool moved = (s->watch_stack & MOVES_SP) != 0;
    const uint64_t sp = register_of(uc, s, SP);
    s->watch_stack = 0;
    /* The limit of one stack may be the top of another, where that begins. */
    if (moved && !(s->stack_limit < sp && sp <= s->stack_top))
        change_stack(s, sp);
    if (sp < s->stack_low) {
        s->stack_low = sp;
        if (sp < s->stack_limit)
            stop(uc, s, FAULT_STACK, s->last_address, sp);
    }
}

static int64_t bits_of(uint64_t number)
{
    int64_t bits = 0;
    for (; number; number >>= 1)
        bits++;
    return bits;
}

static uint64_t magnitude(uint64_t word) { return word >> 31 ? ((uint64_t)1 << 32) - word : word; }

/* Cycles of a division, -1 for a divisor of zero. */
static int64_t division(void *uc, State *s, const Row *row)
{
    uint64_t divisor = register_of(uc, s, row->divisor), dividend = register_of(uc, s, row->dividend);
    if (divisor == 0)
        return -1;
    if (dividend == 0)
        return s->divide_zero;
    if (row->flags & SIGNED) {
        dividend = magnitude(dividend);
        divisor = magnitude(divisor);
    }
    const int64_t longer = bits_of(dividend) - bits_of(divisor);
    return longer < 0 ? s->divide_short : s->divide + (longer + 3) / 4;
}

/* Check an instruction's accesses, and count them; false after a fault. */
static bool count_accesses(void *uc, State *s, Row *row, uint64_t address, uint64_t at, bool store)
{
    const uint8_t *writable = at_host(s->writable);
    int64_t(*counts)[4] = at_host(s->counts);
    const int column = store ? STORES : LOADS;
    const uint64_t width = row->width;
    if (in_flight(s) && at < s->dma_high && at + width * row->words > s->dma_low) {
        stop(uc, s, FAULT_DMA_EARLY, address, at);
        return false;
    }
    for (uint64_t i = 0; i < row->words; i++) {
        const uint64_t byte = (at + i * width) & ADDRESSES;
        const uint32_t buffer = buffer_at(s, byte);
        if (buffer == 0 || buffer_at(s, (byte + width - 1) & ADDRESSES) == 0) {
            stop(uc, s, FAULT_UNMAPPED, address, byte);
            return false;
        }
        if (store && !writable[buffer]) {
            stop(uc, s, FAULT_READ_ONLY, address, byte);
            return false;
        }
        counts[buffer][column] += 1;
        counts[buffer][column + 1] += (int64_t)width;
        if (buffer == (uint64_t)s->stack_buffer) {
            row->stack[column] += 1;
            row->stack[column + 1] += (int64_t)width;
        }
        if (store)
            forget_row(s, byte, width);
    }
    return true;
}

/* What an access costs beyond the row's cycles, for what stood before it and for its address. */
static int64_t interlocks(const State *s, const Row *row, const Row *before, uint64_t at, bool store)
{
    int64_t extra = 0;
    if (before->kind == STORE) {
        if (!store)
            extra += s->load_after_store;
    } else if (before->kind == LOAD && row->kind == LOAD && !(before->loaded & row->address_registers)) {
        extra += s->load_after_load - row->cost;
    }
    if (before->late & row->address_registers && row->kind != STORE_MANY)
        extra += s->address_interlock;
    if (row->width == 4) {
        if (at & 1)
            extra += s->unaligned_word_odd;
        else if (at & 2)
            extra += s->unaligned_word;
    } else if (row->width == 2 && at & 1) {
        extra += s->unaligned_halfword;
    }
    return extra;
}

/* Check and count an instruction's memory accesses: their cycles beyond its cost. A fault stops the run. */
static int64_t access_memory(void *uc, State *s, Row *row, const Row *before, uint64_t address)
{
    uint64_t at = (uint64_t)row->offset;
    if (row->base != LITERAL)
        at += register_of(uc, s, row->base);
    if (row->index != 0)
        at += register_of(uc, s, row->index) << row->shift;
    at &= ADDRESSES;

    const bool store = row->kind == STORE || row->kind == STORE_MANY;
    if (row->flags & MUST_ALIGN && at & 3) {
        stop(uc, s, FAULT_UNALIGNED, address, at);
        return 0;
    }
    if (at >= PERIPHERALS) {
        const uint64_t end = at + (uint64_t)row->words * row->width;
        note_access(s, at, end, store);
        if (s->dma_channel && !store && at < s->dma_status + 4 && end > s->dma_status)
            show_status(s);
    }
    if (!count_accesses(uc, s, row, address, at, store))
        return 0;
    const uint8_t *memory_of = at_host(s->memory_of);
    Memory *memory = memory_at(s, memory_of[buffer_at(s, at)]);
    /* A table beside the code: both come from one flash. */
    const bool table = !store && memory->array && memory->port == memory_at(s, s->code)->port;
    Lane *ideal = &s->lanes[IDEAL];
    if (table) {
        ideal->sixteenths += row->words * s->table_sixteenths;
        const int64_t cycles = whole(ideal);
        ideal->cycles += cycles;
        ideal->waiting += cycles;
        row->cycles[IDEAL] += cycles;
    }
    ideal->accessed = ideal->cycles;
    if (s->waits) {
        wait_data(s, row, memory, at, store, table);
        s->lanes[REAL].accessed = s->lanes[REAL].cycles;
    }
    return interlocks(s, row, before, at, store);
}

/* SEV, WFE, YIELD or a semihosting request: the emulator knows the first only, so the run goes on behind it. */
static void hint(void *uc, State *s, uint32_t flags, uint64_t address)
{
    if (flags & SEND_EVENT) {
        s->event = 1;
        return;
    }
    if (flags & WAIT_EVENT && !s->event) {
        stop(uc, s, STOP_SLEEP, address, address);
        return;
    }
    if (flags & WAIT_EVENT)
        s->event = 0;
    stop(uc, s, flags & HOST ? HOST_REQUEST : STEP, address, address);
}

/* The cycles of an instruction, unless it stops the run. */
static int64_t cycles_of(void *uc, State *s, Row *row, const Row *before, uint64_t address)
{
    int64_t cycles = row->cost;
    if (row->flags & STOPS) {
        stop(uc, s, reason_of(row->flags), address, address);
        return 0;
    }
    if (row->flags & DIVIDE) {
        int64_t extra = division(uc, s, row);
        if (extra < 0) {
            if (s->trap_divide) {
                stop(uc, s, FAULT_DIVIDE, address, address);
                return 0;
            }
            extra = s->divide_zero;
        }
        cycles += extra;
    }
    if (s->fpu_off && row->flags & FLOAT) {
        stop(uc, s, FAULT_FPU, address, address);
        return 0;
    }
    if (row->flags & ACCESSES)
        cycles += access_memory(uc, s, row, before, address);
    return before->float_late & row->float_reads ? cycles + s->float_result : cycles;
}

EXPORTED void memaopt_instruction(void *uc, uint64_t address, uint32_t size, State *s);

void memaopt_instruction(void *uc, uint64_t address, uint32_t size, State *s)
{
    (void)size;
    /* Inside an IT block the emulator goes on to the block's end. */
    if (s->stop)
        return;
    Row *rows = at_host(s->rows);
    if (s->touched_end) {
        const uint64_t begin = s->touched, end = s->touched_end;
        see_stores(s);
        const int64_t reason = s->dma_channel && begin < PRIVATE_BUS ? see_channel(uc, s, begin, end) : 0;
        if (reason) {
            stop(uc, s, reason, s->last_address, s->dma_channel);
            return;
        }
    }
    if (s->watch_stack) {
        look_at_stack(uc, s);
        if (s->stop)
            return;
    }
    const uint32_t n = row_at(s, address);
    if (n == 0 && address != s->exit) {
        stop(uc, s, NOT_DECODED, address, address);
        return;
    }
    arrive(s, rows, address, rows[n].size);
    if (n == 0)
        return;
    if (address == s->until) {
        stop(uc, s, STOP_UNTIL, address, address);
        return;
    }
    if (s->instructions >= s->budget) {
        stop(uc, s, BUDGET, address, address);
        return;
    }

    Row *row = &rows[n];
    wait_for(s, row, address);
    const int64_t cycles = cycles_of(uc, s, row, &rows[s->previous], address);
    if (s->stop)
        return;
    if (row->flags & WRITES_SP)
        s->watch_stack = row->flags;
    row->executed += 1;
    spend(s, row, cycles);
    s->instructions += 1;
    s->expected = address + row->size;
    s->last = n;
    s->last_address = address;
    /* A folded IT takes no place in the pipeline: what stood before it still stands before its successor. */
    if (!(row->flags & IT_BLOCK))
        s->previous = n;
    if (row->flags & (STEPS | SEND_EVENT))
        hint(uc, s, row->flags, address);
}
