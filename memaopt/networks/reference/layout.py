"""Operators that only move bytes: PAD, CONCATENATION, RESHAPE and kin, TRANSPOSE, STRIDED_SLICE, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops

Array = npt.NDArray[Any]


def pad(graph: Graph, op: ops.Pad, arguments: Sequence[Array]) -> Array:
    x = arguments[0]  # np.pad takes no scalars
    shape = [before + size + after for size, (before, after) in zip(x.shape, op.paddings, strict=True)]
    y = np.full(shape, graph.output_of(op).zero_point, x.dtype)
    y[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, op.paddings, strict=True))] = x
    return y


def concatenation(graph: Graph, op: ops.Concatenation, arguments: Sequence[Array]) -> Array:
    return np.concatenate(arguments, axis=op.axis)


def reshape(graph: Graph, op: ops.Reshape, arguments: Sequence[Array]) -> Array:
    return arguments[0].reshape(graph.output_of(op).shape)


def transpose(graph: Graph, op: ops.Transpose, arguments: Sequence[Array]) -> Array:
    return arguments[0].transpose(op.permutation)


def strided_slice(graph: Graph, op: ops.StridedSlice, arguments: Sequence[Array]) -> Array:
    result = arguments[0]
    for axis, (start, step, length) in enumerate(op.slices):
        if (start, step, length) != (0, 1, result.shape[axis]):
            result = np.take(result, start + step * np.arange(length), axis=axis)
    return result


def nearest_indices(inputs: int, outputs: int, op: ops.ResizeNearestNeighbor) -> list[int]:
    """The input index of each output index along one axis, in TFLite's float arithmetic."""
    aligned = op.align_corners and outputs > 1
    scale = np.float32(inputs - 1) / np.float32(outputs - 1) if aligned else np.float32(inputs) / np.float32(outputs)
    positions = (np.arange(outputs).astype(np.float32) + np.float32(0.5 if op.half_pixel_centers else 0)) * scale
    rounded = fixedpoint.round_half_away_from_zero(positions) if op.align_corners else np.floor(positions)
    return [min(int(i), inputs - 1) for i in rounded]


def resize_nearest_neighbor(graph: Graph, op: ops.ResizeNearestNeighbor, arguments: Sequence[Array]) -> Array:
    _, height, width, _ = graph.tensor_of(op).shape
    _, rows, columns, _ = graph.output_of(op).shape
    return arguments[0][:, nearest_indices(height, rows, op)][:, :, nearest_indices(width, columns, op)]
