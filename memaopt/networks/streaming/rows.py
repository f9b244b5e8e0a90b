"""Which rows of each tensor a push computes, which it finds kept, by interval arithmetic along the axis that slides.

A window ends ``hop`` frames later with each push. A row is *clean* if it is made from frames alone: it is then the row
``hop / stride`` further up in the window before, ``stride`` being the frames from one row to the next, since what a
row is depends on its inputs and never on its place. Where that is no whole number, the rows of this window lie between
those of the one before, and on those of the window ``phases`` pushes ago: what is kept of them there is so many times,
and pushes take turns. Rows that depend on padding, which moves with the window, are
computed again. Of the clean rows that something reads, [first, end), the last ``phases * hop / stride`` are new; those
before them were new once and are kept. Rows that nothing reads are neither computed nor kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks.graph import Graph
from memaopt.networks.streaming.steps import RowRange, RowStep, needed, step_of

_Flags = npt.NDArray[np.bool_]
_NONE = RowRange(0, 0)


@dataclass(frozen=True)
class SlidingAxis:
    """The rows of a tensor: its axis, how many there are, frames from one to the next, and which are clean."""

    axis: int
    count: int
    stride: int
    clean: RowRange


@dataclass(frozen=True)
class PushRows:
    """What a push does with the rows of a tensor: those it finds ``kept``, those it computes because they are
    ``fresh``, and those of ``again`` that depend on padding; ``computed`` has both in runs. What is kept was left there
    ``phases`` pushes ago.
    """

    line: SlidingAxis
    kept: RowRange
    fresh: RowRange
    again: tuple[RowRange, ...]
    computed: tuple[RowRange, ...]
    phases: int


@dataclass(frozen=True, eq=False)
class Work:
    """What a push does: the rows of each tensor that has any, by tensor; the steps of the even operators, by position.
    ``live`` has the positions of all operators that something needs."""

    rows: Mapping[int, PushRows]
    steps: Mapping[int, RowStep]
    live: frozenset[int]


def lines_of(graph: Graph, tensor: int, axis: int) -> tuple[dict[int, SlidingAxis], dict[int, RowStep]]:
    """The tensors that slide when ``tensor`` does along ``axis``, and the steps of the operators between them."""
    count = graph.tensors[tensor].shape[axis]
    lines, steps = {tensor: SlidingAxis(axis, count, 1, RowRange(0, count))}, dict[int, RowStep]()
    for position, op in enumerate(graph.operators):
        read = [lines[t] for t in op.inputs if t in lines]
        if not read or len({(line.count, line.stride) for line in read}) != 1:
            continue
        step = step_of(graph, op, {t: lines[t].axis for t in op.inputs if t in lines})
        if step is None:
            continue
        steps[position] = step
        clean = RowRange(max(line.clean.first for line in read), min(line.clean.end for line in read))
        rows = graph.output_of(op).shape[step.axis]
        clean = step.clean(clean, rows) if clean.rows > 0 else _NONE
        lines[op.output] = SlidingAxis(step.axis, rows, read[0].stride * step.reach.stride, clean)
    return lines, steps


def work_of(graph: Graph, tensor: int, axis: int, hop: int) -> Work:
    """What a push of ``hop`` frames computes and keeps, from what the outputs need back to the frames."""
    lines, steps = lines_of(graph, tensor, axis)
    wanted: dict[int, _Flags] = {t: np.zeros(line.count, bool) for t, line in lines.items()}
    read = set(graph.outputs)
    for t in graph.outputs:
        if t in wanted:
            wanted[t][:] = True
    rows: dict[int, PushRows] = {}
    live = set[int]()
    for position in reversed(range(len(graph.operators))):
        op = graph.operators[position]
        if op.output not in read:
            continue
        live.add(position)
        read.update(op.inputs)
        inputs = [t for t in dict.fromkeys(op.inputs) if t in lines]
        if position in steps:
            rows[op.output] = _rows(lines[op.output], wanted[op.output], hop)
            spans = [steps[position].reads(run) for run in rows[op.output].computed]
            for t in inputs:
                for span in spans:
                    wanted[t][max(span.first, 0) : span.end] = True
        else:
            for t in inputs:
                span = needed(graph, op, t, lines[t].axis)
                wanted[t][span.first : span.end] = True
    wanted[tensor][-1] = True  # the newest frame is kept though no row reads it yet
    rows[tensor] = _rows(lines[tensor], wanted[tensor], hop)
    return Work(rows, steps, frozenset(live))


def least_hop(graph: Graph, tensor: int, axis: int) -> int:
    """The fewest frames of a push for which every tensor's rows are those of the window before: one phase does."""
    lines, _ = lines_of(graph, tensor, axis)
    return math.lcm(*(line.stride for line in lines.values() if line.clean.rows > 1))


def phases_of(stride: int, hop: int) -> int:
    """After how many pushes of ``hop`` frames rows that are ``stride`` frames apart lie on those of a window again."""
    return math.lcm(stride, hop) // hop


def _rows(line: SlidingAxis, wanted: _Flags, hop: int) -> PushRows:
    clean, phases = _hull(wanted, line.clean), phases_of(line.stride, hop)
    new = phases * hop // line.stride
    fresh = RowRange(max(clean.first, clean.end - new), clean.end) if clean.rows > 1 else clean
    kept = RowRange(clean.first, fresh.first)
    before, after = RowRange(0, line.clean.first), RowRange(line.clean.end, line.count)
    if not line.clean.rows:
        before, after = RowRange(0, line.count), _NONE
    again = tuple(span for span in (_hull(wanted, before), _hull(wanted, after)) if span.rows)
    return PushRows(line, kept, fresh, again, _runs((*again, fresh)), phases)


def _hull(flags: _Flags, within: RowRange) -> RowRange:
    """The rows from the first to the last that are set within a span."""
    found: npt.NDArray[Any] = np.flatnonzero(flags[within.first : within.end]) + within.first
    return RowRange(int(found[0]), int(found[-1]) + 1) if found.size else _NONE


def _runs(spans: tuple[RowRange, ...]) -> tuple[RowRange, ...]:
    """The spans in order, those that touch as one."""
    runs: list[RowRange] = []
    for span in sorted(span for span in spans if span.rows):
        if runs and runs[-1].end == span.first:
            runs[-1] = RowRange(runs[-1].first, span.end)
        else:
            runs.append(span)
    return tuple(runs)
