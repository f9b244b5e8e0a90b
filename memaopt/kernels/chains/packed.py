"""Line buffers at addresses that change over time, for chains that buffers of their own give no room.

A buffer of its own has room for the most rows that it ever holds. They hold that many in turns, so that what all hold
at one time is less: a part that makes rows for the next is done with some of what it reads. Here the buffers lie in
one piece of memory, each where there is room for it at the time: offsets are a table, a halfword for each move and for
each part's own memory. Where rows do not fit behind those that are there, the buffers around them move together,
downwards below them and upwards above. With all moved together whatever is free is there, so that the most that is
held at one time is enough.

Parts compute as soon as that frees more than it takes: a branch that skips layers does not wait for these with rows
that they are done with.
"""

from __future__ import annotations

import dataclasses
import itertools
from functools import lru_cache
from typing import NamedTuple

from memaopt.alignment import align
from memaopt.kernels.chains.order import ChainRows, ChainStep, DemandDriven, Order, PackedRows, StepKind

#: Offsets are words in signed halfwords.
_MOST = 4 << 15
_UNIT = 4


@lru_cache(maxsize=16)
def early_order(shape: ChainRows, heights: tuple[int, ...]) -> Order:
    """The order of steps in which parts compute early; nothing in it has a place yet."""
    run = _Early(shape, heights)
    run.finish()
    return run.order({})


@lru_cache(maxsize=64)
def packed_order(shape: ChainRows, heights: tuple[int, ...], work: tuple[int, ...]) -> Order | None:
    """The order of :func:`early_order` with its moves and places, in the least memory that holds its rows; ``work`` has
    the bytes of each part's own memory. None if that is more than offsets reach."""
    order, size = early_order(shape, heights), packed_bytes(shape, heights, work)
    if size > _MOST:
        return None
    placing = _Placing(order, work, size)
    for step in order.steps:
        placing.make(step)
    packing = PackedRows(tuple(placing.places), size)
    return dataclasses.replace(order, steps=tuple(placing.steps), moves=tuple(placing.moves), packing=packing)


def packed_bytes(shape: ChainRows, heights: tuple[int, ...], work: tuple[int, ...]) -> int:
    """The least memory that holds the rows of an order of :func:`early_order`, and each part's own meanwhile."""
    most, during = held_bytes(shape, heights)
    return max([most, *(held + align(own, _UNIT) for held, own in zip(during, work, strict=True))])


