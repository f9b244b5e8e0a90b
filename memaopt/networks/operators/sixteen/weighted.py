"""Weights of int8 on activations of int16: biases are int64."""

from __future__ import annotations

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.operator import check_rank
from memaopt.networks.operators.sixteen.activations import check_int16
from memaopt.networks.operators.weighted import Weighted

_MOST = 1 << 47
"""Of a sum that TFLite rescales."""


def check_types(graph: Graph, op: Weighted) -> None:
    op.expect(graph, op.weights, "weights", DType.INT8)
    if op.bias is not None:
        op.expect(graph, op.bias, "bias", DType.INT64)


def check_scales(graph: Graph, op: Weighted) -> None:
    """Constant, symmetric weights, a constant bias, and sums that fit."""
    check_int16(graph, op)
    weights, axis = graph.tensors[op.weights], op.channel_axis
    check_rank(graph.place(op), weights.shape, op.weights_rank)
    channels = weights.shape[axis]
    if not weights.is_constant or weights.zero_points.any() or len(weights.scales) not in (1, channels):
        raise op.refuse(graph, "weights are computed, or have a zero point; symmetric constants are supported")
    if weights.is_per_channel and weights.quantized_dimension != axis:
        raise op.refuse(graph, f"scales on axis {weights.quantized_dimension} of weights; axis {axis} is supported")
    if not (np.isfinite(weights.scales).all() and (weights.scales > 0).all()):
        raise op.refuse(graph, "a scale of the weights is not a positive number")
    if op.bias is not None:
        bias = graph.tensors[op.bias]
        if not bias.is_constant or bias.elements != channels:
            raise op.refuse(graph, f"bias {bias.name!r} is {bias.describe()}; {channels} constants are supported")
    others = tuple(a for a in range(weights.values.ndim) if a != axis)
    widest = (np.abs(weights.values.astype(np.int64)).sum(axis=others) << 15) + np.abs(op.bias_values(graph))
    if widest.max() >= _MOST:
        raise op.refuse(graph, f"a sum can reach {widest.max()}; below 2^47 is supported")
