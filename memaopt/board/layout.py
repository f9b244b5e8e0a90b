"""The records that Python and the native hook share, and the numbers that mean something in them.

Python fills them before a run, the hook (``native/hook.c``) reads and updates them at every instruction, Python reads
the counters afterwards. :func:`header` says the same in C.
"""

from typing import Any

import numpy as np

# What an instruction does to memory, and how the pipeline sees it.
OTHER, LOAD, STORE, LOAD_MANY, STORE_MANY = range(5)

# Flags of a row.
BRANCH = 1  # may change the PC
CONDITIONAL = 2  # may fall through (Bcc, CBZ; inside an IT block a branch that runs is taken)
IT_BLOCK = 4  # the IT instruction itself
MUST_ALIGN = 8  # faults on an address that is no multiple of 4
DIVIDE = 16
SIGNED = 32
WRITES_SP = 64
UNDEFINED = 128
ACCESSES = 256  # moves data between the core and memory
BREAKPOINT = 512
SUPERVISOR = 1024  # SVC
HALT = 2048  # a branch to itself
FLOAT = 4096  # needs the FPU
MOVES_SP = 8192  # SP may go to another stack: MSR, or MOV SP and LDR SP
SLEEP = 1 << 14  # WFI
WAIT_EVENT = 1 << 15  # WFE
SEND_EVENT = 1 << 16  # SEV
YIELD = 1 << 17
HOST = 1 << 18  # BKPT 0xAB: a semihosting request
COPROCESSOR = 1 << 19  # MRC, MCR and their kind: the chip has none
IN_BLOCK = 1 << 20  # one of the above that cannot be told apart inside an IT block
STOPS = UNDEFINED | BREAKPOINT | SUPERVISOR | HALT | SLEEP | COPROCESSOR | IN_BLOCK
# After these the run goes on behind the instruction, which the emulator must not execute.
STEPS = WAIT_EVENT | YIELD | HOST

# Why a run stopped; RUNNING after it returned.
RUNNING, NOT_DECODED, FAULT_UNMAPPED, FAULT_READ_ONLY, FAULT_UNALIGNED = range(5)
FAULT_UNDEFINED, FAULT_STACK, FAULT_DIVIDE, FAULT_FETCH, FAULT_SUPERVISOR = range(5, 10)
BUDGET, STOP_BREAKPOINT, STOP_HALT, STOP_SLEEP, STOP_UNTIL, STOP_EXIT = range(10, 16)
FAULT_FPU, FAULT_COPROCESSOR, FAULT_BLOCK, FAULT_HOST = range(16, 20)
FAULT_DMA_EARLY, FAULT_DMA_BUSY, FAULT_DMA_KIND = range(22, 25)
STEP, HOST_REQUEST = range(20, 22)  # not the end: Python goes on behind the instruction

LITERAL = 0xFFFF  # a base "register": the row's offset is the address

# Both address maps are arrays of pages, and a table of 2**20 gives the page of an address.
PAGE = 4096
PAGES = 1 << 20

LOADS, LOAD_BYTES, STORES, STORE_BYTES = range(4)

# Every time is kept twice: with the machine's wait states, and on an ideal core without any.
REAL, IDEAL = range(2)

# One decoded instruction.
ROW = np.dtype(
    [
        ("executed", "i8"),
        ("cycles", "i8", 2),
        ("stack", "i8", 4),  # accesses to the stack: loads, bytes, stores, bytes
        ("offset", "i8"),
        ("address_registers", "u4"),  # bit n for rn, as the four masks below
        ("loaded", "u4"),  # written by a load, late for the next load's address
        ("late", "u4"),  # written too late for the next instruction's address
        ("float_reads", "u4"),  # bit n for sn; the addend of an accumulation is not among them
        ("float_late", "u4"),  # a result that the next instruction should not read
        ("flags", "u4"),
        ("base", "u2"),  # Unicorn's register number, LITERAL, or 0
        ("index", "u2"),
        ("shift", "u1"),
        ("kind", "u1"),
        ("size", "u1"),  # bytes of the instruction
        ("cost", "u1"),
        ("refill", "u1"),  # cycles beyond `cost` when the branch is taken
        ("words", "u1"),  # accesses; of an IT, the instructions in its block
        ("width", "u1"),  # bytes of each
        ("divisor", "u1"),  # Unicorn's register number
        ("dividend", "u1"),
    ],
    align=True,
)

