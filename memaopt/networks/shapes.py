"""Shapes: padding of windows, and what each operator makes of its inputs' shapes."""

from __future__ import annotations

import math
from typing import NamedTuple

from memaopt.errors import UnsupportedModelError
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator, Padding2D, Size2D

Shape = tuple[int, ...]


class Window(NamedTuple):
    """A sliding window over an image of height x width."""

    kernel: Size2D
    stride: Size2D
    dilation: Size2D
    padding: Padding2D

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Output rows and columns, not positive when the window does not fit."""
        rows = height + self.padding.top + self.padding.bottom - self._extent(0)
        columns = width + self.padding.left + self.padding.right - self._extent(1)
        return rows // self.stride.height + 1, columns // self.stride.width + 1

    def _extent(self, axis: int) -> int:
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1


def same_padding(height: int, width: int, kernel: Size2D, stride: Size2D, dilation: Size2D) -> Padding2D:
    """TFLite's SAME: ceil(size / stride) outputs, the odd element of padding after (padding.h)."""

    def both(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
        total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2

    top, bottom = both(height, kernel.height, stride.height, dilation.height)
    left, right = both(width, kernel.width, stride.width, dilation.width)
    return Padding2D(top, bottom, left, right)


def window_of(graph: Graph, op: Operator) -> Window:
    """The window of a convolution or a pool."""
    match op:
        case ops.Conv2D() | ops.DepthwiseConv2D():
            weights = graph.tensor_of(op, 1).shape
            return Window(Size2D(weights[1], weights[2]), op.stride, op.dilation, op.padding)
        case ops.AveragePool2D() | ops.MaxPool2D():
            return Window(op.kernel, op.stride, ops.ONE, op.padding)
        case _:
            raise TypeError(f"{op.kind} has no window")


def output_shape(graph: Graph, op: Operator) -> Shape:
    """The shape of the operator's output; UnsupportedModelError if its inputs do not go together.

    RESHAPE and its kin may give any shape of as many elements, so they return the output's own.
    """
    shape = graph.tensor_of(op).shape
    where = graph.place(op)
    match op:
        case ops.Conv2D() | ops.DepthwiseConv2D():
            return _convolution(graph, op)
        case ops.AveragePool2D() | ops.MaxPool2D():
            rank(where, shape, 4)
            return (shape[0], *window_of(graph, op).output(shape[1], shape[2]), shape[3])
        case ops.FullyConnected():
            return _fully_connected(graph, op)
        case ops.Add() | ops.Sub() | ops.Mul():
            return _broadcast(where, shape, graph.tensor_of(op, 1).shape)
        case ops.Mean():
            return _mean(graph, op)
        case ops.Pad():
            if len(op.paddings) != len(shape):
                raise UnsupportedModelError(f"{where}: {len(op.paddings)} paddings for {len(shape)} dimensions")
            return tuple(size + before + after for size, (before, after) in zip(shape, op.paddings, strict=True))
        case ops.Concatenation():
            return _concatenation(graph, op)
        case ops.Transpose():
            if sorted(op.permutation) != list(range(len(shape))):
                raise UnsupportedModelError(f"{where}: {list(op.permutation)} does not permute {len(shape)} axes")
            return tuple(shape[axis] for axis in op.permutation)
        case ops.Reshape():
            return _regrouped(where, math.prod(shape), graph.output_of(op).shape)
        case ops.StridedSlice():
            return _regrouped(where, math.prod(s.length for s in op.slices), graph.output_of(op).shape)
        case ops.ResizeNearestNeighbor():
            rank(where, shape, 4)
            rank(where, graph.output_of(op).shape, 4)
            return (shape[0], *graph.output_of(op).shape[1:3], shape[3])
        case _:
            return shape


def rank(where: str, shape: Shape, expected: int) -> None:
    """Raise UnsupportedModelError unless the shape has that many dimensions."""
    if len(shape) != expected:
        raise UnsupportedModelError(f"{where}: a shape of {expected} dimensions is needed, not {list(shape)}")


def _convolution(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D) -> Shape:
    where = graph.place(op)
    shape, weights = graph.tensor_of(op).shape, graph.tensor_of(op, 1).shape
    rank(where, shape, 4)
    rank(where, weights, 4)
    if isinstance(op, ops.Conv2D):
        channels = weights[0]
        groups, rest = divmod(shape[3], weights[3])
        fits = rest == 0 and groups > 0 and channels % groups == 0
    else:
        channels = weights[3]
        fits = weights[0] == 1 and channels % shape[3] == 0
    if not fits:
        raise UnsupportedModelError(f"{where}: weights {list(weights)} do not go with input {list(shape)}")
    return (shape[0], *window_of(graph, op).output(shape[1], shape[2]), channels)


def _fully_connected(graph: Graph, op: ops.FullyConnected) -> Shape:
    where = graph.place(op)
    shape, weights, output = graph.tensor_of(op).shape, graph.tensor_of(op, 1).shape, graph.output_of(op).shape
    rank(where, weights, 2)
    units, depth = weights
    if math.prod(shape) % depth:
        raise UnsupportedModelError(f"{where}: weights {list(weights)} do not go with input {list(shape)}")
    rows = math.prod(shape) // depth
    if len(output) == len(shape) and shape[-1:] == (depth,):
        return (*shape[:-1], units)  # keep_num_dims
    return (rows, units)


def _broadcast(where: str, first: Shape, second: Shape) -> Shape:
    longest = max(len(first), len(second))
    a, b = ((1,) * (longest - len(s)) + s for s in (first, second))
    if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
        raise UnsupportedModelError(f"{where}: shapes {list(first)} and {list(second)} do not broadcast")
    return tuple(max(x, y) for x, y in zip(a, b, strict=True))


def _mean(graph: Graph, op: ops.Mean) -> Shape:
    shape, output = graph.tensor_of(op).shape, graph.output_of(op).shape
    if any(not 0 <= axis < len(shape) for axis in op.axes):
        raise UnsupportedModelError(f"{graph.place(op)}: axes {list(op.axes)} of {len(shape)} dimensions")
    if len(output) == len(shape):
        return tuple(1 if axis in op.axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in op.axes)


def _concatenation(graph: Graph, op: ops.Concatenation) -> Shape:
    where = graph.place(op)
    shapes = [graph.tensors[i].shape for i in op.inputs]
    first = shapes[0]
    if op.axis >= len(first):
        raise UnsupportedModelError(f"{where}: axis {op.axis} of {len(first)} dimensions")
    for shape in shapes[1:]:
        if len(shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(shape, first, strict=False)) if i != op.axis
        ):
            raise UnsupportedModelError(
                f"{where}: shapes {list(first)} and {list(shape)} do not concatenate on axis {op.axis}"
            )
    return (*first[: op.axis], sum(shape[op.axis] for shape in shapes), *first[op.axis + 1 :])


def _regrouped(where: str, elements: int, output: Shape) -> Shape:
    if math.prod(output) != elements:
        raise UnsupportedModelError(f"{where}: {elements} elements do not fill the output {list(output)}")
    return output


def macs(graph: Graph, op: Operator) -> int:
    """Multiply-accumulates of one inference, padding included; 0 for operators without weights."""
    output = graph.output_of(op).elements
    match op:
        case ops.Conv2D() | ops.FullyConnected():
            weights = graph.tensor_of(op, 1)
            return output * (weights.elements // weights.shape[0])
        case ops.DepthwiseConv2D():
            weights = graph.tensor_of(op, 1)
            return output * weights.shape[1] * weights.shape[2]
        case _:
            return 0
