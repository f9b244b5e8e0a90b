"""Instruction fetch: a queue of 32-bit words that the core fills ahead of what it executes.

A word is requested one cycle after the one before it, once the queue has room, and can issue
``fetch_latency`` cycles later plus its memory's wait states; it leaves the queue when its last halfword
issues. A queue of 4 words keeps up with any code; one of 3 falls behind in runs of 32-bit instructions at
addresses 2 mod 4, each of which holds two words, but only near data accesses (``fetch_recovers``). Requests are
computed when they are needed, or when a data access could get in their way.
"""

# Numba compiles these functions; to mypy they are untyped.
# mypy: ignore-errors

import numpy as np
from numba import njit

from memaopt.board.memories import fetch_wait, memory_at, speculate

_ONE = np.uint64(1)
_TWO = np.uint64(2)
_RING = np.uint64(7)
_KEEPS_UP = np.uint64(4)
_NEVER = np.int64(1 << 62)


@njit
def find_code(s, address):
    """The memory that holds the code at an address."""
    memory = memory_at(s, s.code)
    if memory.base <= address < memory.end:
        return memory
    n = 0
    while not memory_at(s, n).base <= address < memory_at(s, n).end:
        n += 1
    s.code = n
    return memory_at(s, n)


@njit
def _next_request(s, lane):
    """When the next word can be requested; never, as long as the queue is full."""
    at = lane.requested + 1
    queue = np.uint64(s.fetch_queue)
    if queue < _KEEPS_UP and lane.cycles - lane.accessed >= s.fetch_recovers:
        queue = _KEEPS_UP
    if lane.word >= lane.first + queue:
        oldest = lane.word - queue
        if oldest >= lane.unread:
            return _NEVER
        at = max(at, lane.freed[oldest & _RING])
    return at


@njit
def _request(s, lane, at, waits):
    wait = np.int64(0)
    if waits:
        address = lane.word << _TWO
        wait = fetch_wait(find_code(s, address), address, at)
    lane.requested = at + wait
    lane.ready[lane.word & _RING] = at + wait + s.fetch_latency
    lane.word += _ONE


@njit
def run_ahead(s, lane, until):
    """Make the requests that the core makes before cycle ``until``."""
    end = memory_at(s, s.code).end >> _TWO
    while lane.word < end and _next_request(s, lane) < until:
        _request(s, lane, _next_request(s, lane), True)


@njit
def restart(s, lane, address, size, waits):
    """Empty the queue and request the target of a branch, which issues at the lane's time if nothing waits.

    A target of ``size`` 4 at an address 2 mod 4 needs the second word too, ``refill_unaligned`` cycles later.
    """
    at = lane.cycles - s.fetch_latency
    if waits:
        run_ahead(s, lane, at)
    word = address >> _TWO
    find_code(s, address)
    lane.first = lane.unread = lane.word = word
    _request(s, lane, at, waits)
    if size == 4 and address & _TWO:
        lane.requested += s.refill_unaligned - 1


@njit
def issue(s, lane, address, size, waits):
    """Cycles that the instruction waits for its words; the lane's time moves on by as much."""
    end = address + np.uint64(size)
    need = (end - _ONE) >> _TWO
    while lane.word <= need:
        _request(s, lane, _next_request(s, lane), waits)
    wait = max(np.int64(0), lane.ready[need & _RING] - lane.cycles)
    lane.cycles += wait
    lane.fetching += wait
    whole = end >> _TWO
    while lane.unread < whole:
        lane.freed[lane.unread & _RING] = lane.cycles
        lane.unread += _ONE
    return wait


@njit
def contend(s, lane, memory, at, words):
    """Data accesses at the port that instructions come through: a fetch waits for each of them."""
    if memory.array and memory.first == 0 and not memory.accelerated:
        return  # table_sixteenths is what it was found to cost there
    if memory_at(s, s.code).port == memory.port:
        run_ahead(s, lane, at)
        if not memory.accelerated:
            lane.requested = max(lane.requested, at + words - 1)


@njit
def speculate_branch(s, lane, target):
    """A conditional branch that was not taken: the core has asked for its target all the same."""
    run_ahead(s, lane, lane.cycles)
    memory = memory_at(s, s.code)
    if memory.base <= target < memory.end:
        speculate(memory, target, lane.cycles)
