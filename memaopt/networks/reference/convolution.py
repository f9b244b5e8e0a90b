"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED.

Products are summed in float64 or int32, which is exact: the checks bound every partial sum by 2^31.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks import quantization, shapes
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops

Array = npt.NDArray[Any]

_CHUNK = 1 << 21
"""Elements of a patch matrix held at a time."""


def _padded(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D, image: Array) -> Array:
    """The image less its zero point, int16, with zeros around it."""
    top, bottom, left, right = op.padding
    centred = image.astype(np.int16) - np.int16(graph.tensor_of(op).zero_point)
    return np.pad(centred, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _bias(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D | ops.FullyConnected) -> Int64Array:
    if op.bias is None:
        return np.zeros(1, np.int64)
    return graph.tensors[op.bias].values.astype(np.int64).reshape(-1)


def _finish(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D, accumulators: Int64Array) -> Array:
    rescale = quantization.convolution_rescale(graph, op)
    scaled = fixedpoint.multiply_by_quantized_multiplier(accumulators, rescale.multipliers, rescale.shifts)
    low, high = quantization.clamp(graph, op, op.activation)
    return np.clip(scaled + graph.output_of(op).zero_point, low, high)


def _taps(window: shapes.Window, image: Array, y: int, columns: range, channels: slice) -> Iterator[Array]:
    """For each kernel position, what it reads for those columns of output row ``y``: [len(columns), channels]."""
    for ky in range(window.kernel.height):
        row = image[y * window.stride.height + ky * window.dilation.height]
        for kx in range(window.kernel.width):
            first = columns[0] * window.stride.width + kx * window.dilation.width
            last = first + (len(columns) - 1) * window.stride.width + 1
            yield row[first : last : window.stride.width, channels]


def conv_2d(graph: Graph, op: ops.Conv2D, arguments: Sequence[Array]) -> Array:
    """Rows of output at a time as a matrix product of gathered patches and weights."""
    return _finish(graph, op, conv_2d_accumulators(graph, op, arguments[0]))


def conv_2d_accumulators(graph: Graph, op: ops.Conv2D, value: Array) -> Int64Array:
    """The int32 accumulators, bias included, of the output's shape."""
    weights = graph.tensors[op.weights].values
    images, window = _padded(graph, op, value), shapes.window_of(graph, op)
    accumulators = np.empty(graph.output_of(op).shape, np.int64)
    _, rows, columns, outputs = accumulators.shape
    depth = weights.shape[3]
    groups = value.shape[3] // depth
    per_group = outputs // groups
    k = weights.shape[1] * weights.shape[2] * depth
    columns_at_once = max(1, min(columns, _CHUNK // k))
    rows_at_once = max(1, _CHUNK // (k * columns_at_once))
    for group in range(groups):
        channels = slice(group * depth, (group + 1) * depth)
        kernels = slice(group * per_group, (group + 1) * per_group)
        matrix = weights[kernels].reshape(per_group, k).astype(np.float64).T
        for image, result in zip(images, accumulators, strict=True):
            for top, left in itertools.product(range(0, rows, rows_at_once), range(0, columns, columns_at_once)):
                band = range(top, min(top + rows_at_once, rows))
                strip = range(left, min(left + columns_at_once, columns))
                patches = np.stack([np.stack([*_taps(window, image, y, strip, channels)], axis=1) for y in band])
                flat = patches.reshape(len(band), len(strip), k).astype(np.float64)
                result[top : band.stop, left : strip.stop, kernels] = flat @ matrix
    accumulators += _bias(graph, op)
    return accumulators


def depthwise_conv_2d(graph: Graph, op: ops.DepthwiseConv2D, arguments: Sequence[Array]) -> Array:
    """One kernel position at a time over whole planes."""
    return _finish(graph, op, depthwise_conv_2d_accumulators(graph, op, arguments[0]))


def depthwise_conv_2d_accumulators(graph: Graph, op: ops.DepthwiseConv2D, value: Array) -> Int64Array:
    """The int32 accumulators, bias included, of the output's shape."""
    weights = graph.tensors[op.weights].values[0].astype(np.int32)
    images, window = _padded(graph, op, value), shapes.window_of(graph, op)
    batch, rows, columns, outputs = graph.output_of(op).shape
    depth = value.shape[3]
    accumulators = np.zeros((batch, rows, columns, depth, outputs // depth), np.int32)
    for image, result in zip(images, accumulators, strict=True):
        for y in range(rows):
            taps = _taps(window, image, y, range(columns), slice(None))
            for tap, weight in zip(taps, weights.reshape(-1, depth, outputs // depth), strict=True):
                result[y] += tap[..., None] * weight
    return accumulators.reshape(batch, rows, columns, outputs) + _bias(graph, op)


def fully_connected(graph: Graph, op: ops.FullyConnected, arguments: Sequence[Array]) -> Array:
    """A matrix product, rounded once in double precision."""
    accumulators = fully_connected_accumulators(graph, op, arguments[0])
    scaled = fixedpoint.requantize_in_double(accumulators, quantization.fully_connected_scales(graph, op))
    low, high = quantization.clamp(graph, op, op.activation)
    return np.clip(scaled + graph.output_of(op).zero_point, low, high)


def fully_connected_accumulators(graph: Graph, op: ops.FullyConnected, value: Array) -> Int64Array:
    """The int32 accumulators, bias included, [rows, units]."""
    weights = graph.tensors[op.weights].values
    centred = value.reshape(-1, weights.shape[1]).astype(np.float64) - graph.tensor_of(op).zero_point
    accumulators: Int64Array = (centred @ weights.astype(np.float64).T).astype(np.int64)
    accumulators += _bias(graph, op)
    return accumulators
