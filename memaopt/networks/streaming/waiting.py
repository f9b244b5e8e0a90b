"""Rows that are kept, of which no operator of a push reads any, wait their turn where they lie.

Where both ends of a window are computed again, the rows between them are needed when they come and when they go, and
are only handed on in between. Instead of moving up with every push, they are kept one push's rows by one: a push takes
the oldest of them and leaves in their place those that begin to wait.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from memaopt.networks.graph import Graph
from memaopt.networks.streaming.rows import Work
from memaopt.networks.streaming.steps import RowRange, needed

#: Bytes that have to move less. The moves which a wait adds, three at most, take what copying these does.
_LEAST = 512


class Wait(NamedTuple):
    """What is kept of a tensor in three parts: rows that move up as they are read, ``older`` and ``newer``, and those
    that ``wait`` between them for so many pushes, ``turns``."""

    older: RowRange
    wait: RowRange
    newer: RowRange
    turns: int


def wait_of(whole: Graph, work: Work, tensor: int, filled: npt.NDArray[Any]) -> Wait | None:
    """How rows of a tensor wait; None if so few do that moving them costs less.

    ``filled`` is the tensor in the window before the first push, of which all rows that wait have to be the same.
    """
    rows, shape = work.rows[tensor], whole.tensors[tensor].shape
    new, kept = rows.fresh.rows, rows.kept
    if rows.line.axis != 1 or len(shape) != 4 or shape[0] != 1 or not new:
        return None
    idle = _longest(kept, _read(whole, work, tensor))
    turns = idle.rows // new
    wait = RowRange(idle.end - turns * new, idle.end)
    less = 2 * (wait.rows - new) * (whole.tensors[tensor].nbytes // rows.line.count)
    first = filled[:, wait.first + new : wait.end + new]
    if turns < 2 or less < _LEAST or not (first == first[:, :1]).all():
        return None
    return Wait(RowRange(kept.first, wait.first), wait, RowRange(wait.end, kept.end), turns)


def _read(whole: Graph, work: Work, tensor: int) -> list[RowRange]:
    """The rows of a tensor that each run of an operator reads, or the caller."""
    spans = [RowRange(0, work.rows[tensor].line.count)] if tensor in whole.outputs else []
    for position in whole.consumers.get(tensor, ()):
        if position not in work.live:
            continue
        op = whole.operators[position]
        if position in work.steps:
            spans += [work.steps[position].reads(run) for run in work.rows[op.output].computed]
        else:
            spans.append(needed(whole, op, tensor, work.rows[tensor].line.axis))
    return spans


def _longest(within: RowRange, read: list[RowRange]) -> RowRange:
    """The longest run of rows that is in none of the spans."""
    best, first = RowRange(within.first, within.first), within.first
    for span in [*sorted(read), RowRange(within.end, within.end)]:
        if min(span.first, within.end) - first > best.rows:
            best = RowRange(first, min(span.first, within.end))
        first = max(first, span.end)
    return best
