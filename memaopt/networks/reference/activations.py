"""LOGISTIC, TANH, HARD_SWISH and SOFTMAX.

Each but SOFTMAX is a function of one int8, so it is computed as a table of 256 entries (``*_table``, indexed by
value + 128), which is what the emitted code holds too.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks import quantization
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator

Array = npt.NDArray[Any]
Int8Table = npt.NDArray[np.int8]

_EVERY_INT8 = np.arange(-128, 128)


@functools.cache
def _float_function(name: str, fallback: Callable[[float], float]) -> Callable[[float], float]:
    """The C library's float function, as TFLite calls it; without one, the double function rounded to float
    (they differ by an ulp at most, which seldom reaches a table)."""
    try:
        function = getattr(ctypes.CDLL(ctypes.util.find_library("m")), name)
    except (OSError, AttributeError, TypeError):
        return lambda x: float(np.float32(fallback(x)))
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    result: Callable[[float], float] = function
    return result


def _exp(x: float) -> float:
    return math.exp(x) if x < 89.0 else math.inf  # beyond, a float overflows


def _lookup(table: Int8Table, values: Array) -> Array:
    found: Array = table[values.astype(np.int64) + 128]
    return found


def _table(graph: Graph, op: Operator, function: Callable[[np.float32], np.float32]) -> Int8Table:
    """round(function(dequantised) / scale) + zero point for every int8, all in float (LUTPopulate)."""
    tensor, output = graph.tensor_of(op), graph.output_of(op)
    inverse = np.float32(1) / output.scale
    with np.errstate(over="ignore"):
        reals = tensor.scale * (_EVERY_INT8 - tensor.zero_point).astype(np.float32)
        results = np.array([function(real) for real in reals], np.float32) * inverse
    rounded = fixedpoint.round_half_away_from_zero(results).astype(np.float32) + np.float32(output.zero_point)
    table: Int8Table = np.clip(np.trunc(rounded), -128, 127).astype(np.int8)
    return table


def logistic_table(graph: Graph, op: Operator) -> Int8Table:
    """1 / (1 + exp(-x)) for each input from -128 to 127."""
    exp = _float_function("expf", _exp)
    one = np.float32(1)
    return _table(graph, op, lambda x: one / (one + np.float32(exp(float(-x)))))


def tanh_table(graph: Graph, op: Operator) -> Int8Table:
    """tanh(x) for each input from -128 to 127."""
    tanh_float = _float_function("tanhf", math.tanh)
    return _table(graph, op, lambda x: np.float32(tanh_float(float(x))))


def logistic(graph: Graph, op: ops.Logistic, arguments: Sequence[Array]) -> Array:
    return _lookup(logistic_table(graph, op), arguments[0])


def tanh(graph: Graph, op: ops.Tanh, arguments: Sequence[Array]) -> Array:
    return _lookup(tanh_table(graph, op), arguments[0])


def lookup(graph: Graph, op: ops.Lookup, arguments: Sequence[Array]) -> Array:
    return _lookup(np.array(op.values, np.int8), arguments[0])


def _rounding_high_mul16(a: Int64Array, b: int) -> Int64Array:
    """round(a * b / 2^15), ties up; saturation cannot occur, as b is never -2^15."""
    return (a * b + (1 << 14)) >> 15


def _saturate16(x: Int64Array) -> Int64Array:
    saturated: Int64Array = np.clip(x, -(1 << 15), (1 << 15) - 1)
    return saturated


def hard_swish_table(graph: Graph, op: Operator) -> Int8Table:
    """x * relu6(x + 3) / 6 in 16-bit fixed point, for each input from -128 to 127.

    x goes to 1/128 of its scale. One multiplier brings it (almost) to the output's scale, the other to the scale on
    which 3 is 2^15, where it saturates; (that + 2^15) / 2 is the factor relu6(x + 3) / 6.
    """
    rescale = quantization.hard_swish_rescale(graph, op)
    output = graph.output_of(op)
    fine = (_EVERY_INT8 - graph.tensor_of(op).zero_point).astype(np.int64) << 7
    on_output = _rounding_high_mul16(fine, rescale.output_multiplier)
    reluish, exponent = fine, rescale.reluish_exponent
    if exponent > 0:
        reluish = _saturate16(reluish << (exponent - 1))
    reluish = _rounding_high_mul16(reluish, rescale.reluish_multiplier)
    if exponent > 0:
        reluish = _saturate16(reluish << 1)
    if exponent < 0:
        reluish = fixedpoint.rounding_divide_by_pot(reluish, -exponent)
    factor = (reluish + (1 << 15)) >> 1
    product = factor * on_output
    truncated = np.sign(product) * (np.abs(product) >> 15)  # C's division rounds towards zero
    scaled = fixedpoint.rounding_divide_by_pot(truncated, -rescale.output_exponent) + output.zero_point
    return np.clip(scaled, -128, 127).astype(np.int8)


def hard_swish(graph: Graph, op: ops.HardSwish, arguments: Sequence[Array]) -> Array:
    return _lookup(hard_swish_table(graph, op), arguments[0])


def softmax_exponentials(graph: Graph, op: ops.Softmax) -> Int64Array:
    """exp((i - 255) * beta * scale) in Q0.31 for i = 0 .. 255, that is for every difference from the maximum.

    0 where the kernel skips the element. The emitted code may hold this as its table.
    """
    rescale = quantization.softmax_rescale(graph, op)
    differences = np.arange(-255, 1)
    kept = differences >= rescale.least_difference
    shifted = np.where(kept, differences, 0) << rescale.left_shift
    scaled = fixedpoint.saturating_rounding_doubling_high_mul(shifted, rescale.multiplier)
    return np.where(kept, fixedpoint.exp_on_negative_values(scaled), 0)


def softmax(graph: Graph, op: ops.Softmax, arguments: Sequence[Array]) -> Array:
    """Fixed-point exponentials in Q0.31, summed in Q12.19, times the reciprocal of the sum."""
    values = arguments[0].astype(np.int64)
    differences = values - values.max(axis=-1, keepdims=True)
    exponentials = softmax_exponentials(graph, op)[differences + 255]
    skipped = differences < quantization.softmax_rescale(graph, op).least_difference
    terms = np.where(skipped, 0, fixedpoint.rounding_divide_by_pot(exponentials, 12))
    total = terms.sum(axis=-1, keepdims=True)
    # total = (1 + fraction) * 2^(31 - headroom); the reciprocal is taken of 1 + fraction
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    fraction = (total << headroom) - (1 << 31)
    reciprocal = fixedpoint.one_over_one_plus_x(fraction)
    product = fixedpoint.saturating_rounding_doubling_high_mul(reciprocal, exponentials)
    scaled = fixedpoint.rounding_divide_by_pot(product, 12 - headroom + 31 - 8)
    return np.where(skipped, -128, np.clip(scaled - 128, -128, 127))
