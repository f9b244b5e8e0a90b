"""Sums of products of many samples, in floats that hold every partial sum exactly: integers up to 2^24, or 2^53.

Values are taken as they are stored; what their zero point adds to a channel is a constant, beside the bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.conv_2d import Conv2D
from memaopt.networks.operators.convolution import Convolution
from memaopt.networks.operators.depthwise_conv_2d import DepthwiseConv2D
from memaopt.networks.operators.fully_connected import FullyConnected
from memaopt.networks.operators.weighted import Weighted
from memaopt.problems.step_functions import Requantization

Array = npt.NDArray[Any]
_Float = type[np.floating[Any]]
_Products = Callable[[Array], Array]
_CACHED = 1 << 16
"""Elements of patches that are gathered at a time: they stay in a processor's own cache."""


class FloatSums(NamedTuple):
    """``products`` gives sums [n, channels] for values [samples, ...]; with the ``constants`` of the channels they are
    the accumulators, which ``requantization`` makes outputs of."""

    products: _Products
    constants: Int64Array
    requantization: Requantization


def sums_of(graph: Graph, op: Weighted) -> FloatSums | None:
    """How the accumulators of ``op`` are computed for many samples; None if nothing here does."""
    weights = graph.tensors[op.weights].values.astype(np.int64)
    axes = tuple(axis for axis in range(weights.ndim) if axis != op.channel_axis)
    # Every partial sum is at most the sum of all magnitudes.
    kind: _Float = np.float32 if np.abs(weights).sum(axis=axes).max() * 128 < 1 << 24 else np.float64
    if isinstance(op, FullyConnected):
        products = _fully_connected(graph, op, kind)
    elif isinstance(op, Conv2D) and op.groups(graph) == 1:
        products = _conv(graph, op, kind)
    elif isinstance(op, DepthwiseConv2D) and op.multiplier(graph) == 1:
        products = _depthwise(graph, op, kind)
    else:
        return None
    constants = op.bias_values(graph) - graph.tensor_of(op).zero_point * weights.sum(axis=axes)
    return FloatSums(products, constants, op.requantization(graph))


def _fully_connected(graph: Graph, op: FullyConnected, kind: _Float) -> _Products:
    weights = np.ascontiguousarray(graph.tensors[op.weights].values.T.astype(kind))

    def products(values: Array) -> Array:
        return np.asarray(values.reshape(-1, len(weights)).astype(kind, copy=False) @ weights)

    return products


def _padded(graph: Graph, op: Convolution, kind: _Float) -> Callable[[Array], Array]:
    """The images, with their zero point around them."""
    top, bottom, left, right = op.padding
    _, height, width, depth = graph.tensor_of(op).shape
    zero_point = graph.tensor_of(op).zero_point

    def padded(values: Array) -> Array:
        images = values.reshape(-1, height, width, depth)
        if not any(op.padding):
            return np.ascontiguousarray(images, kind)
        made = np.full((len(images), top + height + bottom, left + width + right, depth), zero_point, kind)
        made[:, top : top + height, left : left + width] = images
        return made

    return padded


def _conv(graph: Graph, op: Conv2D, kind: _Float) -> _Products:
    weights, shape = graph.tensors[op.weights].values, graph.output_of(op).shape
    matrix = np.ascontiguousarray(weights.reshape(len(weights), -1).T.astype(kind))
    padded, positions = _padded(graph, op, kind), shape[1] * shape[2]
    at_once = max(1, _CACHED // (positions * len(matrix)))

    def products(values: Array) -> Array:
        images = padded(values)
        image, row, column, channel = images.strides
        (down, right), (below, beside) = op.stride, op.dilation
        extents = (len(images), *shape[1:3], *weights.shape[1:])
        steps = (image, down * row, right * column, below * row, beside * column, channel)
        patches = np.lib.stride_tricks.as_strided(images, extents, steps, writeable=False)
        made = np.empty((len(images), positions, len(weights)), kind)
        for first in range(0, len(images), at_once):
            some = patches[first : first + at_once]
            np.matmul(some.reshape(len(some), positions, len(matrix)), matrix, out=made[first : first + at_once])
        return made.reshape(-1, len(weights))

    return products


def _depthwise(graph: Graph, op: DepthwiseConv2D, kind: _Float) -> _Products:
    weights, shape = graph.tensors[op.weights].values[0].astype(kind), graph.output_of(op).shape
    height, width, depth = weights.shape
    right = op.stride.width
    # A row of output is one vector, times each tap's weights repeated along it.
    taps = np.tile(weights.reshape(height, width, 1, depth), (1, 1, shape[2], 1)).reshape(height, width, -1)
    padded = _padded(graph, op, kind)

    def rows(images: Array, first: int, columns: int) -> Array:
        """[images, rows, kernel rows, kernel columns from ``first`` on, elements of a row], without a copy."""
        image, row, column, channel = images.strides
        extents = (len(images), shape[1], height, columns, taps.shape[2])
        steps = (image, op.stride.height * row, op.dilation.height * row, op.dilation.width * column, channel)
        return np.lib.stride_tricks.as_strided(images[:, :, first:], extents, steps, writeable=False)

    def products(values: Array) -> Array:
        images = padded(values)
        if right == 1:
            return np.asarray(np.einsum("nhyxk,yxk->nhk", rows(images, 0, width), taps).reshape(-1, depth))
        # Every right-th column, so that a row of output reads consecutive ones.
        phases = [np.ascontiguousarray(images[:, :, phase::right]) for phase in range(right)]
        made = np.zeros((len(images), shape[1], taps.shape[2]), kind)
        for x in range(width):
            first, phase = divmod(x * op.dilation.width, right)
            made += np.einsum("nhyxk,yxk->nhk", rows(phases[phase], first, 1), taps[:, x : x + 1])
        return made.reshape(-1, depth)

    return products
