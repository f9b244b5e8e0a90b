"""ADD, SUB, MUL, QUANTIZE, DEQUANTIZE and the rectifiers: one output element for each input element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks import quantization
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Activation, Operator
from memaopt.networks.quantization import Rescale

Array = npt.NDArray[Any]


def _centred(graph: Graph, op: Operator, arguments: Sequence[Array], position: int = 0) -> Int64Array:
    result: Int64Array = arguments[position].astype(np.int64) - graph.tensor_of(op, position).zero_point
    return result


def _scaled(x: Int64Array, rescale: Rescale) -> Int64Array:
    return fixedpoint.multiply_by_quantized_multiplier(x, rescale.multiplier, rescale.shift)


def _clamped(graph: Graph, op: Operator, x: Int64Array, activation: Activation) -> Array:
    low, high = quantization.clamp(graph, op, activation)
    return np.clip(x + quantization.computed(graph, op).zero_point, low, high)


def _sum(graph: Graph, op: ops.Add | ops.Sub, arguments: Sequence[Array], sign: int) -> Array:
    rescale = quantization.binary_rescale(graph, op)
    first = _scaled(_centred(graph, op, arguments, 0) << rescale.left_shift, rescale.first)
    second = _scaled(_centred(graph, op, arguments, 1) << rescale.left_shift, rescale.second)
    result = _clamped(graph, op, _scaled(first + sign * second, rescale.output), op.activation)
    return np.array(op.table, np.int64)[result + 128] if op.table else result


def add(graph: Graph, op: ops.Add, arguments: Sequence[Array]) -> Array:
    return _sum(graph, op, arguments, 1)


def sub(graph: Graph, op: ops.Sub, arguments: Sequence[Array]) -> Array:
    return _sum(graph, op, arguments, -1)


def mul(graph: Graph, op: ops.Mul, arguments: Sequence[Array]) -> Array:
    product = _centred(graph, op, arguments, 0) * _centred(graph, op, arguments, 1)
    return _clamped(graph, op, _scaled(product, quantization.product_rescale(graph, op)), op.activation)


def quantize(graph: Graph, op: ops.Quantize, arguments: Sequence[Array]) -> Array:
    """From float32: round(x / scale) in float, ties away from zero. NaN gives the zero point; values beyond
    32 bits saturate (TFLite leaves both undefined)."""
    output = graph.output_of(op)
    if arguments[0].dtype == np.float32:
        with np.errstate(over="ignore"):
            steps = np.nan_to_num(arguments[0] / output.scale, nan=0.0)
        rounded = fixedpoint.round_half_away_from_zero(np.clip(steps, -(2.0**31), 2.0**31)).astype(np.int64)
        return np.clip(rounded + output.zero_point, quantization.INT8_MIN, quantization.INT8_MAX)
    scaled = _scaled(_centred(graph, op, arguments), quantization.double_rescale(graph, op))
    return _clamped(graph, op, scaled, Activation.NONE)


def dequantize(graph: Graph, op: ops.Dequantize, arguments: Sequence[Array]) -> Array:
    scale = np.float64(graph.tensor_of(op).scale)
    return (scale * _centred(graph, op, arguments)).astype(np.float32)


def relu(graph: Graph, op: ops.Relu, arguments: Sequence[Array]) -> Array:
    scaled = _scaled(_centred(graph, op, arguments), quantization.float_rescale(graph, op))
    return _clamped(graph, op, scaled, Activation.RELU)


def relu6(graph: Graph, op: ops.Relu6, arguments: Sequence[Array]) -> Array:
    scaled = _scaled(_centred(graph, op, arguments), quantization.float_rescale(graph, op))
    return _clamped(graph, op, scaled, Activation.RELU6)


def leaky_relu(graph: Graph, op: ops.LeakyRelu, arguments: Sequence[Array]) -> Array:
    """A negative alpha multiplies by its magnitude and negates, so that rounding is symmetric."""
    centred = _centred(graph, op, arguments)
    identity = quantization.float_rescale(graph, op)
    alpha = quantization.float_rescale(graph, op, op.alpha)
    below = _scaled(centred, Rescale(abs(alpha.multiplier), alpha.shift))
    scaled = np.where(centred >= 0, _scaled(centred, identity), -below if alpha.multiplier < 0 else below)
    return _clamped(graph, op, scaled, Activation.NONE)
