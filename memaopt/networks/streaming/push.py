"""A network on a sliding window as the network of one push: from new frames and what was kept to the window's output.

Every tensor of the window that something needs is there in parts: rows kept by the push before, rows computed by this
one. Operators that step along the axis compute runs of rows, from the rows that those are made from; all others read
their inputs whole. What is kept for the next push is a state of the graph.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError
from memaopt.networks import checks, reference
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, State, Tensor
from memaopt.networks.joined import LaterRows
from memaopt.networks.operators import Operator, Slice
from memaopt.networks.running import MeanOverTime, MovedSums
from memaopt.networks.states import copied, with_writers
from memaopt.networks.streaming.rows import Work, work_of
from memaopt.networks.streaming.steps import RowRange, for_rows, from_row, needed
from memaopt.networks.streaming.sums import readers, running
from memaopt.networks.streaming.waiting import Wait, wait_of
from memaopt.networks.together import kept_together
from memaopt.problems.words import Fill

Array = npt.NDArray[Any]

#: Pushes after which a state's number begins again, at most; strides along time take some more.
_MOST_TURNS = 1 << 20


@dataclass(frozen=True, eq=False)
class TimeWindow:
    """Where a network's window lies: the input that the caller fills, the tensor whose ``axis`` has the frames (a
    reshape of the input, where the input is flat), and how many frames there are.
    """

    input: int
    tensor: int
    axis: int
    frames: int


@dataclass(frozen=True, eq=False)
class Push:
    """The network of one push. ``whole`` is the network of the window; ``work`` says what of it a push computes."""

    graph: Graph
    whole: Graph
    window: TimeWindow
    hop: int
    fill: Fill
    work: Work

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a push."""
        return sum(op.macs(self.graph) for op in self.graph.operators)

    @property
    def window_macs(self) -> int:
        """Multiply-accumulates of the whole window."""
        return sum(op.macs(self.whole) for op in self.whole.operators)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.whole.tensors[self.window.input].nbytes // self.window.frames

    @property
    def warming(self) -> int:
        """Pushes of one frame again and again until the window holds nothing else."""
        return -(-self.window.frames // self.hop)

    def windows(self, pushes: Iterable[Array]) -> Iterator[Array]:
        """What the whole network is given after each push of new frames, shaped as the push takes them."""
        given = self.whole.tensors[self.window.input]
        axis = self.window.axis if self.window.input == self.window.tensor else len(given.shape) - 1
        window: Array | None = None
        for frames in pushes:
            if window is None:
                window = self._filled(frames, axis)
            size = frames.shape[axis]
            window = np.concatenate([np.take(window, range(size, window.shape[axis]), axis), frames], axis)
            yield window

    def _filled(self, frames: Array, axis: int) -> Array:
        """The window before its first push."""
        given = self.whole.tensors[self.window.input]
        if self.fill == "zero":
            return np.full(given.shape, given.zero_point if given.dtype.is_byte else 0, given.dtype.value)
        first = np.take(frames, range(frames.shape[axis] // self.hop), axis)
        return np.concatenate([first] * self.window.frames, axis)

    @property
    def state_bytes(self) -> int:
        """What is kept from push to push."""
        return sum(state.copies * state.initial.nbytes for state in self.graph.states)


def push_of(whole: Graph, window: TimeWindow, hop: int, fill: Fill = "zero") -> Push:
    """The network of a push of ``hop`` frames; InputError if there is none, or it would save nothing."""
    if len(whole.inputs) != 1 or whole.states:
        raise InputError(f"{whole.name} has {len(whole.inputs)} inputs; a stream has one")
    if not 1 <= hop < window.frames:
        raise InputError(f"hop {hop}: the window has {window.frames} frames; 1 to {window.frames - 1} would do")
    shape = whole.tensors[window.tensor].shape
    if fill == "first" and math.prod(shape[: window.axis]) > 1:
        raise InputError(f"{whole.name}: a frame does not lie in one piece; a window filled with zero would do")
    work = work_of(whole, window.tensor, window.axis, hop)
    graph = kept_together(_Builder(whole, window, hop, work).graph())
    checks.check(graph)
    return Push(graph, whole, window, hop, fill, work)


class _Builder:
    """Tensors of the push as they are made. ``parts`` has the rows of each tensor of the window that there are, in
    order, with the tensor of the push that holds them."""

    def __init__(self, whole: Graph, window: TimeWindow, hop: int, work: Work) -> None:
        self.whole, self.window, self.hop, self.work = whole, window, hop, work
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.parts: dict[int, list[tuple[RowRange, int]]] = {}
        self.held: dict[tuple[int, RowRange], int] = {}
        self.same: dict[int, int] = {}
        self.states: list[State] = []
        self.keeping: dict[int, Operator] = {}
        self.sums: dict[int, MeanOverTime] = {}
        self.filled = _filled(whole, window, work)

    def graph(self) -> Graph:
        """The whole of it."""
        frames = self._frames()
        for position, op in enumerate(self.whole.operators):
            if position not in self.work.live or op.output == self.window.tensor:
                continue
            if position in self.work.steps:
                self._step(position, op)
            else:
                self._whole(position, op)
        outputs = [self._all(t) for t in self.whole.outputs]
        operators = with_writers(self.tensors, self.operators, self.keeping)
        return Graph(
            self.whole.name,
            tuple(self.tensors),
            tuple(operators),
            (frames, *(state.read for state in self.states)),
            (*outputs, *(state.written for state in self.states)),
            tuple(self.states),
        )

    def _frames(self) -> int:
        """The input: new frames, as the tensor that slides has them."""
        given, sliding = self.whole.tensors[self.window.input], self.whole.tensors[self.window.tensor]
        shape = _resized(sliding.shape, self.window.axis, self.hop)
        if self.window.input == self.window.tensor:
            frames = rows = self._tensor(dataclasses.replace(given, shape=shape))
        else:
            flat = (*given.shape[:-1], given.shape[-1] // self.window.frames * self.hop)
            frames = self._tensor(dataclasses.replace(given, shape=flat))
            rows = self._tensor(dataclasses.replace(sliding, shape=shape))
            self.operators.append(ops.Reshape(inputs=(frames,), outputs=(rows,)))
        count = self.window.frames
        self._hold(self.window.tensor, [(RowRange(count - self.hop, count), rows)])
        return frames

    def _step(self, position: int, op: Operator) -> None:
        """An even operator, once for each run of rows that it computes."""
        if position in self.sums:
            self.operators.append(self.sums[position])
            self._hold(op.output, [(RowRange(0, 1), self.sums[position].output)])
            return
        step, computed = self.work.steps[position], []
        for rows in self.work.rows[op.output].computed:
            span, inputs, padding, axis = step.reads(rows), [], (0, 0), 0
            for t in op.inputs:
                if t not in self.work.rows:
                    inputs.append(self._constant(t))
                    continue
                line = self.work.rows[t].line
                there = RowRange(max(span.first, 0), min(span.end, line.count))
                padding, axis = (there.first - span.first, span.end - there.end), line.axis
                inputs.append(self._rows(t, there))
                count = there.rows
            part = for_rows(op, step, axis, count, padding)
            output = self.whole.output_of(op)
            shape = _resized(output.shape, step.axis, rows.rows)
            made = self._tensor(dataclasses.replace(output, shape=shape, name=_named(output, rows, step.axis)))
            self.operators.append(part.model_copy(update={"inputs": tuple(inputs), "outputs": (made,)}))
            computed.append((rows, made))
        self._hold(op.output, computed)

    def _hold(self, tensor: int, computed: list[tuple[RowRange, int]]) -> None:
        """The parts of a tensor: what was computed, and what was kept; and what is kept for the next push."""
        rows = self.work.rows[tensor]
        self.parts[tensor] = list(computed)
        sums = len(computed) == 1 and running(self.whole, self.work, tensor, self.filled)
        if sums and self._turns(rows.kept.rows // rows.fresh.rows):
            self._hold_sums(tensor, computed[0][1])
            return
        if not rows.kept.rows:
            return
        wait = wait_of(self.whole, self.work, tensor, self.filled[tensor])
        if wait is not None and self._turns(rows.phases * wait.turns):
            self._hold_waiting(tensor, wait)
        else:
            read = self._kept(tensor, rows.kept, "kept")
            self._keep_rows(tensor, rows.kept, read, rows.phases)

    def _hold_waiting(self, tensor: int, wait: Wait) -> None:
        """Of a tensor whose rows wait: those that push by push move up, and of the others those whose turn it is."""
        rows, new = self.work.rows[tensor], self.work.rows[tensor].fresh.rows
        newer = self._kept(tensor, wait.newer, "kept") if wait.newer.rows else None
        older = self._kept(tensor, wait.older, "older") if wait.older.rows else None
        last = RowRange(wait.wait.end - new, wait.wait.end)
        leaving = self._tensor(self._rows_of(tensor, last, "leaving"))
        self._keep_rows(tensor, last, leaving, rows.phases * wait.turns)
        if newer is not None:
            self._keep_rows(tensor, wait.newer, newer, rows.phases)
        if older is not None:
            written, count = self._next(older), wait.older.rows
            writer: Operator = LaterRows(inputs=(older, leaving), outputs=(written,), first=new)
            if count <= new:
                writer = _slice(self.tensors[leaving], 1, RowRange(new - count, new), leaving, written)
            self._keep(older, writer, self._filled_rows(tensor, wait.older), rows.phases)

    def _rows_of(self, tensor: int, rows: RowRange, name: str) -> Tensor:
        """Some rows of a tensor of the window, as a tensor of their own."""
        of = self.whole.tensors[tensor]
        shape = _resized(of.shape, self.work.rows[tensor].line.axis, rows.rows)
        return dataclasses.replace(of, shape=shape, name=f"{of.name}/{name}")

    def _kept(self, tensor: int, rows: RowRange, name: str) -> int:
        """What holds rows that operators find kept."""
        read = self._tensor(self._rows_of(tensor, rows, name))
        self.parts[tensor] = sorted([*self.parts[tensor], (rows, read)])
        return read

    def _next(self, read: int) -> int:
        """What is written where that is read."""
        of = self.tensors[read]
        return self._tensor(dataclasses.replace(of, name=f"{of.name.rsplit('/', 1)[0]}/next"))

    def _keep_rows(self, tensor: int, kept: RowRange, read: int, copies: int) -> None:
        """The rows behind those that were kept, as many as are new, are kept for the next push."""
        axis, new = self.work.rows[tensor].line.axis, self.work.rows[tensor].fresh.rows
        written = self._next(read)
        source, at = self._holder(tensor, RowRange(kept.first + new, kept.end + new))
        span = RowRange(kept.first + new - at, kept.end + new - at)
        writer = _slice(self.tensors[source], axis, span, source, written)
        self._keep(read, writer, self._filled_rows(tensor, kept), copies)

    def _filled_rows(self, tensor: int, kept: RowRange) -> Array:
        """What the first push finds of rows that are kept."""
        line, new = self.work.rows[tensor].line, self.work.rows[tensor].fresh.rows
        return np.take(self.filled[tensor], range(kept.first + new, kept.end + new), axis=line.axis)

    def _turns(self, copies: int) -> bool:
        """Whether pushes may take turns at so many copies, beside all else that takes turns."""
        return math.lcm(*(state.copies for state in self.states), copies) <= _MOST_TURNS

    def _hold_sums(self, tensor: int, new: int) -> None:
        """Of a tensor that is averaged: sums of the rows that are kept, and those rows, of which a push reads the
        oldest and writes new ones in their place."""
        rows, of, filled = self.work.rows[tensor], self.whole.tensors[tensor], self.filled[tensor]
        oldest = np.take(filled, range(rows.fresh.rows), axis=rows.line.axis)
        leaving = self._tensor(dataclasses.replace(self.tensors[new], name=f"{of.name}/leaving"))
        writer = copied(self.tensors, new, f"{of.name}/next")
        self._keep(leaving, writer, oldest, rows.kept.rows // rows.fresh.rows)
        kept = np.take(filled, range(rows.kept.rows), axis=rows.line.axis).astype(np.int64)
        initial = kept.reshape(-1, of.shape[-1]).sum(axis=0).astype(np.int32)
        sums = self._tensor(Tensor(f"{of.name}/sums", initial.shape, DType.INT32))
        moved = self._tensor(Tensor(f"{of.name}/moved", initial.shape, DType.INT32))
        (position,) = readers(self.whole, self.work, tensor)
        op = self.whole.operators[position]
        mean = op.model_copy(
            update={"inputs": (self._tensor(of),), "outputs": (self._tensor(self.whole.output_of(op)),)}
        )
        self.sums[position] = MeanOverTime(
            inputs=(sums, leaving, new), outputs=mean.outputs, location=op.location, mean=mean
        )
        after = MovedSums(inputs=(sums, leaving, new), outputs=(moved,), location=op.location, mean=mean)
        self._keep(sums, after, initial, 1)

    def _keep(self, read: int, writer: Operator, initial: Array, copies: int) -> None:
        self.keeping[read] = writer
        self.states.append(State(read, writer.output, np.ascontiguousarray(initial), copies))

    def _rows(self, tensor: int, rows: RowRange) -> int:
        """The tensor of the push that holds just these rows."""
        if (tensor, rows) not in self.held:
            source, at = self._holder(tensor, rows)
            axis, of = self.work.rows[tensor].line.axis, self.tensors[source]
            if of.shape[axis] == rows.rows:
                return source
            there = dataclasses.replace(of, shape=_resized(of.shape, axis, rows.rows), name=_named(of, rows, axis))
            made = self._tensor(there)
            self.operators.append(_slice(of, axis, RowRange(rows.first - at, rows.end - at), source, made))
            self.held[tensor, rows] = made
        return self.held[tensor, rows]

    def _holder(self, tensor: int, rows: RowRange) -> tuple[int, int]:
        """A tensor of the push that holds these rows among others, and the first row that it has."""
        parts = self.parts[tensor]
        for span, part in parts:
            if span.first <= rows.first and rows.end <= span.end:
                return part, span.first
        group = next(group for group in _groups(parts) if group[0][0].first <= rows.first < group[-1][0].end)
        whole = RowRange(group[0][0].first, group[-1][0].end)
        if (tensor, whole) not in self.held:
            inputs = tuple(part for _, part in group)
            joined = self._tensor(self._rows_of(tensor, whole, f"{whole.first}_{whole.end}"))
            axis = self.work.rows[tensor].line.axis
            self.operators.append(ops.Concatenation(inputs=inputs, outputs=(joined,), axis=axis))
            self.held[tensor, whole] = joined
        return self.held[tensor, whole], whole.first

    def _whole(self, position: int, op: Operator) -> None:
        """An operator that reads its inputs as they are in the window, or goes on from sums of them."""
        if position in self.sums:
            self.operators.append(self.sums[position])
            self.same[op.output] = self.sums[position].output
            return
        inputs = []
        for t in op.inputs:
            if t in self.work.rows:
                axis = self.work.rows[t].line.axis
                span = needed(self.whole, op, t, axis)
                inputs.append(self._rows(t, span))
                op = from_row(op, axis, span.first)
            else:
                inputs.append(self._constant(t) if self.whole.tensors[t].is_constant else self.same[t])
        self.same[op.output] = self._tensor(self.whole.output_of(op))
        self.operators.append(op.model_copy(update={"inputs": tuple(inputs), "outputs": (self.same[op.output],)}))

    def _all(self, tensor: int) -> int:
        """An output of the window, whole."""
        if tensor in self.work.rows:
            return self._rows(tensor, RowRange(0, self.work.rows[tensor].line.count))
        return self.same[tensor]

    def _constant(self, tensor: int) -> int:
        if tensor not in self.same:
            self.same[tensor] = self._tensor(self.whole.tensors[tensor])
        return self.same[tensor]

    def _tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _groups(parts: list[tuple[RowRange, int]]) -> list[list[tuple[RowRange, int]]]:
    """Parts of a tensor, in order, those together between which no row is missing."""
    groups: list[list[tuple[RowRange, int]]] = []
    for part in parts:
        if groups and groups[-1][-1][0].end == part[0].first:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _slice(of: Tensor, axis: int, rows: RowRange, source: int, output: int) -> Operator:
    slices = [Slice(0, 1, size) for size in of.shape]
    slices[axis] = Slice(rows.first, 1, rows.rows)
    return ops.StridedSlice(inputs=(source,), outputs=(output,), slices=tuple(slices))


def _filled(whole: Graph, window: TimeWindow, work: Work) -> dict[int, Array]:
    """Each tensor of which rows are kept, on a window of nothing but the input's zero point."""
    given = whole.tensors[window.input]
    zero = given.zero_point if given.dtype.is_byte else 0
    frames = np.full(given.shape, zero, given.dtype.value)
    found = {window.input: frames}
    for op, output in reference.layers(whole, [frames]):
        if op.output in work.rows and work.rows[op.output].kept.rows:
            found[op.output] = output
    return found


def _resized(shape: tuple[int, ...], axis: int, rows: int) -> tuple[int, ...]:
    return (*shape[:axis], rows, *shape[axis + 1 :])


def _named(tensor: Tensor, rows: RowRange, axis: int) -> str:
    """The name of some rows of a tensor: all of them keep its own."""
    return tensor.name if rows.rows == tensor.shape[axis] else f"{tensor.name}/{rows.first}_{rows.end}"