@lru_cache(maxsize=16)
def held_bytes(shape: ChainRows, heights: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Of an order of :func:`early_order` the most bytes of rows that are held at one time, in whole words of each
    buffer: ever, and while each part computes."""
    order = early_order(shape, heights)
    rows, most, during = _Rows(order), 0, [0] * len(heights)
    words = dict.fromkeys(order.shape.buffered, 0)
    for step in order.steps:
        held = sum(words.values())
        if (grown := rows.grown(step)) is not None:
            tensor, size = grown
            held += align(rows.live[tensor] + size, _UNIT) - words[tensor]
        most = max(most, held)
        if step.kind is StepKind.COMPUTE:
            during[step.of] = max(during[step.of], held)
        for tensor in rows.make(step):
            words[tensor] = align(rows.live[tensor], _UNIT)
    return most, tuple(during)


class _Early(DemandDriven):
    """A chain on the move whose parts compute as soon as that frees memory."""

    def __init__(self, shape: ChainRows, heights: tuple[int, ...]) -> None:
        super().__init__(shape, heights, None)
        self._active: list[int] = []
        #: Of each part the rows that it reads at once, and those that it is done with afterwards.
        self._windows = [
            [(t, r, shape.reach(r).rows_in(rows), rows * shape.reach(r).stride) for t, r in shape.reads(part)]
            for part, rows in enumerate(heights)
        ]

    def _room(self, tensor: int, rows: int) -> None:
        """Everything finds its place afterwards."""

    def _move(self, tensor: int) -> None:
        """The same."""

    def _misplaced(self, tensor: int, row: int) -> bool:
        line = self.shape.lines[tensor]
        return (1 if tensor in self.base and not self._steady(tensor) else row) * line.row_bytes % _UNIT != 0

    def _steady(self, tensor: int) -> bool:
        """Whether the rows that are still needed start at whole words whenever they move: those of one reader that
        skips none and goes on by whole words."""
        line = self.shape.lines[tensor]
        reach = self.shape.reach(line.readers[0])
        ahead = self.heights[line.readers[0].part] * reach.stride * line.row_bytes
        return len(line.readers) == 1 and reach.extent >= reach.stride and ahead % _UNIT == 0

    def _compute(self, part: int) -> None:
        self._active.append(part)
        super()._compute(part)
        self._active.pop()

    def _advance(self, tensor: int) -> None:
        super()._advance(tensor)
        while (early := self._first_to_free()) is not None:
            self._compute(early)

    def _first_to_free(self) -> int | None:
        for part in range(len(self.heights)):
            if self._frees(part):
                return part
        return None

    def _frees(self, part: int) -> bool:
        """Whether a part that does not wait for rows itself has all it reads, and frees more than it takes."""
        shape, rows, output = self.shape, self.heights[part], part + 1
        line, reads, have = shape.lines[output], self._windows[part], self.have
        if part in self._active or not line.above <= have[output] < line.above + line.height:
            return False
        for tensor, reader, read, _ in reads:
            if have[tensor] < self.window[reader] + read:
                return False
        freed = 0
        for tensor in {t for t, *_ in reads if t in self.base}:
            ahead = {r: done for t, r, _, done in reads if t == tensor}
            low = min(self.window[r] + ahead.get(r, 0) for r in shape.lines[tensor].readers)
            freed += (min(have[tensor], low) - self._low(tensor)) * shape.lines[tensor].row_bytes
        return freed > rows * line.row_bytes * (output in self.base)


class _Rows:
    """Which rows each line buffer holds, step by step. ``low``: the first row that is still needed; ``live``: bytes of
    those that are."""

    def __init__(self, order: Order) -> None:
        self.order, self.shape = order, order.shape
        shape = self.shape
        self.have, self.low, self.live = (dict.fromkeys(shape.buffered, 0) for _ in range(3))
        self._readers = {t: shape.lines[t].readers for t in shape.buffered}
        self._window = {r: shape.lines[t].above - shape.reach(r).above for t in self.have for r in self._readers[t]}
        parts = range(len(order.heights))
        self._ahead = [
            [(t, r, order.heights[i] * shape.reach(r).stride) for t, r in shape.reads(i) if t in self.have]
            for i in parts
        ]

    def grown(self, step: ChainStep) -> tuple[int, int] | None:
        """The line buffer that a step writes rows to, and their bytes."""
        if step.kind is StepKind.COMPUTE:
            tensor, rows = step.of + 1, self.order.heights[step.of]
        else:
            tensor, rows = step.of, 1
        found = step.kind is not StepKind.FINISH and tensor in self.have
        return (tensor, rows * self.shape.lines[tensor].row_bytes) if found else None

    def make(self, step: ChainStep) -> list[int]:
        """What a step does to the rows; the buffers that it writes or reads."""
        touched = []
        if (grown := self.grown(step)) is not None:
            tensor, size = grown
            self.have[tensor] += size // self.shape.lines[tensor].row_bytes
            touched.append(tensor)
        if step.kind is StepKind.COMPUTE:
            for tensor, reader, rows in self._ahead[step.of]:
                self._window[reader] += rows
                touched.append(tensor)
        for tensor in touched:
            self.low[tensor] = min(self.have[tensor], *(self._window[reader] for reader in self._readers[tensor]))
            self.live[tensor] = (self.have[tensor] - self.low[tensor]) * self.shape.lines[tensor].row_bytes
        return touched


class _Span(NamedTuple):
    """The words that a buffer's rows lie in, from a byte to before another; ``at``: the first row itself."""

    start: int
    end: int
    tensor: int
    at: int


class _Room(NamedTuple):
    """Where rows of an empty buffer start, and a part's own memory."""

    start: int
    own: int


class _Placing(_Rows):
    """Steps with places. ``at``: where a line buffer's first row that is still needed lies, or would."""

    def __init__(self, order: Order, work: tuple[int, ...], size: int) -> None:
        super().__init__(order)
        self.work, self.size = work, size
        self.steps: list[ChainStep] = []
        self.moves: list[int] = []
        self.places: list[int] = []
        self.at = dict.fromkeys(self.have, 0)
        self.most = _most_rows(order)

    def make(self, step: ChainStep) -> list[int]:
        """A step behind the moves that make room for it."""
        grown = self.grown(step)
        own = align(self.work[step.of], _UNIT) if step.kind is StepKind.COMPUTE else 0
        if grown is not None or own:
            tensor, size = grown or (None, 0)
            self._make_room(tensor, size, own)
        self.steps.append(step)
        before = dict(self.low)
        touched = super().make(step)
        for each in set(touched):
            self.at[each] += (self.low[each] - before[each]) * self.shape.lines[each].row_bytes
        return touched

    def _make_room(self, tensor: int | None, size: int, own: int) -> None:
        """Room for rows of a tensor, and beside them for a part's own memory."""
        spans = self._spans()
        behind = next((i + 1 for i, span in enumerate(spans) if span.tensor == tensor), None)
        # Later tensors lie below earlier ones: what these are done with is where rows of those come next.
        natural = next((i for i, span in enumerate(spans) if tensor is None or span.tensor < tensor), len(spans))
        where = [behind] if behind is not None else [natural, *(i for i in range(len(spans) + 1) if i != natural)]
        room = next((found for i in where if (found := self._room_at(spans, i, tensor, size, own))), None)
        if room is None:
            room = self._pushed(spans, where[0], tensor, size, own)
        if tensor is not None and behind is None:
            self._move(tensor, room.start)
        if own:
            self.places.append(room.own // _UNIT)

    def _spans(self) -> list[_Span]:
        """Of the buffers that hold rows, upwards."""
        at = self.at
        return sorted(
            _Span(at[t] // _UNIT * _UNIT, align(at[t] + n, _UNIT), t, at[t]) for t, n in self.live.items() if n
        )

    def _room_at(self, spans: list[_Span], place: int, tensor: int | None, size: int, own: int) -> _Room | None:
        """Room in the gap below the span number ``place``, for the rows of that below it or of an empty buffer."""
        ends, starts = [0, *(span.end for span in spans)], [*(span.start for span in spans), self.size]
        low, high = ends[place], starts[place]
        if place and tensor == spans[place - 1].tensor:
            # Rows go on where the last one ends, which is no whole word where a row is none.
            tries = [spans[place - 1].at + self.live[tensor]]
        else:
            # As high as all rows that it will hold find room: rows of the buffer below come next to that.
            tries = [max(low, high - self.most[tensor]), low] if tensor is not None else [low]
        for start in tries:
            end = align(start + size, _UNIT)
            if end <= high:
                gaps = [gap for i, gap in enumerate(zip(ends, starts, strict=True)) if i != place]
                gaps += [(low, start), (end, high)] if start > low + _UNIT else [(end, high)]
                found = next((at for at, to in gaps if to - at >= own), None)
                if found is not None:
                    return _Room(start, found)
        return None

    def _pushed(self, spans: list[_Span], place: int, tensor: int | None, size: int, own: int) -> _Room:
        """Room in a gap once buffers below it have moved downwards, and those above it upwards; of few bytes."""
        ends, starts = [0, *(span.end for span in spans)], [*(span.start for span in spans), self.size]
        before = [0, *itertools.accumulate(align(self.live[span.tensor], _UNIT) for span in spans)]
        ranges = sorted(
            (before[last] - before[first], first, last)
            for first, last in itertools.product(range(place + 1), range(place, len(spans) + 1))
            if starts[last] - ends[first] - (before[last] - before[first]) > size - _UNIT
        )
        ways = (self._moved(spans, first, place, last) for _, first, last in ranges)
        tried = ((moved, self._room_at(moved, place, tensor, size, own)) for moved in ways)
        # With all of them moved whatever is free is in the gap.
        moved, room = next((moved, room) for moved, room in tried if room is not None)
        for span in (*moved[:place], *moved[place:][::-1]):
            self._move(span.tensor, span.at)
        return room

    def _moved(self, spans: list[_Span], first: int, place: int, last: int) -> list[_Span]:
        """Spans from ``first`` on as low as they can be, those from ``place`` to before ``last`` as high."""
        found = list(spans)
        for i in range(first, place):
            found[i] = self._span(found[i].tensor, found[i - 1].end if i else 0)
        for i in range(last - 1, place - 1, -1):
            end = found[i + 1].start if i + 1 < len(found) else self.size
            found[i] = self._span(found[i].tensor, end - align(self.live[found[i].tensor], _UNIT))
        return found

    def _span(self, tensor: int, at: int) -> _Span:
        return _Span(at, at + align(self.live[tensor], _UNIT), tensor, at)

    def _move(self, tensor: int, at: int) -> None:
        """A buffer's rows to a byte, unless they are there."""
        if self.at[tensor] != at:
            self.steps.append(ChainStep(StepKind.MOVE, tensor))
            self.moves.append(self.live[tensor])
            self.places.append(at // _UNIT)
            self.at[tensor] = at


def _most_rows(order: Order) -> dict[int, int]:
    """The most bytes that each line buffer holds, in whole words."""
    rows, most = _Rows(order), dict.fromkeys(order.shape.buffered, 0)
    for step in order.steps:
        if (grown := rows.grown(step)) is not None:
            tensor, size = grown
            most[tensor] = max(most[tensor], align(rows.live[tensor] + size, _UNIT))
        rows.make(step)
    return most
