"""How the rows of an operator's output depend on those of its inputs, along the axis that a window slides on.

A row is what lies at one index of that axis. An operator is *even* if it computes each row alike from rows of its
input, wherever they lie: then it has a :class:`RowStep`, and computes a range of rows if it is given those that they
are made from. Every other operator reads its inputs whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator, Padding2D, Slice
from memaopt.networks.operators.pool import Pool2D
from memaopt.networks.operators.reduction import Reduction
from memaopt.networks.operators.sixteen.dequantize import Dequantize16
from memaopt.networks.operators.sixteen.quantize import Quantize16
from memaopt.problems.bands import Reach

_WINDOWED = (ops.Conv2D, ops.DepthwiseConv2D, Pool2D)
_ELEMENTWISE = (ops.Elementwise, ops.Quantize, ops.Dequantize, Quantize16, Dequantize16)


class RowRange(NamedTuple):
    """Rows [first, end)."""

    first: int
    end: int

    @property
    def rows(self) -> int:
        return self.end - self.first


class RowStep(NamedTuple):
    """Each row of the output, along its axis ``axis``, is made from those of each input that it reaches; rows that the
    input has not are padding.
    """

    axis: int
    reach: Reach = Reach()

    def reads(self, rows: RowRange) -> RowRange:
        """The input rows that output rows are made from, padding included."""
        first = self.reach.first(rows.first)
        return RowRange(first, first + self.reach.rows_in(rows.rows))

    def clean(self, rows: RowRange, count: int) -> RowRange:
        """The output rows, of ``count``, that are made from nothing but those input rows."""
        extent, stride, above = self.reach
        first = -(-(rows.first + above) // stride)
        end = (rows.end - extent + above) // stride + 1
        first, end = max(first, 0), min(end, count)
        return RowRange(first, end) if first < end else RowRange(0, 0)


def step_of(graph: Graph, op: Operator, axes: Mapping[int, int]) -> RowStep | None:
    """How an operator steps along the axis that ``axes`` has for each input with one; None if it is not even."""
    if any(not graph.tensors[t].is_constant and t not in axes for t in op.inputs):
        return None
    axis, shape = axes.get(op.input, -1), graph.tensor_of(op).shape
    output = graph.output_of(op).shape
    if isinstance(op, ops.Pairwise):
        return _pairwise(graph, op, axes)
    if axis < 0:
        return None
    if isinstance(op, _WINDOWED):
        return _windowed(graph, op, axis)
    if isinstance(op, _ELEMENTWISE):
        return RowStep(axis)
    if op.alias:
        found = regrouped(shape, output, axis)
        return None if found is None else RowStep(found)
    if isinstance(op, ops.FullyConnected):
        kept = graph.tensors[op.weights].shape[1] == shape[-1] and axis < len(shape) - 1
        found = regrouped(shape[:-1], output[:-1], axis) if kept else None
        return None if found is None else RowStep(found)
    if isinstance(op, ops.Softmax):
        return RowStep(axis) if axis < len(shape) - 1 else None
    if isinstance(op, ops.Concatenation):
        return RowStep(axis) if axis != op.axis and len({axes[t] for t in op.inputs if t in axes}) == 1 else None
    if isinstance(op, ops.Transpose):
        return RowStep(op.permutation.index(axis))
    if isinstance(op, Reduction):
        gone = sum(a < axis for a in op.axes) if len(output) < len(shape) else 0
        return RowStep(axis - gone) if axis not in op.axes else None
    if isinstance(op, ops.Pad):
        return RowStep(axis) if op.paddings[axis] == (0, 0) else None
    if isinstance(op, ops.StridedSlice):
        return _sliced(op, output, axis)
    return None


def needed(graph: Graph, op: Operator, tensor: int, axis: int) -> RowRange:
    """The rows of an input that an operator which is not even needs: all, or those that it takes out."""
    count = graph.tensors[tensor].shape[axis]
    if not isinstance(op, ops.StridedSlice):
        return RowRange(0, count)
    taken = op.slices[axis]
    ends = (taken.start, taken.start + taken.step * (taken.length - 1))
    return RowRange(min(ends), max(ends) + 1)


def for_rows(op: Operator, step: RowStep, axis: int, rows: int, padding: tuple[int, int]) -> Operator:
    """The operator for inputs of so many rows along ``axis``, with so much padding before and after them."""
    if isinstance(op, _WINDOWED):
        top, bottom, left, right = op.padding
        padded = Padding2D(*padding, left, right) if axis == 1 else Padding2D(top, bottom, *padding)
        return op.model_copy(update={"padding": padded})
    if isinstance(op, ops.StridedSlice):
        taken = Slice(0, step.reach.stride, (rows - 1) // step.reach.stride + 1)
        return op.model_copy(update={"slices": (*op.slices[:axis], taken, *op.slices[axis + 1 :])})
    return op


def from_row(op: Operator, axis: int, first: int) -> Operator:
    """An operator that is not even, where the first row it is given is ``first``."""
    if not isinstance(op, ops.StridedSlice):
        return op
    start, stride, length = op.slices[axis]
    taken = Slice(start - first, stride, length)
    return op.model_copy(update={"slices": (*op.slices[:axis], taken, *op.slices[axis + 1 :])})


def regrouped(shape: tuple[int, ...], other: tuple[int, ...], axis: int) -> int | None:
    """The axis of another shape, of the same elements in the same order, that has the rows of ``axis``."""
    before = math.prod(shape[:axis])
    for i, size in enumerate(other):
        if size == shape[axis] and math.prod(other[:i]) == before:
            return i
    return None


def _windowed(graph: Graph, op: Operator, axis: int) -> RowStep | None:
    """A window on an image; none if the axis is that of its channels, or a whole window may lie in padding."""
    assert isinstance(op, ops.Windowed)
    if axis not in (1, 2):
        return None
    window, at = op.window(graph), axis - 1
    extent = window.layer().extent[at]
    before, after = op.padding[2 * at], op.padding[2 * at + 1]
    return RowStep(axis, Reach(extent, window.stride[at], before)) if max(before, after) < extent else None


def _pairwise(graph: Graph, op: Operator, axes: Mapping[int, int]) -> RowStep | None:
    """Two tensors: both slide alike, or one is the same for all rows."""
    output, found = graph.output_of(op).shape, set[int]()
    for t in op.inputs:
        shape = graph.tensors[t].shape
        lead = len(output) - len(shape)
        if t in axes:
            found.add(axes[t] + lead)
    if len(found) != 1:
        return None
    axis = found.pop()
    for t in op.inputs:
        shape = graph.tensors[t].shape
        at = axis - (len(output) - len(shape))
        if t not in axes and at >= 0 and shape[at] != 1:
            return None
    return RowStep(axis)


def _sliced(op: ops.StridedSlice, output: tuple[int, ...], axis: int) -> RowStep | None:
    """A box; none if it takes no rows along the axis, but one."""
    taken = op.slices[axis]
    if taken.length < 2 or taken.step < 1:
        return None
    lengths = tuple(s.length for s in op.slices)
    found = regrouped(lengths, output, axis)
    return None if found is None else RowStep(found, Reach(1, taken.step, -taken.start))
