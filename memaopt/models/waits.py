"""Waiting: the cycles that code and constants in slow memory cost beyond the core's own.

The code of a layer or of a GEMM is a tree of straight runs and loops (:mod:`memaopt.emit.layers.code`). It is executed
here as the virtual board does it (docs/timing.md), but by words instead of instructions, and a loop only until it
repeats itself: what a turn costs depends on what the caches hold when it begins, which settles in two or three turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from memaopt.emit.layers.code import REWIND, Call, Loop, Node, Small, Staged, Straight, Table, body_of
from memaopt.mcus import Mcu

#: Cycles from the request of a word until its instruction can issue (Timing.fetch_latency).
_LATENCY = 3
#: Turns of a loop that are executed at most; if they still differ, the rest costs the mean of the last two.
_TURNS = 4
#: Routines start at a multiple of this, as emitted (KERNEL in helpers.c).
_ALIGNMENT = 32
#: A word's address that no code has.
_NOWHERE = -(1 << 40)


class Timing(NamedTuple):
    """What waiting depends on: wait states of the flash and its accelerator's sizes, as in :class:`Mcu`.

    ``read`` and ``line`` are in words; without an accelerator ``read`` is 0 and each word of code waits ``fetch``, each
    word of constants ``first``. ``queue``: words that the core fetches ahead. ``ram``: waits of a word of code in RAM.
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


def timing(mcu: Mcu) -> Timing:
    """The figures of a machine's flash and of the RAM that code runs from."""
    flash = mcu.memory("flash")
    ram = next(place for place in mcu.places if place.name == mcu.code_ram)
    a = flash.accelerator
    if a is None:
        return Timing(flash.next, flash.fetch, 0, 0, 0, 0, False, mcu.fetch_queue_words, ram.fetch)
    return Timing(
        flash.first, 0, a.read_bytes // 4, a.line_bytes // 4, a.fetch_lines, a.load_lines, a.prefetch,
        mcu.fetch_queue_words, ram.fetch,
    )  # fmt: skip


@lru_cache(maxsize=1 << 16)
def waiting(body: tuple[Node, ...], machine: Timing, code_in_ram: bool = False, data_in_ram: bool = False) -> float:
    """The cycles that one execution of ``body`` waits, the caches being empty at first."""
    if machine.read == 0 and machine.fetch == machine.first == machine.ram == 0:
        return 0.0
    core = _Core(machine, code_in_ram, data_in_ram)
    placed = core.placed(body)
    core.run(placed)
    return core.waited + core.clock - core.ideal


class _Run(NamedTuple):
    """A placed straight run: its first word, and what the words cost and load. ``flash``: it waits for the flash."""

    number: int
    start: int
    cycles: tuple[float, ...]
    loads: tuple[int, ...]
    step: float
    flash: bool
    total: float
    #: (cycles before it, loads) of each word that loads, and the cycles after the last.
    reads: tuple[tuple[float, int], ...]
    rest: float
    #: Lines of the cache, with the bits of the reads in each.
    lines: tuple[tuple[int, int], ...]


class _Turns(NamedTuple):
    number: int
    body: tuple[_Placed, ...]
    trips: float
    advance: float


class _Table(NamedTuple):
    number: int
    size: int
    loads: float


class _Called(NamedTuple):
    number: int
    body: tuple[_Placed, ...]


class _Apart(NamedTuple):
    number: int
    body: tuple[_Placed, ...]


#: See _Core._state.
_State = tuple[Any, ...]
_Placed = _Run | _Turns | _Table | _Called | _Apart


