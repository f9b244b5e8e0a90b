"""Wait states: what an access to each memory costs beyond the core's own cycles.

A memory without an accelerator costs a fixed number of cycles for each access (fewer if it directly
follows the last one) and for each word of instructions. Flash behind an accelerator, as ST's ART (RM0432
and RM0090, embedded flash memory), delivers one read of 8 or 16 bytes in ``first`` wait states, keeps the
current read, a cache for instructions and one for data, and may read ahead; one port serves all.
"""

# Numba compiles these functions; to mypy they are untyped.
# mypy: ignore-errors

import numpy as np
from numba import carray, njit

from memaopt.board.layout import BANK, MEMORY
from memaopt.board.native import pointer

_ONE = np.uint64(1)


@njit
def memory_at(s, number):
    """The memory of that number."""
    return carray(pointer(s.memories), (64,), MEMORY)[number]


@njit
def _slot(memory, cache, read):
    """The slot of the line that holds a read, -1 if it has none."""
    if cache.lines == 0:
        return np.int64(-1)
    slots = carray(pointer(cache.slots), (1 << 32,), np.uint16)
    line = read >> (memory.line - memory.read)
    return np.int64(slots[line - (memory.base >> memory.line)]) - 1


@njit
def _bit(memory, read):
    return np.uint32(1) << np.uint32(read & ((_ONE << (memory.line - memory.read)) - _ONE))


@njit
def _cached(memory, cache, read):
    slot = _slot(memory, cache, read)
    return slot >= 0 and cache.valid[slot] & _bit(memory, read) != 0


@njit
def _keep(memory, cache, read):
    """Use a read's line in the cache, with the read filled in; the least recently used line makes room."""
    if cache.lines == 0:
        return
    cache.clock += 1
    slot = _slot(memory, cache, read)
    if slot < 0:
        slots = carray(pointer(cache.slots), (1 << 32,), np.uint16)
        first = memory.base >> memory.line
        slot = 0
        for i in range(1, cache.lines):
            if cache.used[i] < cache.used[slot]:
                slot = i
        if cache.used[slot] > 0:
            slots[cache.line[slot] - first] = 0
        line = read >> (memory.line - memory.read)
        slots[line - first] = slot + 1
        cache.line[slot] = line
        cache.valid[slot] = 0
    cache.used[slot] = cache.clock
    cache.valid[slot] |= _bit(memory, read)


@njit
def _read_array(memory, at):
    """Cycles from ``at`` until the flash array has delivered one read."""
    start = max(at, memory.busy)
    memory.busy = start + memory.first + 1
    return start - at + memory.first


@njit
def fetch_wait(memory, address, at):
    """Wait states of the word of instructions requested at cycle ``at``."""
    if not memory.accelerated:
        return memory.fetch
    read = address >> memory.read
    if read == memory.current:
        return np.int64(0)
    wait = np.int64(0)
    if not _cached(memory, memory.instructions, read):
        wait = max(np.int64(0), memory.ahead_ready - at) if read == memory.ahead else _read_array(memory, at)
    _keep(memory, memory.instructions, read)
    memory.current = read
    following = read + _ONE
    if not memory.prefetch or following == memory.ahead or following << memory.read >= memory.end:
        return wait
    if not _cached(memory, memory.instructions, following):
        memory.ahead = following
        begin = at + wait
        memory.ahead_ready = begin + _read_array(memory, begin)
    return wait


@njit
def speculate(memory, address, at):
    """Fetch the target of a branch that is then not taken: it occupies the array and fills the cache."""
    if not memory.accelerated:
        return
    read = address >> memory.read
    if read != memory.current and read != memory.ahead and not _cached(memory, memory.instructions, read):
        _read_array(memory, at)
        _keep(memory, memory.instructions, read)


@njit
def bank_cost(s, address):
    """Sixteenths of a cycle that a load from an address costs beyond its other cycles."""
    banks = carray(pointer(s.banks), (1 << 10,), BANK)
    for n in range(s.bank_count):
        if banks[n].base <= address < banks[n].end:
            return banks[n].load
    return np.int64(0)


@njit
def data_wait(memory, address, width, at):
    """Wait states of the data access that starts at cycle ``at``."""
    if memory.accelerated:
        read = address >> memory.read
        hit = _cached(memory, memory.data, read)
        _keep(memory, memory.data, read)
        return np.int64(0) if hit else _read_array(memory, at)
    follows = address == memory.following
    memory.following = address + width
    return memory.next if follows else memory.first