# A fully associative cache with LRU replacement, each `read` of a line filled on its own.
LINES = 256
CACHE = np.dtype(
    [
        ("lines", "i8"),  # 0 while it is off
        ("most", "i8"),  # lines that it has
        ("slots", "u8"),  # address of a table: the slot + 1 of each line of the memory
        ("clock", "i8"),
        ("used", "i8", LINES),  # the clock when a slot was last used
        ("line", "u8", LINES),
        ("valid", "u4", LINES),  # bit n for the line's read n
    ],
    align=True,
)

# One memory: what it costs, and what its flash accelerator holds.
MEMORY = np.dtype(
    [
        ("base", "u8"),
        ("end", "u8"),
        ("first", "i8"),  # wait states of a data access, or of a read of the flash array
        ("next", "i8"),  # the same for an access right after the last one
        ("fetch", "i8"),  # wait states of each word of instructions
        ("port", "i8"),  # accesses at one port get in each other's way
        ("accelerated", "i8"),
        ("array", "i8"),  # a flash
        ("prefetch", "i8"),
        ("read", "u8"),  # log2 of the bytes that the flash array delivers
        ("line", "u8"),  # log2 of the bytes of a cache line
        ("busy", "i8"),  # when the flash array is free again
        ("current", "u8"),  # the read that instructions come from now
        ("ahead", "u8"),  # the read fetched ahead
        ("ahead_ready", "i8"),
        ("following", "u8"),  # the address after the last data access
        ("control", "u8"),  # the register that switches the accelerator, 0 for none; then its bits
        ("prefetch_bit", "u8"),
        ("instructions_bit", "u8"),
        ("data_bit", "u8"),
        ("instructions", CACHE),
        ("data", CACHE),
    ],
    align=True,
)

# The core's clock and its instruction fetch, once for REAL and once for IDEAL.
LANE = np.dtype(
    [
        ("cycles", "i8"),  # when the next instruction issues, if it has been fetched
        ("word", "u8"),  # the next word (address / 4) to request
        ("first", "u8"),  # the first word since the last taken branch
        ("unread", "u8"),  # the first word not yet fully consumed
        ("requested", "i8"),  # when the last request was made
        ("ready", "i8", 8),  # when word w can issue, at w mod 8
        ("freed", "i8", 8),  # when word w left the queue
        ("stored", "i8"),  # when the store buffer is free again
        ("accessed", "i8"),  # when the last instruction that accesses memory issued
        ("sixteenths", "i8"),  # of a cycle, that loads have cost and that is not yet a whole one
        ("fetching", "i8"),  # cycles lost to instruction fetch
        ("waiting", "i8"),  # cycles lost to data's wait states
    ],
    align=True,
)

# A bank of a memory whose loads cost more, at each address that it has.
BANK = np.dtype([("base", "u8"), ("end", "u8"), ("load", "i8")], align=True)  # sixteenths of a cycle

# A status flag of a peripheral: hardware sets it as soon as a program sets the bit that it follows.
FLAG = np.dtype(
    [
        ("register_at", "u8"),
        ("bits", "u8"),
        ("status", "u8"),
        ("shift", "i8"),  # to the left
    ],
    align=True,
)

# The rules of a core's timing that depend on what happens at run time, so that the hook applies them.
RULES = (
    *("load_after_load", "load_after_store", "address_interlock", "float_result", "refill_unaligned"),
    *("unaligned_halfword", "unaligned_word", "unaligned_word_odd", "skipped"),
    *("divide_zero", "divide_short", "divide", "fetch_latency", "fetch_recovers", "table_sixteenths"),
)

# What the hook is told of a DMA channel: its registers and their bits (memaopt/machines/dma.py).
DMA_REGISTERS = ("channel", "start", "running", "status", "clear", "done", "clock", "clocked")

