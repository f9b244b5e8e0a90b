"""TRANSPOSE_CONV as a convolution: output positions that are a stride apart get the same taps of the weights.

Let an output row, counted with those before the first, be Y = s q + a. It gets the weights' rows a, a + s, a + 2 s, ...
of the input's rows q, q - 1, q - 2, ...: for each a a convolution of ceil(k / s) rows, without stride. All a together
are its output channels, weights being 0 where a tap lies beyond the kernel; the outputs are then interleaved.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Operator, Padding2D, Size2D
from memaopt.networks.operators.interleave import Interleave
from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.transpose_conv import TransposeConv

Report = Callable[[str], None]


def convolve_transposed(graph: Graph, report: Report) -> Graph:
    """Each TRANSPOSE_CONV becomes a CONV_2D and an INTERLEAVE."""
    tensors, operators = list(graph.tensors), list[Operator]()
    for op in graph.operators:
        if isinstance(op, TransposeConv):
            operators += _convolution(graph, op, tensors)
            report(f"{graph.place(op)}: a convolution, whose outputs are interleaved")
        else:
            operators.append(op)
    return graph.replace(tensors=tensors, operators=operators)


def _convolution(graph: Graph, op: TransposeConv, tensors: list[Tensor]) -> list[Operator]:
    x, weights, y = graph.tensor_of(op), graph.tensors[op.weights], graph.output_of(op)
    stride, before = op.stride, op.before(graph)
    padding, size = [], []
    for axis in (0, 1):
        step, skipped = stride[axis], before[axis] // stride[axis]
        taps = math.ceil(weights.shape[axis + 1] / step)
        blocks = (before[axis] + y.shape[axis + 1] - 1) // step + 1 - skipped
        first = taps - 1 - skipped
        last = max(blocks + taps - 1 - x.shape[axis + 1] - first, 0)
        padding += [first, last]
        size.append(x.shape[axis + 1] + first + last - taps + 1)
    phases = stride.height * stride.width
    split = _split(weights.values, stride)
    inputs = [op.input, len(tensors)]
    tensors.append(_tiled(weights, split, phases))
    if op.bias is not None:
        bias = graph.tensors[op.bias]
        inputs.append(len(tensors))
        tensors.append(_tiled(bias, np.tile(bias.values.reshape(-1), phases), phases))
    between = len(tensors)
    tensors.append(dataclasses.replace(y, name=f"{y.name}/phases", shape=(x.shape[0], *size, len(split))))
    left_out = Size2D(*(n % step for n, step in zip(before, stride, strict=True)))
    return [
        ops.Conv2D(
            inputs=tuple(inputs),
            outputs=(between,),
            location=op.location,
            padding=Padding2D(*padding),
            activation=op.activation,
            bounds=op.bounds,
            wide=op.wide,
            rounding=op.rounding,
        ),
        Interleave(inputs=(between,), outputs=op.outputs, location=op.location, block=stride, before=left_out),
    ]


def _split(weights: Array, stride: Size2D) -> Array:
    """Weights [phases * outputs, taps, taps, inputs] of OHWI ones, turned round."""
    outputs, height, width, depth = weights.shape
    tall, wide = (math.ceil(k / s) for k, s in zip((height, width), stride, strict=True))
    whole = np.zeros((outputs, tall * stride.height, wide * stride.width, depth), weights.dtype)
    whole[:, :height, :width] = weights
    parts = whole.reshape(outputs, tall, stride.height, wide, stride.width, depth)[:, ::-1, :, ::-1]
    split = parts.transpose(2, 4, 0, 1, 3, 5).reshape(-1, tall, wide, depth)
    return np.ascontiguousarray(split)


def _tiled(tensor: Tensor, data: Array, times: int) -> Tensor:
    """A constant whose output channels are repeated, with its scales where each has its own."""
    data.setflags(write=False)
    changed = dataclasses.replace(tensor, data=data, shape=data.shape)
    if not tensor.is_per_channel:
        return changed
    scales, zeros = np.tile(tensor.scales, times), np.tile(tensor.zero_points, times)
    return dataclasses.replace(changed, scales=scales, zero_points=zeros)
