"""A chain replayed byte by byte, knowing nothing of how its order of steps was found.

Every byte of the arena remembers which byte of which row of which tensor it holds. The output lies as near to the input
as the lead allows tensors to. A part must find the rows under its windows, each whole and in their order; what it
writes must lie in its line buffer; at the end the output is whole, each row written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from memaopt.alignment import align
from memaopt.errors import FalseClaimError
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.chains.order import Order, Reader, StepKind
from memaopt.kernels.plan import Plan

_NOTHING = -1
_ALIGNMENT = 16
_WORD = 4


class _Memory:
    """Bytes by what they hold, and the pointers of the emitted C."""

    def __init__(self, order: Order, lines: Mapping[int, int], scratch: int, kept: int, start: int) -> None:
        shape = order.shape
        self.shape, self.lines, self.kept, self.scratch, self.start = shape, lines, kept, scratch, start
        self.places = None if order.packing is None else iter(order.packing.places)
        first, last = shape.lines[0], shape.lines[-1]
        source = first.height * first.row_bytes
        lead = align(order.lead, _ALIGNMENT)
        self.source_at = align(scratch, _ALIGNMENT) + max(lead, 0)
        self.output_at = self.source_at - lead
        size = max(self.source_at + source, self.output_at + max(last.height * last.row_bytes, 1))
        self.held: Int64Array = np.full(size, _NOTHING, np.int64)
        self.held[self.source_at :][:source] = self.label(0, first.above, first.height)
        self.next_input, self.next_output = self.source_at, self.output_at
        self.end = {t: lines[t] for t in shape.buffered}
        self.rows = {
            reader: (lines.get(t, self.source_at)) + (line.above - shape.reach(reader).above) * line.row_bytes
            for t, line in enumerate(shape.lines)
            for reader in line.readers
        }
        self.done = dict.fromkeys(range(len(shape.lines)), 0)

    def label(self, tensor: int, row: int, rows: int) -> Int64Array:
        """What the bytes of some rows are called."""
        size = self.shape.lines[tensor].row_bytes
        return (tensor << 40) + np.arange(row * size, (row + rows) * size, dtype=np.int64)

    def place(self) -> int:
        """The next byte of those that change."""
        found = None if self.places is None else next(self.places, None)
        if found is None:
            raise FalseClaimError("a chain has fewer places than steps that need one")
        return self.start + _WORD * found

    def write(self, tensor: int, at: int, most: int, rows: int) -> None:
        """The next rows of a tensor, from a byte on, into a place that ends at ``most``."""
        label = self.label(tensor, self.done[tensor], rows)
        if at < self.kept or at + len(label) > most:
            raise FalseClaimError(f"a chain writes rows of tensor {tensor} beyond their line buffer")
        self.held[at : at + len(label)] = label
        self.done[tensor] += rows

    def read(self, tensor: int, at: int, row: int, rows: int) -> None:
        """Rows of a tensor must be at a byte."""
        label = self.label(tensor, row, rows)
        found = self.held[at : at + len(label)] if at >= 0 else label[:0]
        if len(found) != len(label) or (found != label).any():
            raise FalseClaimError(f"a chain reads rows {row} to {row + rows} of tensor {tensor} where they are not")


def replay(
    order: Order,
    lines: Mapping[int, int],
    work: Mapping[int, int],
    scratch: int,
    plans: Sequence[Plan | None],
    kept: int = 0,
    start: int = 0,
) -> None:
    """Raise FalseClaimError unless the steps of an order compute the chain: line buffers at ``lines``, the parts' own
    memory at ``work``, within ``scratch`` bytes, of which the first ``kept`` are nobody's else; places that change are
    counted from ``start`` on.
    """
    shape = order.shape
    memory = _Memory(order, lines, scratch, kept, start)
    bands = [0] * len(shape.parts)
    for step in order.steps:
        line = shape.lines[step.of]
        match step.kind:
            case StepKind.FEED:
                memory.read(0, memory.next_input, memory.done[0], 1)
                memory.next_input += line.row_bytes
                _append(memory, order, step.of, 1)
            case StepKind.PAD:
                if line.above <= memory.done[step.of] < line.above + line.height:
                    raise FalseClaimError(f"a chain has padding in the place of a row of tensor {step.of}")
                _append(memory, order, step.of, 1)
            case StepKind.MOVE:
                _move(memory, step.of)
            case StepKind.COMPUTE:
                _compute(memory, order, step.of, bands[step.of], work, plans[step.of])
                bands[step.of] += 1
            case StepKind.FINISH:
                if not shape.sums or memory.done[len(shape.lines) - 1] != shape.lines[-1].height:
                    raise FalseClaimError("a chain finishes sums before all rows are added")
    if memory.places is not None and next(memory.places, None) is not None:
        raise FalseClaimError("a chain has more places than steps that need one")
    last = len(shape.lines) - 1
    if memory.done[last] != shape.lines[last].height:
        raise FalseClaimError(f"a chain computes {memory.done[last]} of {shape.lines[last].height} rows")
    if not shape.sums:
        memory.read(last, memory.output_at, 0, shape.lines[last].height)


def _append(memory: _Memory, order: Order, tensor: int, rows: int) -> None:
    """The next rows of a line buffer."""
    most = memory.scratch if memory.places is not None else memory.lines[tensor] + order.bytes(tensor)
    memory.write(tensor, memory.end[tensor], most, rows)
    memory.end[tensor] += rows * memory.shape.lines[tensor].row_bytes


def _move(memory: _Memory, tensor: int) -> None:
    readers, end = memory.shape.lines[tensor].readers, memory.end[tensor]
    start = memory.lines[tensor] if memory.places is None else memory.place()
    low = min([end, *(memory.rows[reader] for reader in readers)])
    if not memory.kept <= start <= memory.scratch - (end - low):
        raise FalseClaimError(f"a chain moves rows of tensor {tensor} beyond its memory")
    memory.held[start : start + end - low] = memory.held[low:end].copy()
    memory.end[tensor] -= low - start
    for reader in readers:
        memory.rows[reader] -= low - start


def _compute(memory: _Memory, order: Order, part: int, band: int, work: Mapping[int, int], plan: Plan | None) -> None:
    """A band: its windows are there while its own memory is in use, and its rows come to lie beside that."""
    shape, rows, output = order.shape, order.heights[part], part + 1
    own = _own(memory, part, work, plan)
    if own and (own.start < memory.kept or own.stop > memory.scratch):
        raise FalseClaimError(f"the memory of part {part} of a chain is that of sums, of what is kept, or nobody's")
    memory.held[own.start : own.stop] = _NOTHING
    row_bytes = shape.lines[output].row_bytes
    target = memory.end.get(output, memory.next_output)
    if target < own.stop and own.start < target + rows * row_bytes:
        raise FalseClaimError(f"part {part} of a chain writes its rows where its own memory is")
    starts = [target]
    for tensor, line in enumerate(shape.lines):
        for reader in (reader for reader in line.readers if reader.part == part):
            starts.append(_window(memory, tensor, reader, band, rows))
    if plan is not None and any(at % plan.alignment for at in starts):
        raise FalseClaimError(f"part {part} of a chain has rows at addresses that its kernel cannot read")
    if output in memory.end:
        _append(memory, order, output, rows)
    else:
        memory.write(output, target, len(memory.held), rows)
        memory.next_output += rows * row_bytes


def _own(memory: _Memory, part: int, work: Mapping[int, int], plan: Plan | None) -> range:
    """A part's own memory; that of a fully connected one is kept, where no rows are."""
    kept = memory.shape.dense and part == len(memory.shape.parts) - 1
    size = 0 if plan is None or kept else plan.scratch_bytes
    if not size:
        return range(0)
    start = work[part] if memory.places is None or part in work else memory.place()
    return range(start, start + size)


def _window(memory: _Memory, tensor: int, reader: Reader, band: int, rows: int) -> int:
    """Where the rows are that a band reads; they must be there. Afterwards the next band's window is next."""
    reach, line = memory.shape.reach(reader), memory.shape.lines[tensor]
    at, first = memory.rows[reader], line.above - reach.above + band * rows * reach.stride
    memory.read(tensor, at, first, reach.rows_in(rows))
    memory.rows[reader] += rows * reach.stride * line.row_bytes
    return at
