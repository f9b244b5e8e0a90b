"""Straight runs of code, fetched as the virtual board does it (docs/timing.md): the core's queue of words, the array of
the flash, and its caches.
"""

from __future__ import annotations

from typing import NamedTuple

from memaopt.kernels.code import REWIND, TABLE
from memaopt.models.runs import PlacedRun

#: Cycles from the request of a word until its instruction can issue (Timing.fetch_latency).
LATENCY = 3
#: Cycles from an access until a queue of fewer words than these is filled as one of so many: fit (docs/timing.md).
RECOVERS, _KEEPS_UP = 8, 4
#: The address of a word that no code has.
NOWHERE = -(1 << 40)
#: Sixteenths of a cycle that a load costs from the flash that instructions come from, if that has no wait states: fit
#: (docs/timing.md).
TABLE_SIXTEENTHS = 2


class Outside(NamedTuple):
    """Wait states of an access of up to 4 bytes to a memory outside the chip: of one that directly follows the last one
    there (``next``), and of any other (``first``). ``dma``: the cycles of a transfer from there, and of each of its
    words besides, if a DMA may make one."""

    first: int
    next: int
    dma: tuple[int, int] | None = None


class FlashTiming(NamedTuple):
    """What waiting depends on: wait states of the flash and its accelerator's sizes, as in :class:`Mcu`.

    ``read`` and ``line`` are in words; without an accelerator ``read`` is 0 and each word of code waits ``fetch``, each
    word of constants ``first``. ``queue``: words that the core fetches ahead. ``ram``: waits of a word of code in RAM;
    ``far``: whether that lies beyond the reach of a branch in flash; ``shared``: whether its port is also that of the
    data. ``outside``: the memory outside the chip that constants are in, if they are.
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
    shared: bool = False
    outside: Outside | None = None


class Fetching:
    """The core's clock, its queue of fetched words, and the flash's accelerator."""

    def __init__(self, machine: FlashTiming, data_in_ram: bool) -> None:
        self.m = machine
        self.data_in_ram = data_in_ram
        #: What the core stands still for each constant from outside the chip, while it fetches ahead. One that does not
        #: follow the last one takes longer, but few queues are not full by then.
        self.away = None if machine.outside is None else machine.outside.next
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

    def straight(self, run: PlacedRun) -> None:
        """Execute a straight run."""
        self.ideal += run.text.total
        if self.away is not None and not self.data_in_ram:
            self.ideal += self.away * run.text.loaded
        if not run.flash or self.m.read == 0:
            self._without_accelerator(run)
            return
        if run.start != self.at:
            self._branch(run.start)
        code, ready, now = self.code, self.ready, self.clock - run.start
        # What the cache has by the branch to it, or by a request ahead, may still be on its way.
        for word in range(run.start, self.word):
            if ready[word & 7] > now + word:
                self.follow(run)
                return
        for line, bits in run.lines:
            if code.get(line, 0) & bits != bits:
                self.follow(run)
                return
        self._cached(run)

    def follow(self, run: PlacedRun) -> None:
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
                ready[word & 7] = at + LATENCY
                word += 1
            if ready[w & 7] > clock:
                clock = ready[w & 7]
            freed[w & 7] = clock
            w += 1
            if loads <= REWIND:
                self.place = self.mark + REWIND - loads
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
        code, text, freed = self.code, run.text, self.freed
        for line, _ in run.lines:
            code[line] = code.pop(line)
        if self.data_in_ram:
            self.clock += text.total
            if text.rewinds:
                self.place = self.mark
        else:
            for before, loads in text.reads:
                self.clock += before
                self._load(loads, text.step)
            self.clock += text.rest
        cycles = text.cycles
        self.at = end = run.start + len(cycles)
        self.current = (end - 1) // self.m.read
        # The queue has kept up: the last word was requested in time, the next ones are as soon as there is room.
        issued = self.clock
        for back in range(1, min(len(cycles), self.m.queue) + 1):
            issued -= cycles[-back]
            freed[(end - back) & 7] = issued
        self.word, self.requested = end, self.clock - cycles[-1] - LATENCY

    def _without_accelerator(self, run: PlacedRun) -> None:
        """Code each of whose words waits alike, but behind instructions of several cycles."""
        each, text = self.m.fetch if run.flash else self.m.ram, run.text
        slower = max(len(text.cycles) * (1 + each) / text.total, 1.0) if each and text.total else 1.0
        self.at = NOWHERE
        for before, loads in text.reads:
            self.clock += before * slower
            self._load(loads, text.step)
        self.clock += text.rest * slower

    def _base(self) -> int:
        """The line of the next constant."""
        return int(self.place // (self.m.line or 8))

    def _branch(self, target: int) -> None:
        """A taken branch: the queue starts anew. Its refill is among the branch's cycles."""
        at = self.clock - LATENCY
        if self.at != NOWHERE:
            self._run_ahead(at)
        self.first = self.word = self.at = target
        self._request(at)

    def _run_ahead(self, until: float) -> None:
        """The requests that the core makes before then; words from ``at`` on have not been issued."""
        queue, per_read, ready, freed = self.m.queue, self.m.read, self.ready, self.freed
        word, requested, first, issued = self.word, self.requested, self.first, self.at
        # Behind an instruction as long as a return, which restores many registers.
        if queue < _KEEPS_UP and self.clock - freed[(issued - 1) & 7] >= RECOVERS:
            queue = _KEEPS_UP
        while True:
            at = requested + 1
            if word - first >= queue:
                if word - queue >= issued:
                    break
                room = freed[(word - queue) & 7]
                if room > at:
                    at = room
            if at >= until:
                break
            # As _request.
            if (read := word // per_read) != self.current:
                at += self._fetch(read, at)
            requested = at
            ready[word & 7] = at + LATENCY
            word += 1
        self.word, self.requested = word, requested

    def speculate(self, target: int) -> None:
        """A conditional branch that was not taken: the core has asked for its target all the same."""
        m = self.m
        if self.at != NOWHERE:
            self._run_ahead(self.clock)
        read = target // m.read
        line, bit = target // m.line, 1 << read % (m.line // m.read)
        held = self.code.get(line, 0)
        if read in (self.current, self.ahead) or held & bit:
            return
        self.busy = max(self.clock, self.busy) + m.first + 1
        if m.instruction_lines:
            self.code.pop(line, 0)
            if not held and len(self.code) >= m.instruction_lines:
                del self.code[next(iter(self.code))]
            self.code[line] = held | bit

    def _request(self, at: float) -> None:
        if (read := self.word // self.m.read) != self.current:
            at += self._fetch(read, at)
        self.requested = at
        self.ready[self.word & 7] = at + LATENCY
        self.word += 1

    def _fetch(self, read: int, at: float) -> float:
        """Wait states of a read of code."""
        m, code, busy = self.m, self.code, self.busy
        per_line = m.line // m.read
        line = read // per_line
        bit, wait = 1 << read % per_line, 0.0
        held = code.pop(line, 0)
        if not held & bit:
            if read == self.ahead:
                wait = self.ahead_ready - at if self.ahead_ready > at else 0.0
            else:
                start = at if at > busy else busy
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
        start, first = at if at > self.busy else self.busy, self.m.first
        self.busy = start + first + 1
        self.clock = start + first - after

    def _load(self, loads: int, step: float) -> None:
        """Constants read by the word that was just issued."""
        if loads <= REWIND:
            self.place = self.mark + REWIND - loads
            return
        if self.data_in_ram:
            return
        m, place = self.m, self.place
        if self.away is not None:
            self.clock += self.away * (loads - TABLE if loads > TABLE else loads)
            return
        if loads > TABLE:
            for i in range(0 if m.data_lines else loads - TABLE):
                self.read_array(i)
            return
        if m.read == 0:
            for _ in range(loads):
                place += step
                self.clock += m.first
            self.place = place
            return
        data, per_read, per_line, lines = self.data, m.read, m.line // m.read, m.data_lines
        for i in range(loads):
            read = int(place) // per_read
            place += step
            line, bit = read // per_line, 1 << read % per_line
            held = data.pop(line, 0)
            if not held & bit:
                self.read_array(i)
            if lines:
                if not held and len(data) >= lines:
                    del data[next(iter(data))]
                data[line] = held | bit
        self.place = place
