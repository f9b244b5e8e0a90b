"""Operators of a network as layers for the kernel families: what is computed, without how."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.networks import quantization, shapes, tables
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Activation, Operator
from memaopt.networks.reference import layout
from memaopt.problems.layers import (
    Binary,
    BinaryKind,
    Conv,
    Depthwise,
    Dequantize,
    FullyConnected,
    Image,
    Layer,
    Lookup,
    Mean,
    Movement,
    Padding,
    Pair,
    Piece,
    Pool,
    PoolKind,
    Quantize,
    Requantization,
    Rescale,
    Softmax,
    Window,
    box,
)


class Lowered(NamedTuple):
    """A layer, called ``batch`` times on consecutive parts of ``inputs`` (tensors) and of the output."""

    layer: Layer
    inputs: tuple[int, ...]
    batch: int = 1


def lower(graph: Graph, op: Operator) -> Lowered | None:
    """The layer that computes an operator; None for one that moves nothing (a reshape of an activation).

    The operator must have passed :func:`memaopt.networks.checks.check`.
    """
    match op:
        case ops.Conv2D():
            return _images(graph, op, _conv(graph, op))
        case ops.DepthwiseConv2D():
            return _images(graph, op, _depthwise(graph, op))
        case ops.AveragePool2D() | ops.MaxPool2D():
            return _images(graph, op, _pool(graph, op))
        case ops.FullyConnected():
            return Lowered(_fully_connected(graph, op), (op.input,))
        case ops.Add() | ops.Sub() | ops.Mul():
            return Lowered(_binary(graph, op), op.inputs)
        case ops.Mean():
            return Lowered(_mean(graph, op), (op.input,))
        case ops.Softmax():
            return Lowered(_softmax(graph, op), (op.input,))
        case ops.Quantize() if graph.tensor_of(op).dtype is DType.FLOAT32:
            output = graph.output_of(op)
            return Lowered(Quantize(output.elements, float(output.scale), output.zero_point), (op.input,))
        case ops.Dequantize():
            tensor = graph.tensor_of(op)
            return Lowered(Dequantize(tensor.elements, float(tensor.scale), tensor.zero_point), (op.input,))
        case ops.Reshape():
            return Lowered(_copy(graph, op), (op.input,)) if graph.tensor_of(op).is_constant else None
        case ops.Pad() | ops.Concatenation() | ops.Transpose() | ops.StridedSlice() | ops.ResizeNearestNeighbor():
            return Lowered(_movement(graph, op), op.inputs)
        case _:
            return Lowered(Lookup(graph.output_of(op).elements, tables.table(graph, op)), (op.input,))


def _images(graph: Graph, op: Operator, layer: Layer) -> Lowered:
    return Lowered(layer, (op.input,), graph.tensor_of(op).shape[0])


def _image(tensor: Tensor) -> Image:
    return Image(*tensor.shape[1:])


def _window(graph: Graph, op: Operator) -> Window:
    window = shapes.window_of(graph, op)
    padding = Padding(window.padding.top, window.padding.left)
    return Window(Pair(*window.kernel), Pair(*window.stride), Pair(*window.dilation), padding)


def _bias(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D | ops.FullyConnected) -> npt.NDArray[np.int64]:
    if op.bias is None:
        return np.zeros(len(quantization.weighted_scales(graph, op)), np.int64)
    return graph.tensors[op.bias].values.astype(np.int64).reshape(-1)


def _twice(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D) -> Requantization:
    rescale = quantization.convolution_rescale(graph, op)
    low, high = quantization.clamp(graph, op, op.activation)
    zero_point = graph.output_of(op).zero_point
    return Requantization(zero_point, low, high, multipliers=rescale.multipliers, shifts=rescale.shifts)


def _settled(
    bias: npt.NDArray[np.int64], q: Requantization, weights: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int64], Requantization]:
    """Bias and requantisation with the same outputs, where channels without weights have an ordinary scale.

    Training leaves such channels scales that no fast output stage covers. Their accumulator is the bias alone, so
    another channel's scale does as well, with the bias that it takes to the same output. ``weights`` is [M, taps].
    """
    zero = ~weights.astype(bool).any(axis=1)
    wanted = q.apply(bias)
    if zero.all() or not zero.any():
        return bias, q
    scales = q.real_scales
    ordinary = int(np.flatnonzero(~zero)[np.argsort(scales[~zero])[(~zero).sum() // 2]])
    if not 0 < scales[ordinary] < 1:
        return bias, q
    nearest = np.rint((wanted - q.zero_point) / scales[ordinary]).astype(np.int64)
    settled = np.where(zero, nearest, bias)

    def shared(values: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        return None if values is None else np.where(zero, values[ordinary], values)

    replaced = dataclasses.replace(
        q, multipliers=shared(q.multipliers), shifts=shared(q.shifts), scales=shared(q.scales)
    )
    return (settled, replaced) if np.array_equal(replaced.apply(settled), wanted) else (bias, q)


def _conv(graph: Graph, op: ops.Conv2D) -> Conv:
    x, weights = graph.tensor_of(op), graph.tensors[op.weights].values
    bias, q = _settled(_bias(graph, op), _twice(graph, op), weights.reshape(len(weights), -1))
    groups = x.shape[3] // weights.shape[3]
    output = _image(graph.output_of(op))
    return Conv(_image(x), output, weights, bias, _window(graph, op), x.zero_point, q, groups)


def _depthwise(graph: Graph, op: ops.DepthwiseConv2D) -> Depthwise:
    x, weights = graph.tensor_of(op), graph.tensors[op.weights].values[0]
    bias, q = _settled(_bias(graph, op), _twice(graph, op), weights.reshape(-1, weights.shape[2]).T)
    output = _image(graph.output_of(op))
    return Depthwise(_image(x), output, weights, bias, _window(graph, op), x.zero_point, q)


def _fully_connected(graph: Graph, op: ops.FullyConnected) -> FullyConnected:
    x, weights = graph.tensor_of(op), graph.tensors[op.weights].values
    low, high = quantization.clamp(graph, op, op.activation)
    scales = quantization.fully_connected_scales(graph, op)
    given = Requantization(graph.output_of(op).zero_point, low, high, scales=scales)
    bias, q = _settled(_bias(graph, op), given, weights)
    return FullyConnected(x.elements // weights.shape[1], weights, bias, x.zero_point, q)


def _pool(graph: Graph, op: ops.AveragePool2D | ops.MaxPool2D) -> Pool:
    kind = PoolKind.MAX if isinstance(op, ops.MaxPool2D) else PoolKind.AVERAGE
    low, high = quantization.clamp(graph, op, op.activation)
    return Pool(kind, _image(graph.tensor_of(op)), _image(graph.output_of(op)), _window(graph, op), low, high)


_KINDS = {"ADD": BinaryKind.ADD, "SUB": BinaryKind.SUB, "MUL": BinaryKind.MUL}


def _binary(graph: Graph, op: ops.Add | ops.Sub | ops.Mul) -> Binary:
    first, second, output = graph.tensor_of(op, 0), graph.tensor_of(op, 1), quantization.computed(graph, op)
    low, high = quantization.clamp(graph, op, op.activation)
    rescales: dict[str, Any]
    if isinstance(op, ops.Mul):
        rescales = {"result": Rescale(*quantization.product_rescale(graph, op))}
    else:
        r = quantization.binary_rescale(graph, op)
        rescales = {
            "left_shift": r.left_shift,
            "first": Rescale(*r.first),
            "second": Rescale(*r.second),
            "result": Rescale(*r.output),
            "table": op.table,
        }
    return Binary(
        kind=_KINDS[op.kind],
        first_shape=first.shape,
        second_shape=second.shape,
        minimum=low,
        maximum=high,
        first_zero_point=first.zero_point,
        second_zero_point=second.zero_point,
        zero_point=output.zero_point,
        **rescales,
    )


def _mean(graph: Graph, op: ops.Mean) -> Mean:
    x = graph.tensor_of(op)
    rescale = quantization.mean_rescale(graph, op, math.prod(x.shape[axis] for axis in op.axes))
    q = Requantization(
        graph.output_of(op).zero_point,
        *quantization.clamp(graph, op, Activation.NONE),
        multipliers=np.array([rescale.multiplier], np.int64),
        shifts=np.array([rescale.shift], np.int64),
    )
    return Mean(x.shape, op.axes, x.zero_point, q)


def _softmax(graph: Graph, op: ops.Softmax) -> Softmax:
    x, rescale = graph.tensor_of(op), quantization.softmax_rescale(graph, op)
    depth = x.shape[-1] if x.shape else 1
    return Softmax(x.elements // depth, depth, rescale.multiplier, rescale.left_shift, rescale.least_difference)


def _copy(graph: Graph, op: Operator) -> Movement:
    elements = graph.output_of(op).elements
    return Movement(op.kind, elements, (box(0, (elements,), (elements,), shape=(elements,)),))


def _movement(graph: Graph, op: Operator) -> Movement:
    x, output = graph.tensor_of(op), graph.output_of(op)
    fill, pieces = 0, []
    match op:
        case ops.Pad():
            fill = output.zero_point
            before = tuple(a for a, _ in op.paddings)
            pieces = [box(0, x.shape, output.shape, shape=x.shape, output_start=before)]
        case ops.Concatenation():
            at = 0
            for number, index in enumerate(op.inputs):
                shape = graph.tensors[index].shape
                start = tuple(at if axis == op.axis else 0 for axis in range(len(shape)))
                pieces.append(box(number, shape, output.shape, shape=shape, output_start=start))
                at += shape[op.axis]
        case ops.Transpose():
            pieces = [box(0, x.shape, output.shape, shape=output.shape, permutation=op.permutation)]
        case ops.StridedSlice():
            lengths = tuple(s.length for s in op.slices)
            pieces = [
                box(
                    0,
                    x.shape,
                    lengths,
                    shape=lengths,
                    input_start=tuple(s.start for s in op.slices),
                    input_step=tuple(s.step for s in op.slices),
                )
            ]
        case ops.ResizeNearestNeighbor():
            pieces = [_resized(x, output, op)]
        case _:
            raise TypeError(f"{op.kind} moves no elements")
    title = f"{op.kind} {' + '.join(graph.tensors[i].describe() for i in op.inputs)} -> {output.describe()}"
    return Movement(title, output.elements, tuple(p for p in pieces if p.elements), fill)


def _resized(x: Tensor, output: Tensor, op: ops.ResizeNearestNeighbor) -> Piece:
    batch, rows, columns, channels = output.shape
    _, height, width, _ = x.shape
    ys = np.array(layout.nearest_indices(height, rows, op), np.int64)
    xs = np.array(layout.nearest_indices(width, columns, op), np.int64)

    def steps(count: int, stride: int) -> npt.NDArray[np.int64]:
        return np.arange(count, dtype=np.int64) * stride

    return Piece(
        0,
        (batch, rows, columns, channels),
        (steps(batch, height * width * channels), ys * (width * channels), xs * channels, steps(channels, 1)),
        (
            steps(batch, rows * columns * channels),
            steps(rows, columns * channels),
            steps(columns, channels),
            steps(channels, 1),
        ),
    )
