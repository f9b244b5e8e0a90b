"""Weights of int8 on activations of int16: biases, and sums, are int64 or int32."""

from __future__ import annotations

from typing import Any

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.operator import check_rank
from memaopt.networks.operators.quantization import SAFE
from memaopt.networks.operators.sixteen.activations import check_int16
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.weighted import Weighted

_MOST = 1 << 47
"""Of a sum that TFLite rescales."""
_BIAS_TYPE = "quantizedBiasType"


def says_narrow(source: Source) -> bool:
    """Whether a file's option says that sums are int32."""
    return source.options().get(_BIAS_TYPE) == DType.INT32.name


def narrow_option(narrow: bool) -> dict[str, Any]:
    """That option, where it says something."""
    return {_BIAS_TYPE: DType.INT32.name} if narrow else {}


def check_types(graph: Graph, op: Weighted) -> None:
    op.expect(graph, op.weights, "weights", DType.INT8)
    if op.bias is not None:
        op.expect(graph, op.bias, "bias", DType.INT64, DType.INT32)


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
    widest = greatest(graph, op).max()
    if widest >= _MOST:
        raise op.refuse(graph, f"a sum can reach {widest}; below 2^47 is supported")


def greatest(graph: Graph, op: Weighted) -> Int64Array:
    """What the magnitude of each output channel's sum, bias included, can reach."""
    weights = graph.tensors[op.weights].values
    others = tuple(a for a in range(weights.ndim) if a != op.channel_axis)
    found: Int64Array = (np.abs(weights.astype(np.int64)).sum(axis=others) << 15) + np.abs(op.bias_values(graph))
    return found


def check_int32(graph: Graph, op: Weighted, shifts: Int64Array) -> None:
    """UnsupportedModelError unless sums fit 32 bits, shifted left to be rescaled too."""
    widest = (greatest(graph, op) << np.maximum(shifts, 0)).max()
    if widest > SAFE:
        raise op.refuse(graph, f"a sum of int32, shifted left to be rescaled, can reach {widest}: more than 32 bits")
