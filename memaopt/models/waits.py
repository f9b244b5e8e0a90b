"""Waiting: the cycles that code and constants in slow memory cost beyond the core's own.

The code of a layer or of a GEMM is a tree of straight runs and loops (:mod:`memaopt.kernels.code`). It is executed
here as the virtual board does it (docs/timing.md), but by words instead of instructions, and a loop only until it
repeats itself: what a turn costs depends on what the caches hold when it begins, which settles in two or three turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from memaopt.alignment import align
from memaopt.kernels.code import Call, Literal, Loop, Node, Scan, Small, Staged, Straight, TableLoads
from memaopt.kernels.executed import body_of, calls_of, rewinds, words_of
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory
from memaopt.models.fetching import FlashTiming, Outside
from memaopt.models.passages import Remembering, touch
from memaopt.models.runs import PlacedRun, run_of
from memaopt.models.tables import table_wait

#: Turns of a loop that are executed at most; if they still differ, the rest costs the mean of the last two.
_TURNS = 6
#: The linker puts a load of PC, with the address behind it, where a routine lies farther away than BL reaches.
_VENEER = Straight((4.0,), (0,))
#: Below it the core fetches over its code buses, from there on over the bus that data take (Arm DDI 0403, B3.1).
_SYSTEM_BUS = 0x2000_0000
#: Where these lie, in words: behind everything else.
_VENEERS = 1 << 22
#: Routines start at a multiple of this, as emitted (KERNEL in compiler.h).
_ALIGNMENT = 32


def timing(mcu: Mcu, outside: Memory | None = None) -> FlashTiming:
    """The figures of a machine's flash and of the RAM that code runs from, and of a memory outside for constants."""
    dma = None if outside is None or mcu.dma is None else (mcu.dma.start_cycles, mcu.dma.word_cycles)
    beyond = None if outside is None else Outside(outside.first, outside.next, dma)
    flash = mcu.memory("flash")
    ram = next(place for place in mcu.places if place.name == mcu.code_ram)
    far = abs(ram.base - flash.base) >= mcu.core.reach.branch
    shared = ram.name == "sram" or min(ram.base, mcu.sram.base) >= _SYSTEM_BUS
    a = flash.accelerator
    if a is None:
        return FlashTiming(
            flash.next, flash.fetch, 0, 0, 0, 0, False, mcu.fetch_queue_words, ram.fetch, far, shared, beyond
        )
    return FlashTiming(
        flash.first,
        0,
        a.read_bytes // 4,
        a.line_bytes // 4,
        a.fetch_lines,
        a.load_lines,
        a.prefetch,
        mcu.fetch_queue_words,
        ram.fetch,
        far,
        shared,
        beyond,
    )


@lru_cache(maxsize=1 << 16)
def waiting(
    body: tuple[Node, ...], machine: FlashTiming, code_in_ram: bool = False, data_in_ram: bool = False
) -> float:
    """The cycles that one execution of ``body`` waits, the caches being empty at first; but not what constants from
    outside the chip take: only for code, which the core fetches ahead meanwhile.
    """
    if machine.read == 0 and machine.fetch == machine.first == machine.ram == 0:
        return 0.0
    core = _Core(machine, code_in_ram, data_in_ram)
    placed = core.placed(body)
    core.run(placed)
    return core.waited + core.clock - core.ideal


class _Turns(NamedTuple):
    number: int
    body: tuple[_Placed, ...]
    trips: float
    advance: float
    left: float
    #: Its first word, if it lies in flash: the target of its branch, which is fetched the last time too.
    target: int | None
    #: Whether constants start again in it.
    rewinds: bool


class _Table(NamedTuple):
    number: int
    table: TableLoads


class _Scanned(NamedTuple):
    number: int
    scan: Scan


class _Word(NamedTuple):
    number: int
    #: Of the code that loads it: cycles that no plan counts.
    beyond: float = 0.0


class _Called(NamedTuple):
    number: int
    body: tuple[_Placed, ...]
    behind: float


class _Apart(NamedTuple):
    number: int
    body: tuple[_Placed, ...]


#: See _Core._state.
_State = tuple[Any, ...]
_Placed = PlacedRun | _Turns | _Table | _Scanned | _Word | _Called | _Apart


