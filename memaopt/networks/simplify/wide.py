"""Weights of nine bits as weights of int8: a weight beyond int8 is the sum of two, which meet the same input.

The input has what such weights multiply twice: those of its channels, for a convolution and a matrix product; for a
depthwise convolution, whose channels stay apart, all of its columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator, Padding2D, Size2D
from memaopt.networks.operators.gather import Gather
from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.weighted import Weighted

Report = Callable[[str], None]


def split_wide(graph: Graph, report: Report) -> Graph:
    """Each operator whose weights take nine bits gets some of its input twice."""
    tensors, operators = list(graph.tensors), list[Operator]()
    for op in graph.operators:
        if not isinstance(op, Weighted) or not op.wide:
            operators.append(op)
            continue
        split = _columns if isinstance(op, ops.DepthwiseConv2D) else _channels
        made = split(graph, op, tensors)
        gathered = next(part for part in made if isinstance(part, Gather))
        more = len(gathered.indices) - graph.tensors[op.input].shape[gathered.axis]
        report(f"{graph.place(op)}: weights of nine bits, {more} {split.__name__.strip('_')} of its input twice")
        operators += made
    return graph.replace(tensors=tensors, operators=operators)


def _channels(graph: Graph, op: Weighted, tensors: list[Tensor]) -> list[Operator]:
    """A convolution, or a matrix product: the last axis of weights runs over input channels, of a group."""
    weights = graph.tensors[op.weights].values
    depth = weights.shape[-1]
    low, rest = _halves(weights)
    twice = np.flatnonzero(rest.reshape(-1, depth).any(axis=0))
    x, made, source = graph.tensor_of(op), list[Operator](), op.input
    if x.shape[-1] % depth:  # a matrix product of rows that lie otherwise in the input
        tensors.append(dataclasses.replace(x, name=f"{x.name}/rows", shape=(x.elements // depth, depth)))
        x, source = tensors[-1], len(tensors) - 1
        made.append(ops.Reshape(inputs=(op.input,), outputs=(source,), location=op.location))
    one = np.concatenate([np.arange(depth), twice])
    indices = (np.arange(x.shape[-1] // depth)[:, None] * depth + one).reshape(-1)
    return [
        *made,
        *_gathered(op, source, len(x.shape) - 1, indices, np.concatenate([low, rest[..., twice]], -1), tensors),
    ]


def _columns(graph: Graph, op: Weighted, tensors: list[Tensor]) -> list[Operator]:
    """A depthwise convolution: weights are [1, rows, columns, channels]; its window goes two columns at a time."""
    assert isinstance(op, ops.DepthwiseConv2D)
    weights, step = graph.tensors[op.weights].values, op.dilation.width
    low, rest = _halves(weights)
    _, rows, columns, outputs = weights.shape
    pairs = np.zeros((1, rows, (columns - 1) * step + 1, 2, outputs), np.int8)
    pairs[:, :, ::step, 0], pairs[:, :, ::step, 1] = low, rest
    indices = np.arange(graph.tensor_of(op).shape[2]).repeat(2)
    top, bottom, left, right = op.padding
    window = {
        "stride": Size2D(op.stride.height, 2 * op.stride.width),
        "dilation": Size2D(op.dilation.height, 1),
        "padding": Padding2D(top, bottom, 2 * left, 2 * right),
    }
    doubled = op.model_copy(update=window)
    return _gathered(doubled, op.input, 2, indices, pairs.reshape(1, rows, -1, outputs), tensors)


def _halves(weights: Array) -> tuple[Array, Array]:
    """What int8 holds of each weight, and what is left."""
    low = np.clip(weights, -128, 127)
    return low.astype(np.int8), (weights - low).astype(np.int8)


def _gathered(
    op: Weighted, source: int, axis: int, indices: Array, weights: Array, tensors: list[Tensor]
) -> list[Operator]:
    """The operator on the chosen indices of an axis of its input, with these weights."""
    x, constant = tensors[source], tensors[op.weights]
    shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
    weights.setflags(write=False)
    tensors.append(dataclasses.replace(x, name=f"{x.name}/twice", shape=shape))
    tensors.append(dataclasses.replace(constant, dtype=DType.INT8, shape=weights.shape, data=weights))
    inputs = (len(tensors) - 2, len(tensors) - 1, *op.inputs[2:])
    gather = Gather(
        inputs=(source,), outputs=inputs[:1], location=op.location, axis=axis, indices=tuple(indices.tolist())
    )
    return [gather, op.model_copy(update={"inputs": inputs, "wide": False})]