STATE = np.dtype(
    [
        ("lanes", LANE, 2),
        ("instructions", "i8"),
        ("skips", "i8"),
        ("stop", "i8"),
        ("stop_address", "u8"),  # of the instruction
        ("fault_address", "u8"),  # of the access
        ("budget", "i8"),
        ("exit", "u8"),
        ("last_address", "u8"),
        ("last", "i8"),  # row of the instruction executed last, 0 for none
        ("previous", "i8"),  # row that stands before this one in the pipeline, 0 for none
        ("expected", "u8"),  # the address after the last instruction
        ("watch_stack", "i8"),  # flags of the last instruction if it wrote SP
        ("stack_top", "u8"),
        ("stack_limit", "u8"),
        ("stack_low", "u8"),
        ("left_bytes", "i8"),  # the most that a stack held before SP went to another, and where that stack is
        ("left_top", "u8"),
        ("left_limit", "u8"),
        ("left_low", "u8"),
        ("until", "u8"),  # where to stop, odd for nowhere
        ("event", "i8"),  # the event register of WFE and SEV
        ("touched", "u8"),  # registers that the last instruction wrote: from, up to
        ("touched_end", "u8"),
        ("counting", "i8"),  # DWT's cycle counter runs
        ("counter", "i8"),  # what it was
        ("counted_from", "i8"),  # at this cycle
        ("has_fpu", "i8"),
        ("fpu_off", "i8"),
        ("flag_count", "i8"),
        ("memory_count", "i8"),
        ("bank_count", "i8"),
        ("banks", "u8"),
        ("trap_divide", "i8"),
        ("read_register", "u8"),  # the emulator's functions
        ("stop_emulation", "u8"),
        ("fetch_queue", "i8"),  # words
        ("waits", "i8"),  # some memory has wait states: keep the REAL lane as well
        ("code", "i8"),  # the memory that instructions come from
        *((rule, "i8") for rule in RULES),
        ("rows", "u8"),  # addresses of the arrays
        ("code_pages", "u8"),
        ("code_map", "u8"),
        ("data_pages", "u8"),
        ("data_map", "u8"),
        ("writable", "u8"),
        ("memory_of", "u8"),  # for each buffer
        ("stack_buffer", "i8"),  # the stack's number
        ("memories", "u8"),
        ("counts", "u8"),
        ("private_bus", "u8"),
        ("peripherals", "u8"),
        ("flag_table", "u8"),
        *((f"dma_{field}", "u8") for field in DMA_REGISTERS),  # of the channel; 0 if there is none
        ("dma_most", "i8"),  # words of a transfer
        ("dma_begins", "i8"),  # cycles of a transfer, and of a word
        ("dma_word", "i8"),
        ("dma_memory", "i8"),  # that is read
        ("dma_low", "u8"),  # the target that nobody may touch yet: from, up to; 0 if there is none
        ("dma_high", "u8"),
        ("dma_ready", "i8"),  # when it has arrived
        ("dma_bytes", "i8"),  # of all transfers
        ("read_memory", "u8"),  # the emulator's functions
        ("write_memory", "u8"),
    ],
    align=True,
)

_RECORDS = {"Row": ROW, "Cache": CACHE, "Memory": MEMORY, "Lane": LANE, "Bank": BANK, "Flag": FLAG, "State": STATE}


def header() -> str:
    """The numbers and records of this module in C. The compiler is made to compare their sizes."""
    lines = ["#include <stdint.h>", ""]
    lines += [f"#define {name} {value}" for name, value in globals().items() if name.isupper() and type(value) is int]
    for name, record in _RECORDS.items():
        lines += ["", "typedef struct {"]
        for field in record.names or ():
            kind, extent = record[field].base, "".join(f"[{n}]" for n in record[field].shape)
            lines.append(f"    {_c_type(kind)} {field}{extent};")
        lines += [f"}} {name};", f'_Static_assert(sizeof({name}) == {record.itemsize}, "{name} has another size");']
    return "\n".join(lines) + "\n"


def _c_type(kind: np.dtype[Any]) -> str:
    named = {id(record): name for name, record in _RECORDS.items()}
    return named.get(id(kind)) or f"{'u' if kind.kind == 'u' else ''}int{8 * kind.itemsize}_t"
