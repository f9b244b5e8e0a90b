"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks import quantization, shapes
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Activation

Array = npt.NDArray[Any]


def _pooled(
    graph: Graph, op: ops.AveragePool2D | ops.MaxPool2D, image: Array, reduce: Callable[[Array], Array]
) -> Array:
    """Apply ``reduce`` to [batch, rows, columns, channels], the part of each window inside the image."""
    batch, rows, columns, channels = graph.output_of(op).shape
    _, height, width, _ = image.shape
    window = shapes.window_of(graph, op)
    result: Int64Array = np.empty((batch, rows, columns, channels), np.int64)
    for y in range(rows):
        top = y * window.stride.height - window.padding.top
        for x in range(columns):
            left = x * window.stride.width - window.padding.left
            bottom, right = min(top + window.kernel.height, height), min(left + window.kernel.width, width)
            result[:, y, x] = reduce(image[:, max(top, 0) : bottom, max(left, 0) : right])
    low, high = quantization.clamp(graph, op, op.activation)
    return np.clip(result, low, high)


def average_pool_2d(graph: Graph, op: ops.AveragePool2D, arguments: Sequence[Array]) -> Array:
    """The rounded mean of the stored values (ties away from zero), without their zero point."""

    def average(part: Array) -> Array:
        count = part.shape[1] * part.shape[2]
        total = part.sum(axis=(1, 2), dtype=np.int64)
        rounded: Array = np.sign(total) * ((np.abs(total) + count // 2) // count)
        return rounded

    return _pooled(graph, op, arguments[0], average)


def max_pool_2d(graph: Graph, op: ops.MaxPool2D, arguments: Sequence[Array]) -> Array:
    return _pooled(graph, op, arguments[0], lambda part: part.max(axis=(1, 2)))


def mean(graph: Graph, op: ops.Mean, arguments: Sequence[Array]) -> Array:
    """The sum less its zero points, rescaled once with the division folded into the multiplier."""
    tensor = graph.tensor_of(op)
    count = math.prod(tensor.shape[axis] for axis in op.axes)
    total: Int64Array = arguments[0].sum(axis=op.axes, dtype=np.int64) - tensor.zero_point * count
    multiplier, shift = quantization.mean_rescale(graph, op, count)
    scaled = fixedpoint.multiply_by_quantized_multiplier(total, multiplier, shift)
    low, high = quantization.clamp(graph, op, Activation.NONE)
    return np.clip(scaled + graph.output_of(op).zero_point, low, high)