class _Core(Remembering):
    """What executes a tree: straight runs one after the other, loops until they repeat themselves."""

    def __init__(self, machine: FlashTiming, code_in_ram: bool, data_in_ram: bool) -> None:
        super().__init__(machine, data_in_ram)
        self.code_in_ram = code_in_ram
        #: How many words a read has, and a line reads.
        self.sizes = machine.read, machine.line // (machine.read or 1)
        self.waited = 0.0
        self.numbers = 0
        self.routines: dict[str, int] = {}
        self.veneers: dict[str, tuple[_Placed, ...]] = {}
        #: Words beside the code that the cache holds: all that were read, if no constants come through it.
        self.words: frozenset[int] = frozenset()
        self.end = 0
        self.memo: dict[tuple[Any, ...], tuple[float, float, float, int, _State]] = {}

    # Where everything lies.

    def placed(self, nodes: Iterable[Node]) -> tuple[_Placed, ...]:
        """The nodes with addresses: routines one after the other where they are first called, the rest behind them."""
        nodes = tuple(nodes)
        for call in calls_of(nodes):
            name = call.routine.name
            if name not in self.routines:
                self.routines[name] = self.end
                self.end += align(words_of(call) * 4, _ALIGNMENT) // 4
        kernels = any(not isinstance(call.routine, Small) for call in calls_of(nodes))
        # Where a linker puts C is not known: as if it began with a line's last read, so that it needs many of them, or
        # where that is all of the line with its second word, so that a loop as long as reads needs one more.
        start = self.end + (self.m.line - self.m.read or 1)
        made, self.end = self._place(nodes, start, not self.code_in_ram or kernels)
        return made

    def _veneer(self, name: str) -> tuple[_Placed, ...]:
        """What a call of a routine in RAM goes through."""
        if name not in self.veneers:
            self.numbers += 1
            veneer = run_of(_VENEER, _VENEERS + 2 * len(self.veneers), True, *self.sizes)
            self.veneers[name] = (veneer, _Word(self.numbers, veneer.text.total))
        return self.veneers[name]

    def _place(self, nodes: tuple[Node, ...], at: int, flash: bool) -> tuple[tuple[_Placed, ...], int]:
        made: list[_Placed] = []
        for node in nodes:
            self.numbers += 1
            number = self.numbers
            match node:
                case Straight():
                    made.append(run_of(node, at, flash, *self.sizes))
                    at += len(node.cycles)
                case Loop():
                    target = at if flash and self.m.read else None
                    body, at = self._place(node.body, at, flash)
                    made.append(_Turns(number, body, node.trips, node.advance, node.left, target, rewinds(node.body)))
                case TableLoads():
                    made.append(_Table(number, node))
                case Scan():
                    made.append(_Scanned(number, node))
                case Call():
                    # What moves to RAM are the layers' kernels.
                    inside = not self.code_in_ram or isinstance(node.routine, Small)
                    body, _ = self._place(body_of(node), self.routines[node.routine.name], inside)
                    if not inside and self.m.far and not node.by_pointer:
                        made.extend(self._veneer(node.routine.name))
                    made.append(_Called(number, body, node.behind))
                case Literal():
                    made.append(_Word(number))
                case Staged():
                    body, at = self._place(node.body, at, flash)
                    made.append(_Apart(number, body))
        return tuple(made), at

    # Execution.

    def run(self, nodes: tuple[_Placed, ...]) -> None:
        """Execute nodes in their order."""
        for node in nodes:
            match node:
                case PlacedRun():
                    self.straight(node)
                case _Turns():
                    self._turns(node)
                case _Table():
                    self._table(node.table)
                case _Scanned():
                    self._scan(node.scan)
                case _Word():
                    self._word(node)
                case _Called():
                    mark = self.mark
                    self.place = self.mark = mark + node.behind
                    self.run(node.body)
                    self.mark = mark
                case _Apart():
                    before, self.data_in_ram = self.data_in_ram, True
                    self.run(node.body)
                    self.data_in_ram = before

    def _turns(self, node: _Turns) -> None:
        key = (node.number, self._key(), self._within(node))
        found = self.memo.get(key)
        base = self._base()
        if found is None:
            clock, ideal, waited, mark = self.clock, self.ideal, self.waited, self.mark
            self._execute(node, key[1])
            spent = self.clock - clock + self.waited - waited
            self.memo[key] = (spent, self.ideal - ideal, self.mark - mark, self._base() - base, self._state())
        else:
            spent, own, marked, moved, state = found
            self._skip(spent, own)
            mark = self.mark + marked
            self._restore(base + moved, state)
            self.mark = mark

    def _within(self, node: _Turns) -> tuple[float, ...]:
        """Where in a line the next constant lies, what is cached of that line and the next, and where they start again,
        if they do."""
        if self.data_in_ram:
            return ()
        base = self._base()
        line, held = base * (self.m.line or 8), (self.data.get(base, 0), self.data.get(base + 1, 0))
        return (self.place - line, *held, *([self.mark - line] if node.rewinds else []))

    def _execute(self, node: _Turns, key: tuple[Any, ...]) -> None:
        """Execute a loop; ``key`` is that of its beginning."""
        trips, done, moved, step = node.trips, 0.0, 0.0, 0.0
        spent: list[float] = []
        settled = 0
        while trips > 1e-9:
            clock, ideal, waited, place = self.clock, self.ideal, self.waited, self.place
            self.run(node.body)
            self.mark += node.advance
            part = min(trips - done, 1.0)
            spent.append(self.clock - clock + self.waited - waited)
            step, moved = self.ideal - ideal, self.place - place
            if part < 1:
                self._skip((part - 1) * spent[-1], (part - 1) * step)
            done += part
            if trips - done <= 1e-9 or len(spent) == _TURNS:
                break  # none comes that could be as this one
            before, key = key, self._key()
            settled = settled + 1 if key == before else 0
            # A turn may begin in the middle of a read of constants, or not: two of them show the mean.
            if settled > (moved > 0) and len(spent) > 1:
                break
        left = trips - done
        if left > 1e-9:
            last = spent[-2:] if moved > 0 else spent[-1:]
            self._skip(left * sum(last) / len(last), left * step)
            self._pass_over(round(left) * moved, round(left) * node.advance)
        unspent = min(trips, 1) * node.left
        self.clock -= unspent
        self.ideal -= unspent
        if node.target is not None and trips > 0:
            self.speculate(node.target)

    def _skip(self, spent: float, ideal: float) -> None:
        """Let time pass without executing."""
        self.waited += spent
        self.ideal += ideal

    def _pass_over(self, words: float, mark: float) -> None:
        """Constants that were read meanwhile, in order: the cache holds the last of them, beside others if it can."""
        m, before = self.m, self.place
        self.place += words
        self.mark += mark
        if words > 0 and m.data_lines and not self.data_in_ram and self.away is None:
            first, end, each = int(before) // m.read, math.ceil(self.place / m.read), m.line // m.read
            passed: dict[int, int] = {}
            for read in range(max(first, end - (m.data_lines + 1) * each), end):
                line = read // each
                passed[line] = passed.get(line, self.data.get(line, 0)) | 1 << read % each
            touch(self.data, passed.items(), 0, m.data_lines)

    def _key(self) -> tuple[Any, ...]:
        """What decides how long a turn takes: where the core is, what the caches hold, how long the array is busy.

        Of constants only whether those that come first are cached: whether they are read for the first time.
        """
        now = self.clock
        return (
            self.at,
            self.word,
            round(self.busy - now) if self.busy > now else 0,
            self.current,
            self.ahead,
            tuple(self.code.items()),
            int(self.mark // (self.m.line or 8)) in self.data,
            self.words,
        )

    def _state(self) -> _State:
        """Everything that comes next depends on, relative to now and to the line of the next constant."""
        now, base = self.clock, self._base()
        return (
            self.at,
            self.word,
            self.word - self.first,
            self.requested - now,
            [t - now for t in self.ready],
            [t - now for t in self.freed],
            self.busy - now,
            self.current,
            self.ahead,
            self.ahead_ready - now,
            dict(self.code),
            {line - base: bits for line, bits in self.data.items()},
            self.place - base * (self.m.line or 8),
            self.words,
        )

    def _restore(self, base: int, state: _State) -> None:
        now = self.clock
        self.at, self.word, queued, requested, ready, freed, busy, self.current, self.ahead, ahead_ready, *rest = state
        self.first = self.word - queued
        self.requested, self.busy, self.ahead_ready = now + requested, now + busy, now + ahead_ready
        self.ready, self.freed = [now + t for t in ready], [now + t for t in freed]
        code, data, place, self.words = rest
        self.code, self.data = dict(code), {line + base: bits for line, bits in data.items()}
        self.place = base * (self.m.line or 8) + place

    def _word(self, word: _Word) -> None:
        """A load of a word in flash, whose line constants push out of the cache."""
        self.ideal -= word.beyond
        if word.number in self.words:
            return
        if self.m.data_lines and (self.data_in_ram or self.away is not None):
            self.words |= {word.number}
        if self.m.read:
            self.read_array()
        else:
            self.clock += self.m.first

    def _table(self, table: TableLoads) -> None:
        """Loads here and there: what the cache cannot hold of the table waits."""
        if self.data_in_ram or self.away is not None:
            return
        if table.among and self.m.read and not self.m.data_lines:
            for _ in range(0 if table.marked else round(table.loads)):
                self.read_array()
        else:
            self.waited += table_wait(table, self.m)

    def _scan(self, scan: Scan) -> None:
        """Loads in order: each read waits, the first time or, if the cache cannot hold them all, every time."""
        if self.data_in_ram or self.away is not None:
            return
        m = self.m
        if m.read == 0 or m.data_lines < scan.lines:
            self.waited += m.first * scan.loads
            return
        again = scan.size > 4 * m.data_lines * m.line
        self.waited += m.first * math.ceil(scan.size / (4 * m.read)) * (scan.times if again else 1)
