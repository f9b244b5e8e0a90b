"""Straight runs of code, fetched as the virtual board does it (docs/timing.md): the core's queue of words, the array of
the flash, and its caches.

A run that is met again in the same state is not followed again, in whatever plan it is: what it does is a function of
its words and of that state, so it is remembered.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.code import REWIND, Straight

#: Cycles from the request of a word until its instruction can issue (Timing.fetch_latency).
_LATENCY = 3
#: The address of a word that no code has.
NOWHERE = -(1 << 40)
#: Times are kept in this part of a cycle, so that states that differ by rounding alone are one.
_GRID = 256.0
#: Passages that are remembered for a machine; then it begins anew. That decides about nothing but time.
_MOST_PASSAGES = 1 << 16


#: Sixteenths of a cycle that a load costs from the flash that instructions come from, if that has no wait states: fit
#: (docs/timing.md).
TABLE_SIXTEENTHS = 2


class FlashTiming(NamedTuple):
    """What waiting depends on: wait states of the flash and its accelerator's sizes, as in :class:`Mcu`.

    ``read`` and ``line`` are in words; without an accelerator ``read`` is 0 and each word of code waits ``fetch``, each
    word of constants ``first``. ``queue``: words that the core fetches ahead. ``ram``: waits of a word of code in RAM;
    ``far``: whether that lies beyond the reach of a branch in flash.
    """

    first: int
    fetch: int
    read: int
    line: int
    instruction_lines: int
    data_lines: int
    prefetch: bool
    queue: int
    ram: int
    far: bool


class Text(NamedTuple):
    """What a straight run is wherever it lies: what its words cost and load. Each text has a ``number`` of its own."""

    number: int
    cycles: tuple[float, ...]
    loads: tuple[int, ...]
    step: float
    total: float
    #: (cycles before it, loads) of each word that loads, and the cycles after the last.
    reads: tuple[tuple[float, int], ...]
    rest: float
    #: How far it comes in the constants at most, in words, and whether it starts again with them.
    constants: float
    rewinds: bool


class PlacedRun(NamedTuple):
    """A placed straight run. ``flash``: it waits for the flash. ``lines``: those of the cache that hold it, with the
    bits of the reads in each.
    """

    text: Text
    start: int
    flash: bool
    lines: tuple[tuple[int, int], ...]


_numbers = itertools.count()


@lru_cache(maxsize=1 << 14)
def text_of(node: Straight) -> Text:
    """What is the same wherever the run lies."""
    reads: list[tuple[float, int]] = []
    passed = 0.0
    for cycles, loads in zip(node.cycles, node.loads, strict=True):
        if loads:
            reads.append((passed, loads))
            passed = 0.0
        passed += cycles
    constants = sum(loads for loads in node.loads if loads != REWIND) * node.step
    return Text(
        next(_numbers),
        node.cycles,
        node.loads,
        node.step,
        sum(node.cycles),
        tuple(reads),
        passed,
        constants,
        REWIND in node.loads,
    )


def run_of(node: Straight, at: int, flash: bool, machine: FlashTiming) -> PlacedRun:
    """A straight run at a word's address."""
    lines: dict[int, int] = {}
    if machine.read:
        per_line = machine.line // machine.read
        for read in range(at // machine.read, (at + len(node.cycles) - 1) // machine.read + 1):
            lines[read // per_line] = lines.get(read // per_line, 0) | 1 << read % per_line
    return PlacedRun(text_of(node), at, flash, tuple(lines.items()))


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


class Fetching:
    """The core's clock, its queue of fetched words, and the flash's accelerator."""

    def __init__(self, machine: FlashTiming, data_in_ram: bool) -> None:
        self.m = machine
        self.data_in_ram = data_in_ram
        self.clock = self.ideal = 0.0
        # The queue: the next word to request, the first since the last branch, the last request's time.
        # ``at``: the next word to issue, if it follows on the last one.
        self.word = self.first = 0
        self.at = NOWHERE
        self.requested = -1.0
        self.ready = [0.0] * 8
        self.freed = [0.0] * 8
        # The array and its caches: line -> bits of its reads, the least recently used line first.
        self.busy = 0.0
        self.current = self.ahead = NOWHERE
        self.ahead_ready = 0.0
        self.code: dict[int, int] = {}
        self.data: dict[int, int] = {}
        # Constants: the next word's place, and where it starts again.
        self.place = self.mark = 0.0
        self.passages = passages(machine)

    def straight(self, run: PlacedRun) -> None:
        """Execute a straight run."""
        self.ideal += run.text.total
        if not run.flash or self.m.read == 0:
            self._without_accelerator(run)
            return
        if run.start != self.at:
            self._branch(run.start)
        code = self.code
        for line, bits in run.lines:
            if code.get(line, 0) & bits != bits:
                break
        else:
            self._cached(run)
            return
        entry = self._entry(run)
        passage = self.passages.get(entry)
        if passage is None:
            if len(self.passages) >= _MOST_PASSAGES:
                self.passages.clear()
            passage = self.passages[entry] = self._followed(run, entry)
        self._left(run, entry, passage)

    # Passages.

    def _entry(self, run: PlacedRun) -> _Entry:
        m, now, start, word, text = self.m, self.clock, run.start, self.word, run.text
        queue = m.queue
        requested = round((self.requested - now) * _GRID) / _GRID
        # No request is made before both the last one and the cycle of a branch's refill.
        floor = min(requested + 1, -_LATENCY)
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
            start % math.lcm(8, m.line),
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
        self._words(run)
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
        if self.data_in_ram:
            return ()
        passed: dict[int, None] = {}
        for _, loads in run.text.reads:
            if loads == REWIND:
                place = self.mark
            for _ in range(loads):
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
        _touch(self.code, passage.code, start // m.line, m.instruction_lines)
        if entry.constants is not None:
            base = self._base()
            _touch(self.data, passage.data, base, m.data_lines)
            self.place = base * m.line + passage.place
        elif run.text.rewinds:
            self.place = self.mark

    # Word by word.

    def _words(self, run: PlacedRun) -> None:
        """Word by word, from the queue's state on."""
        code, text = self.code, run.text
        m, data, data_in_ram = self.m, self.data, self.data_in_ram
        queue, per_read, per_line, wait = m.queue, m.read, m.line // m.read, m.first
        prefetch, lines, latest = m.prefetch, m.instruction_lines, NOWHERE
        ready, freed = self.ready, self.freed
        clock, word, requested, first = self.clock, self.word, self.requested, self.first
        current, busy, ahead, ahead_ready = self.current, self.busy, self.ahead, self.ahead_ready
        w = run.start
        for cycles, loads in zip(text.cycles, text.loads, strict=True):
            while word <= w:
                at = requested + 1
                if word - first >= queue:
                    room = freed[(word - queue) & 7]
                    if room > at:
                        at = room
                read = word // per_read
                if read != current:
                    # As _fetch, which nearly all of the time would be spent in calling.
                    line, bit = read // per_line, 1 << read % per_line
                    # The line of the last read is the last in its order already.
                    held = code.get(line, 0) if line == latest else code.pop(line, 0)
                    if not held & bit:
                        if read == ahead:
                            at = at if at > ahead_ready else ahead_ready
                        else:
                            at = (at if at > busy else busy) + wait
                            busy = at + 1
                    if lines:
                        if not held and len(code) >= lines:
                            del code[next(iter(code))]
                        code[line] = held | bit
                        latest = line
                    current = read
                    read += 1
                    if prefetch and read != ahead and not code.get(read // per_line, 0) & 1 << read % per_line:
                        ahead, ahead_ready = read, (at if at > busy else busy) + wait
                        busy = ahead_ready + 1
                requested = at
                ready[word & 7] = at + _LATENCY
                word += 1
            if ready[w & 7] > clock:
                clock = ready[w & 7]
            freed[w & 7] = clock
            w += 1
            if loads == REWIND:
                self.place = self.mark
            elif loads and not data_in_ram:
                read = int(self.place) // per_read
                if loads == 1 and data and data.get(read // per_line, 0) & 1 << read % per_line:
                    line = read // per_line
                    data[line] = data.pop(line)
                    self.place += text.step
                else:
                    self.clock, self.word, self.requested, self.at = clock, word, requested, w
                    self.current, self.busy, self.ahead, self.ahead_ready = current, busy, ahead, ahead_ready
                    self._load(loads, text.step)
                    clock, word, requested = self.clock, self.word, self.requested
                    current, busy, ahead, ahead_ready = self.current, self.busy, self.ahead, self.ahead_ready
                    latest = NOWHERE
            clock += cycles
        self.clock, self.word, self.requested, self.at = clock, word, requested, w
        self.current, self.busy, self.ahead, self.ahead_ready = current, busy, ahead, ahead_ready

    def _cached(self, run: PlacedRun) -> None:
        """A run that the cache holds whole: only its loads can wait."""
        code = self.code
        for line, _ in run.lines:
            code[line] = code.pop(line)
        for before, loads in run.text.reads:
            self.clock += before
            self._load(loads, run.text.step)
        self.clock += run.text.rest
        self.at = end = run.start + len(run.text.cycles)
        self.current = (end - 1) // self.m.read
        # The queue has kept up: the next word was requested in time.
        self.word, self.requested = end, self.clock - _LATENCY - 1
        self.first = max(self.first, end - self.m.queue + 1)

    def _without_accelerator(self, run: PlacedRun) -> None:
        """Code each of whose words waits alike, but behind instructions of several cycles."""
        each = self.m.fetch if run.flash else self.m.ram
        self.clock += max(run.text.total, len(run.text.cycles) * (1 + each)) if each else run.text.total
        self.at = NOWHERE
        for _, loads in run.text.reads:
            self._load(loads, run.text.step)

    def _base(self) -> int:
        """The line of the next constant."""
        return int(self.place // (self.m.line or 8))

    def _branch(self, target: int) -> None:
        """A taken branch: the queue starts anew. Its refill is among the branch's cycles."""
        at = self.clock - _LATENCY
        if self.at != NOWHERE:
            self._run_ahead(at)
        self.first = self.word = self.at = target
        self._request(at)

    def _run_ahead(self, until: float) -> None:
        """The requests that the core makes before then; words from ``at`` on have not been issued."""
        queue = self.m.queue
        while True:
            at, word = self.requested + 1, self.word
            if word - self.first >= queue:
                if word - queue >= self.at:
                    return
                at = max(at, self.freed[(word - queue) & 7])
            if at >= until:
                return
            self._request(at)

    def _request(self, at: float) -> None:
        read = self.word // self.m.read
        if read != self.current:
            at += self._fetch(read, at)
        self.requested = at
        self.ready[self.word & 7] = at + _LATENCY
        self.word += 1

    def _fetch(self, read: int, at: float) -> float:
        """Wait states of a read of code."""
        m, code = self.m, self.code
        per_line = m.line // m.read
        line = read // per_line
        bit, wait = 1 << read % per_line, 0.0
        held = code.pop(line, 0)
        if not held & bit:
            if read == self.ahead:
                wait = max(0.0, self.ahead_ready - at)
            else:
                start = max(at, self.busy)
                self.busy = start + m.first + 1
                wait = start - at + m.first
        if m.instruction_lines:
            if not held and len(code) >= m.instruction_lines:
                del code[next(iter(code))]
            code[line] = held | bit
        self.current = read
        if m.prefetch and read + 1 != self.ahead:
            following = read + 1
            if not code.get(following // per_line, 0) & 1 << following % per_line:
                self.ahead = following
                start = max(at + wait, self.busy)
                self.busy = start + m.first + 1
                self.ahead_ready = start + m.first
        return wait

    def read_array(self, after: int = 0) -> None:
        """Wait for a read of data, behind what is being read; ``after``: cycles that its instruction took before."""
        at = self.clock + after
        if self.at != NOWHERE:
            self._run_ahead(at)
        start = max(at, self.busy)
        self.busy = start + self.m.first + 1
        self.clock = start + self.m.first - after

    def _load(self, loads: int, step: float) -> None:
        """Constants read by the word that was just issued."""
        if loads == REWIND:
            self.place = self.mark
            return
        if self.data_in_ram:
            return
        m = self.m
        for i in range(loads):
            place = int(self.place)
            self.place += step
            if m.read == 0:
                self.clock += m.first
                continue
            per_line = m.line // m.read
            read = place // m.read
            line, bit = read // per_line, 1 << read % per_line
            held = self.data.pop(line, 0)
            if not held & bit:
                self.read_array(i)
            if m.data_lines:
                if not held and len(self.data) >= m.data_lines:
                    del self.data[next(iter(self.data))]
                self.data[line] = held | bit


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


def _touch(cache: dict[int, int], touched: Iterable[tuple[int, int]], base: int, most: int) -> None:
    """Make lines the last of a cache's order; the first of it go."""
    for line, bits in touched:
        cache.pop(base + line, None)
        cache[base + line] = bits
    while len(cache) > most:
        del cache[next(iter(cache))]
