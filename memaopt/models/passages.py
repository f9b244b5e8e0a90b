"""Straight runs that are met again in the same state are not followed again, in whatever plan they are.

What a run does is a function of its words and of that state, so it is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.code import REWIND, TABLE
from memaopt.models.fetching import LATENCY, NOWHERE, Fetching, FlashTiming
from memaopt.models.runs import PlacedRun

#: Times are kept in this part of a cycle, so that states that differ by rounding alone are one.
_GRID = 256.0
#: Passages that are remembered for a machine; then it begins anew. That decides about nothing but time.
_MOST_PASSAGES = 1 << 16


#: Those lines of a cache that matter: how many others can come in before each goes, its address, its reads' bits.
_Held = tuple[tuple[int, int, int], ...]


class _Constants(NamedTuple):
    """The next constant and where they start again, in words; the lines that the run may read."""

    place: float
    mark: float
    held: _Held


class _Entry(NamedTuple):
    """All that a run's passage depends on, the branch to it being made.

    Times are relative to the clock, words to the run's first, lines to that word's or to that of the next constant.
    What cannot matter is not told apart: times that lie before each request to come, and which lines the others are.
    """

    text: int
    start: int
    word: int
    queued: int
    requested: float
    ready: tuple[float, ...]
    freed: tuple[float, ...]
    busy: float
    current: int
    ahead: int
    ahead_ready: float
    held: _Held
    constants: _Constants | None


class _Passage(NamedTuple):
    """What a run does: the cycles that it takes and the state that it leaves, relative to where it ends in time and
    began in words and lines. ``code`` and ``data``: the lines that it has touched, the last one last, and their bits.
    """

    cycles: float
    word: int
    requested: float
    ready: tuple[float, ...]
    freed: tuple[float, ...]
    busy: float
    current: int
    #: The read that is made ahead, and when it is ready: nothing where that is as before.
    ahead: tuple[int, float] | None
    code: tuple[tuple[int, int], ...]
    data: tuple[tuple[int, int], ...]
    place: float


@lru_cache(maxsize=64)
def passages(machine: FlashTiming) -> dict[_Entry, _Passage]:
    """The passages that are remembered for a machine."""
    return {}


class Remembering(Fetching):
    """Fetching that follows each run once for each state in which it is met."""

    def __init__(self, machine: FlashTiming, data_in_ram: bool) -> None:
        super().__init__(machine, data_in_ram)
        self.passages = passages(machine)
        #: What the first word's address matters by: its place in a line, and in the lists of times.
        self.turn = math.lcm(8, machine.line)

    def follow(self, run: PlacedRun) -> None:
        """What following the run does, word by word or from memory."""
        known, entry = self.passages, self._entry(run)
        passage = known.get(entry)
        if passage is None:
            if len(known) >= _MOST_PASSAGES:
                known.clear()
            passage = known[entry] = self._followed(run, entry)
        self._left(run, entry, passage)

    def _entry(self, run: PlacedRun) -> _Entry:
        m, now, start, word, text = self.m, self.clock, run.start, self.word, run.text
        queue = m.queue
        requested = round((self.requested - now) * _GRID) / _GRID
        # No request is made before both the last one and the cycle of a branch's refill.
        floor = min(requested + 1, -LATENCY)
        queued = min(word - self.first, queue)
        ready, freed = self.ready, self.freed
        read = start // m.read
        ahead = self.ahead - read
        ahead_ready = 0.0
        if 0 <= ahead <= (len(text.cycles) + queue) // m.read + 2:
            ahead_ready = max(round((self.ahead_ready - now) * _GRID) / _GRID, floor)
        else:
            ahead = NOWHERE
        low, high = start // m.line, (start + len(text.cycles) + queue) // m.line + 1
        held = _held(self.code, low, high, low, m.instruction_lines)
        constants = None
        if text.reads and not self.data_in_ram:
            base = self._base()
            first, last = self.place, self.place
            mark = 0.0
            if text.rewinds:
                first, last = min(first, self.mark), max(last, self.mark)
                mark = self.mark - base * m.line
            low, high = int(first // m.line), int((last + text.constants) // m.line)
            held_data = _held(self.data, low, high, base, m.data_lines)
            constants = _Constants(self.place - base * m.line, mark, held_data)
        return _Entry(
            text.number,
            start % self.turn,
            word - start,
            queued,
            requested,
            tuple([max(round((ready[w & 7] - now) * _GRID) / _GRID, 0.0) for w in range(start, word)]),
            tuple([max(round((freed[w & 7] - now) * _GRID) / _GRID, floor) for w in range(word - queued, start)]),
            max(round((self.busy - now) * _GRID) / _GRID, floor),
            self.current - read,
            ahead,
            ahead_ready,
            held,
            constants,
        )

    def _followed(self, run: PlacedRun, entry: _Entry) -> _Passage:
        """Follow a run word by word, from the state that the entry describes."""
        m, start, clock, place = self.m, run.start, self.clock, self.place
        read = start // m.read
        ahead, ahead_ready = self.ahead, self.ahead_ready
        self.clock, self.first = 0.0, self.word - entry.queued
        self.requested, self.busy, self.ahead_ready = entry.requested, entry.busy, entry.ahead_ready
        self.ready, self.freed = [0.0] * 8, [0.0] * 8
        for w, time in zip(range(start, self.word), entry.ready, strict=True):
            self.ready[w & 7] = time
        for w, time in zip(range(self.first, start), entry.freed, strict=True):
            self.freed[w & 7] = time
        word, current = self.word, self.current
        super().follow(run)
        now, base = self.clock, int(place // m.line)
        reads = range(word // m.read + (word // m.read == current), self.current + 1)
        touched = dict.fromkeys(each // (m.line // m.read) for each in reads)
        same = self.ahead == ahead and entry.ahead == NOWHERE
        made = _Passage(
            now,
            self.word - start,
            self.requested - now,
            tuple(t - now for t in self.ready),
            tuple(t - now for t in self.freed),
            self.busy - now,
            self.current - read,
            None if same else (self.ahead - read, self.ahead_ready - now),
            tuple((line - start // m.line, self.code[line]) for line in touched if line in self.code),
            tuple((line - base, self.data[line]) for line in self._passed(run, place) if line in self.data),
            self.place - base * m.line,
        )
        self.clock, self.ahead_ready, self.place = clock, ahead_ready, place
        return made

    def _passed(self, run: PlacedRun, place: float) -> Iterable[int]:
        """The lines of constants that a run reads from a place on, each where it is read last."""
        if self.data_in_ram or self.away is not None:
            return ()
        passed: dict[int, None] = {}
        for _, loads in run.text.reads:
            if loads <= REWIND:
                place = self.mark + REWIND - loads
            for _ in range(loads if loads <= TABLE else 0):
                line = int(place) // self.m.line
                passed.pop(line, None)
                passed[line] = None
                place += run.text.step
        return passed

    def _left(self, run: PlacedRun, entry: _Entry, passage: _Passage) -> None:
        """Set the state that a run leaves."""
        m, start = self.m, run.start
        clock = self.clock + passage.cycles
        self.clock = clock
        self.first = start + entry.word - entry.queued
        self.word, self.at = start + passage.word, start + len(run.text.cycles)
        self.requested, self.busy = clock + passage.requested, clock + passage.busy
        self.ready = [clock + t for t in passage.ready]
        self.freed = [clock + t for t in passage.freed]
        read = start // m.read
        self.current = read + passage.current
        if passage.ahead is not None:
            ahead, ready = passage.ahead
            self.ahead, self.ahead_ready = read + ahead, clock + ready
        touch(self.code, passage.code, start // m.line, m.instruction_lines)
        if entry.constants is not None:
            base = self._base()
            touch(self.data, passage.data, base, m.data_lines)
            self.place = base * m.line + passage.place
        elif run.text.rewinds:
            self.place = self.mark


def _held(cache: dict[int, int], low: int, high: int, base: int, most: int) -> _Held:
    """The lines of a cache from ``low`` to ``high``. As many as these can come in; who outlasts them stays."""
    spare, coming = most - len(cache), high - low + 1
    return tuple(
        [
            (min(spare + place, coming), line - base, bits)
            for place, (line, bits) in enumerate(cache.items())
            if low <= line <= high
        ]
    )


def touch(cache: dict[int, int], touched: Iterable[tuple[int, int]], base: int, most: int) -> None:
    """Make lines the last of a cache's order; the first of it go."""
    for line, bits in touched:
        line += base
        cache.pop(line, None)
        cache[line] = bits
    while len(cache) > most:
        del cache[next(iter(cache))]
