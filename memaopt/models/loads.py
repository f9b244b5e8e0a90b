"""What a layer's constants wait at least: its loads are executed, and nothing of its code.

Which of them the cache holds depends on their order alone. Each that it does not hold takes a read of the flash, for
whose wait states the core stands still, whatever else it waits for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.code import Call, Loop, Node, Straight
from memaopt.kernels.executed import body_of
from memaopt.models.fetching import Fetching, FlashTiming
from memaopt.models.runs import text_of

#: Turns of a loop that are executed at most; each of the rest counts as the cheaper one of the last two.
_TURNS = 4


class _Passes(NamedTuple):
    """Loads ``step`` words apart, so many at a time, and where they start again: see :class:`Text`."""

    loads: tuple[int, ...]
    step: float


class _Turns(NamedTuple):
    """A loop with loads in it. Of a turn that is not whole nothing is claimed."""

    body: tuple[_Loading, ...]
    trips: int
    advance: float


class _Called(NamedTuple):
    """Code that starts at its caller's constants."""

    body: tuple[_Loading, ...]


_Loading = _Passes | _Turns | _Called
#: Where the next constant and their start are, and the lines in the cache, relative to the line of the former.
_State = tuple[float, float, tuple[tuple[int, int], ...]]


@lru_cache(maxsize=1 << 14)
def loading(body: tuple[Node, ...], machine: FlashTiming) -> float:
    """Cycles that one execution waits at least, the cache being empty at first; tables and the like are not counted."""
    core = _Core(machine, data_in_ram=False)
    core.run(tuple(_loads_of(body)))
    return core.clock


def _loads_of(nodes: tuple[Node, ...]) -> Iterator[_Loading]:
    """The loads of nodes; nothing of code that has none."""
    for node in nodes:
        match node:
            case Straight():
                text = text_of(node)
                if text.passes:
                    yield _Passes(text.passes, text.step)
            case Loop():
                body = tuple(_loads_of(node.body))
                if (body or node.advance) and node.trips >= 1:
                    yield _Turns(body, int(node.trips), node.advance)
            case Call():
                body = tuple(_loads_of(body_of(node)))
                if body:
                    yield _Called(body)


class _Core(Fetching):
    """What executes loads. Its clock is what was waited."""

    def __init__(self, machine: FlashTiming, data_in_ram: bool) -> None:
        super().__init__(machine, data_in_ram)
        self.line = machine.line or 8
        self.memo: dict[tuple[int, _State], tuple[float, int, _State]] = {}

    def read_array(self, after: int = 0) -> None:
        self.clock += self.m.first

    def run(self, nodes: tuple[_Loading, ...]) -> None:
        """Execute loads in their order."""
        for node in nodes:
            match node:
                case _Passes():
                    for loads in node.loads:
                        self._load(loads, node.step)
                case _Turns():
                    self._turns(node)
                case _Called():
                    mark = self.place = self.mark
                    self.run(node.body)
                    self.mark = mark

    def _turns(self, node: _Turns) -> None:
        # The tree lives as long as this does, so that its nodes are told apart by where they are.
        key, base, clock = (id(node), self._state()), self._base(), self.clock
        found = self.memo.get(key)
        if found is None:
            self._execute(node)
            self.memo[key] = self.clock - clock, self._base() - base, self._state()
        else:
            spent, moved, state = found
            self.clock += spent
            self._restore(base + moved, state)

    def _execute(self, node: _Turns) -> None:
        last = -1.0
        for turn in range(node.trips):
            clock, place, left = self.clock, self.place, node.trips - turn - 1
            self.run(node.body)
            self.mark += node.advance
            spent = self.clock - clock
            if left and (spent == last or turn + 1 == _TURNS):
                self.clock += left * min(spent, last)
                self._pass_over(left * (self.place - place), left * node.advance)
                break
            last = spent

    def _pass_over(self, words: float, mark: float) -> None:
        """Constants that were read meanwhile: the cache holds the last of them."""
        before = self._base()
        self.place += words
        self.mark += mark
        lines = self._base() - before
        if lines:
            self.data = {line + lines: bits for line, bits in self.data.items()}

    def _state(self) -> _State:
        base = self._base()
        first = base * self.line
        return self.place - first, self.mark - first, tuple([(line - base, bits) for line, bits in self.data.items()])

    def _restore(self, base: int, state: _State) -> None:
        place, mark, data = state
        first = base * self.line
        self.place, self.mark = first + place, first + mark
        self.data = {line + base: bits for line, bits in data}