class _Core:
    """The core's clock, its queue of fetched words, and the flash's accelerator."""

    def __init__(self, machine: Timing, code_in_ram: bool, data_in_ram: bool) -> None:
        self.m = machine
        self.code_in_ram, self.data_in_ram = code_in_ram, data_in_ram
        self.clock = self.ideal = self.waited = 0.0
        # The queue: the next word to request, the first since the last branch, the last request's time.
        # ``at``: the next word to issue, if it follows on the last one.
        self.word = self.first = 0
        self.at = _NOWHERE
        self.requested = -1.0
        self.ready = [0.0] * 8
        self.freed = [0.0] * 8
        # The array and its caches: line -> bits of its reads, the least recently used line first.
        self.busy = 0.0
        self.current = self.ahead = _NOWHERE
        self.ahead_ready = 0.0
        self.code: dict[int, int] = {}
        self.data: dict[int, int] = {}
        # Constants: the next word's place, and where it starts again.
        self.place = self.mark = 0.0
        self.numbers = 0
        self.routines: dict[str, int] = {}
        self.end = 0
        self.memo: dict[tuple[Any, ...], tuple[float, float, float, int, _State]] = {}

    # Where everything lies.

    def placed(self, nodes: Iterable[Node]) -> tuple[_Placed, ...]:
        """The nodes with addresses: routines one after the other where they are first called, the rest behind them."""
        nodes = tuple(nodes)
        for call in _calls(nodes):
            name = call.routine.name
            if name not in self.routines:
                self.routines[name] = self.end
                size = call.routine.size // 4 if isinstance(call.routine, Small) else _words(body_of(call))
                self.end += -(-size * 4 // _ALIGNMENT) * _ALIGNMENT // 4
        kernels = any(not isinstance(call.routine, Small) for call in _calls(nodes))
        made, self.end = self._place(nodes, self.end, not self.code_in_ram or kernels)
        return made

    def _place(self, nodes: tuple[Node, ...], at: int, flash: bool) -> tuple[tuple[_Placed, ...], int]:
        made: list[_Placed] = []
        for node in nodes:
            self.numbers += 1
            number = self.numbers
            match node:
                case Straight():
                    made.append(self._run(number, node, at, flash))
                    at += len(node.cycles)
                case Loop():
                    body, at = self._place(node.body, at, flash)
                    made.append(_Turns(number, body, node.trips, node.advance))
                case Table():
                    made.append(_Table(number, node.size, node.loads))
                case Call():
                    # What moves to RAM are the layers' kernels.
                    inside = not self.code_in_ram or isinstance(node.routine, Small)
                    body, _ = self._place(body_of(node), self.routines[node.routine.name], inside)
                    made.append(_Called(number, body))
                case Staged():
                    body, at = self._place(node.body, at, flash)
                    made.append(_Apart(number, body))
        return tuple(made), at

    def _run(self, number: int, node: Straight, at: int, flash: bool) -> _Run:
        reads: list[tuple[float, int]] = []
        passed = 0.0
        for cycles, loads in zip(node.cycles, node.loads, strict=True):
            if loads:
                reads.append((passed, loads))
                passed = 0.0
            passed += cycles
        lines: dict[int, int] = {}
        for read in range(at // self.m.read, (at + len(node.cycles) - 1) // self.m.read + 1) if self.m.read else ():
            per_line = self.m.line // self.m.read
            lines[read // per_line] = lines.get(read // per_line, 0) | 1 << read % per_line
        return _Run(
            number, at, node.cycles, node.loads, node.step, flash, sum(node.cycles), tuple(reads), passed,
            tuple(lines.items()),
        )  # fmt: skip

    # Execution.

    def run(self, nodes: tuple[_Placed, ...]) -> None:
        """Execute nodes in their order."""
        for node in nodes:
            match node:
                case _Run():
                    self._straight(node)
                case _Turns():
                    self._turns(node)
                case _Table():
                    self._table(node)
                case _Called():
                    mark = self.mark
                    self.place = mark
                    self.run(node.body)
                    self.mark = mark
                case _Apart():
                    before, self.data_in_ram = self.data_in_ram, True
                    self.run(node.body)
                    self.data_in_ram = before

    def _turns(self, node: _Turns) -> None:
        key = (node.number, self._key())
        found = self.memo.get(key)
        base = self._base()
        if found is None:
            clock, ideal, waited, mark = self.clock, self.ideal, self.waited, self.mark
            self._execute(node)
            spent = self.clock - clock + self.waited - waited
            self.memo[key] = (spent, self.ideal - ideal, self.mark - mark, self._base() - base, self._state())
        else:
            spent, own, marked, moved, state = found
            self._skip(spent, own)
            mark = self.mark + marked
            self._restore(base + moved, state)
            self.mark = mark

    def _execute(self, node: _Turns) -> None:
        trips, done, moved, step = node.trips, 0.0, 0.0, 0.0
        spent: list[float] = []
        key = self._key()
        while trips - done > 1e-9 and len(spent) < _TURNS:
            clock, ideal, waited, place = self.clock, self.ideal, self.waited, self.place
            self.run(node.body)
            self.mark += node.advance
            part = min(trips - done, 1.0)
            spent.append(self.clock - clock + self.waited - waited)
            step, moved = self.ideal - ideal, self.place - place
            if part < 1:
                self._skip((part - 1) * spent[-1], (part - 1) * step)
            done += part
            before, key = key, self._key()
            # A turn may begin in the middle of a read of constants, or not: two of them show the mean.
            if key == before and len(spent) > 1 + (moved > 0):
                break
        left = trips - done
        if left > 1e-9:
            last = spent[-2:] if moved > 0 else spent[-1:]
            self._skip(left * sum(last) / len(last), left * step)
            self._pass_over(round(left) * moved, round(left) * node.advance)

    def _skip(self, spent: float, ideal: float) -> None:
        """Let time pass without executing."""
        self.waited += spent
        self.ideal += ideal

    def _pass_over(self, words: float, mark: float) -> None:
        """Constants that were read meanwhile: the cache holds the last of them."""
        before = self._base()
        self.place += words
        self.mark += mark
        lines = self._base() - before
        if lines:
            self.data = {line + lines: bits for line, bits in self.data.items()}

    def _base(self) -> int:
        """The line of the next constant."""
        return int(self.place // (self.m.line or 8))

    def _key(self) -> tuple[Any, ...]:
        """What decides how long a turn takes: where the core is, what the caches hold, how long the array is busy.

        Of constants only whether those that come first are cached: whether they are read for the first time.
        """
        now = self.clock
        return (
            self.at, self.word, round(max(self.busy - now, 0)), self.current, self.ahead, tuple(self.code.items()),
            int(self.mark // (self.m.line or 8)) in self.data,
        )  # fmt: skip

    def _state(self) -> _State:
        """Everything that comes next depends on, relative to now and to the line of the next constant."""
        now, base = self.clock, self._base()
        return (
            self.at, self.word, self.word - self.first, self.requested - now, [t - now for t in self.ready],
            [t - now for t in self.freed], self.busy - now, self.current, self.ahead, self.ahead_ready - now,
            dict(self.code), {line - base: bits for line, bits in self.data.items()},
            self.place - base * (self.m.line or 8),
        )  # fmt: skip

    def _restore(self, base: int, state: _State) -> None:
        now = self.clock
        self.at, self.word, queued, requested, ready, freed, busy, self.current, self.ahead, ahead_ready, *rest = state
        self.first = self.word - queued
        self.requested, self.busy, self.ahead_ready = now + requested, now + busy, now + ahead_ready
        self.ready, self.freed = [now + t for t in ready], [now + t for t in freed]
        code, data, place = rest
        self.code, self.data = dict(code), {line + base: bits for line, bits in data.items()}
        self.place = base * (self.m.line or 8) + place

    # What happens within a straight run.

    def _straight(self, run: _Run) -> None:
        self.ideal += run.total
        if not run.flash or self.m.read == 0:
            self._without_accelerator(run)
            return
        if run.start != self.at:
            self._branch(run.start)
        code = self.code
        if all(code.get(line, 0) & bits == bits for line, bits in run.lines):
            self._cached(run)
            return
        m, data, data_in_ram = self.m, self.data, self.data_in_ram
        queue, per_read, per_line, wait = m.queue, m.read, m.line // m.read, m.first
        prefetch, lines, latest = m.prefetch, m.instruction_lines, _NOWHERE
        ready, freed = self.ready, self.freed
        clock, word, requested, first = self.clock, self.word, self.requested, self.first
        current, busy, ahead, ahead_ready = self.current, self.busy, self.ahead, self.ahead_ready
        w = run.start
        for cycles, loads in zip(run.cycles, run.loads, strict=True):
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
                    self.place += run.step
                else:
                    self.clock, self.word, self.requested, self.at = clock, word, requested, w
                    self.current, self.busy, self.ahead, self.ahead_ready = current, busy, ahead, ahead_ready
                    self._load(loads, run.step)
                    clock, word, requested = self.clock, self.word, self.requested
                    current, busy, ahead, ahead_ready = self.current, self.busy, self.ahead, self.ahead_ready
                    latest = _NOWHERE
            clock += cycles
        self.clock, self.word, self.requested, self.at = clock, word, requested, w
        self.current, self.busy, self.ahead, self.ahead_ready = current, busy, ahead, ahead_ready

    def _cached(self, run: _Run) -> None:
        """A run that the cache holds whole: only its loads can wait."""
        code = self.code
        for line, _ in run.lines:
            code[line] = code.pop(line)
        for before, loads in run.reads:
            self.clock += before
            self._load(loads, run.step)
        self.clock += run.rest
        self.at = end = run.start + len(run.cycles)
        self.current = (end - 1) // self.m.read
        # The queue has kept up: the next word was requested in time.
        self.word, self.requested = end, self.clock - _LATENCY - 1
        self.first = max(self.first, end - self.m.queue + 1)

    def _without_accelerator(self, run: _Run) -> None:
        """Code each of whose words waits alike, but behind instructions of several cycles."""
        each = self.m.fetch if run.flash else self.m.ram
        self.clock += max(run.total, len(run.cycles) * (1 + each)) if each else run.total
        self.at = _NOWHERE
        for _, loads in run.reads:
            self._load(loads, run.step)

    def _branch(self, target: int) -> None:
        """A taken branch: the queue starts anew. Its refill is among the branch's cycles."""
        at = self.clock - _LATENCY
        if self.at != _NOWHERE:
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

    def _load(self, loads: int, step: float) -> None:
        """Constants read by the word that was just issued."""
        if loads == REWIND:
            self.place = self.mark
            return
        if self.data_in_ram:
            return
        m = self.m
        for _ in range(loads):
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
                if self.at != _NOWHERE:
                    self._run_ahead(self.clock)
                start = max(self.clock, self.busy)
                self.busy = start + m.first + 1
                self.clock = start + m.first
            if m.data_lines:
                if not held and len(self.data) >= m.data_lines:
                    del self.data[next(iter(self.data))]
                self.data[line] = held | bit

    def _table(self, table: _Table) -> None:
        """Loads here and there: what the cache cannot hold of the table waits."""
        if self.data_in_ram:
            return
        m = self.m
        capacity = 4 * m.data_lines * m.line
        missed = max(1 - capacity / table.size, 0.0)
        cold = min(table.size / (4 * m.read), table.loads) if m.read and capacity else 0.0
        self.waited += m.first * max(missed * table.loads, cold)


def _calls(nodes: Iterable[Node]) -> Iterable[Call]:
    """The calls of nodes, in their order."""
    for node in nodes:
        if isinstance(node, Call):
            yield node
        elif isinstance(node, (Loop, Staged)):
            yield from _calls(node.body)


def _words(nodes: tuple[Node, ...]) -> int:
    """Words of code."""
    return sum(
        len(node.cycles) if isinstance(node, Straight) else _words(node.body) if isinstance(node, Loop) else 0
        for node in nodes
    )
