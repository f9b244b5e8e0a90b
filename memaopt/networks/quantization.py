"""What TFLite's kernels derive from scales and zero points before they run: multipliers, shifts and clamps.

Whether a division is done in float or in double decides the last bit of a multiplier, so each function follows
the Prepare step of its kernel (tensorflow/lite/kernels, public). Anything for which the kernel's arithmetic
would leave 32 bits, or which its own checks refuse, raises UnsupportedModelError.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.errors import UnsupportedModelError
from memaopt.fixedpoint import INT32_MAX, Int64Array
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Activation, Operator

INT8_MIN, INT8_MAX = -128, 127
_SAFE = INT32_MAX - 256  # leaves room for adding a zero point


class Clamp(NamedTuple):
    """The range of quantised outputs that a fused activation leaves."""

    minimum: int
    maximum: int


class Rescale(NamedTuple):
    """multiplier * 2^(shift - 31), for fixedpoint.multiply_by_quantized_multiplier."""

    multiplier: int
    shift: int


class ChannelRescale(NamedTuple):
    """A :class:`Rescale` for each output channel."""

    multipliers: Int64Array
    shifts: Int64Array


class AccumulatorRange(NamedTuple):
    """For each output channel the least and the greatest accumulator, bias included, over all int8 inputs."""

    low: Int64Array
    high: Int64Array


class BinaryRescale(NamedTuple):
    """ADD and SUB: inputs are shifted left, rescaled to twice the greater scale, summed, rescaled to the output."""

    left_shift: int
    first: Rescale
    second: Rescale
    output: Rescale


class SoftmaxRescale(NamedTuple):
    """SOFTMAX: differences below ``least_difference`` count as exp(x) = 0; others go to Q5.26."""

    multiplier: int
    left_shift: int
    least_difference: int


class HardSwishRescale(NamedTuple):
    """HARD_SWISH's two 16-bit multipliers with their exponents."""

    output_multiplier: int
    output_exponent: int
    reluish_multiplier: int
    reluish_exponent: int


def _refuse(graph: Graph, op: Operator, problem: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{graph.place(op)}: {problem}")


def _rescale(graph: Graph, op: Operator, real: float, *, below_one: bool = False) -> Rescale:
    if not math.isfinite(real) or abs(real) >= 2.0**30:
        raise _refuse(graph, op, f"the ratio of scales {real:g} is out of range; at most 2^30 is supported")
    if below_one and real >= 1.0:
        raise _refuse(graph, op, f"the ratio of scales {real:g} is out of range; below 1 is supported")
    multipliers, shifts = fixedpoint.quantize_multipliers(real)
    return Rescale(int(multipliers), int(shifts))


def _quantized(graph: Graph, op: Operator, value: float, tensor: Tensor) -> int:
    """zero_point + roundf(value / scale), as CalculateActivationRangeQuantized has it."""
    with np.errstate(over="ignore"):
        steps = float(np.float32(value) / tensor.scale)
    if abs(steps) > INT32_MAX - 256:
        raise _refuse(graph, op, f"{value:g} is {steps:g} steps of the output's scale; 2^31 is supported")
    return tensor.zero_point + int(fixedpoint.round_half_away_from_zero(steps))


def computed(graph: Graph, op: Operator) -> Tensor:
    """The tensor whose quantisation the operator computes in: its output, but where a table follows in it."""
    if isinstance(op, ops.Add | ops.Sub) and op.sum is not None:
        return graph.tensors[op.sum]
    return graph.output_of(op)


def clamp(graph: Graph, op: Operator, activation: Activation) -> Clamp:
    """The range that a fused activation leaves of the operator's output; the operator's own bounds come first."""
    if isinstance(op, ops.Bounded) and op.bounds is not None:
        return Clamp(*op.bounds)
    output = computed(graph, op)
    low, high = INT8_MIN, INT8_MAX
    if activation in (Activation.RELU, Activation.RELU6):
        low = max(low, output.zero_point)
    if activation is Activation.RELU6:
        high = min(high, _quantized(graph, op, 6.0, output))
    if activation is Activation.RELU_N1_TO_1:
        low = max(low, _quantized(graph, op, -1.0, output))
        high = min(high, _quantized(graph, op, 1.0, output))
    return Clamp(low, high)


def weighted_scales(graph: Graph, op: Operator) -> npt.NDArray[np.float64]:
    """input_scale * weights_scale / output_scale in double, for each output channel."""
    weights = graph.tensor_of(op, 1)
    channels = weights.shape[3] if isinstance(op, ops.DepthwiseConv2D) else weights.shape[0]
    product = np.float64(graph.tensor_of(op).scale) * weights.scales.astype(np.float64)
    scales = product / np.float64(graph.output_of(op).scale)
    return np.ascontiguousarray(np.broadcast_to(scales, (channels,)))


def accumulator_range(graph: Graph, op: Operator) -> AccumulatorRange:
    """What the accumulators of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED can become, channel by channel.

    Raises UnsupportedModelError if one could leave 32 bits on the way (bias is added last).
    """
    weights = graph.tensor_of(op, 1).values
    axes = (0, 1, 2) if isinstance(op, ops.DepthwiseConv2D) else tuple(range(1, weights.ndim))
    positive = np.maximum(weights, 0).sum(axis=axes, dtype=np.int64)
    negative = np.minimum(weights, 0).sum(axis=axes, dtype=np.int64)
    zero_point = graph.tensor_of(op).zero_point
    least, most = INT8_MIN - zero_point, INT8_MAX - zero_point
    low, high = positive * least + negative * most, positive * most + negative * least
    bias = np.zeros_like(low)
    if len(op.inputs) == 3:
        bias = graph.tensor_of(op, 2).values.astype(np.int64).reshape(-1)
    widest = max(int(np.abs(end).max()) for end in (low, high, low + bias, high + bias))
    if widest > _SAFE:
        raise _refuse(graph, op, f"an accumulator can reach {widest}, which does not fit 32 bits")
    return AccumulatorRange(low + bias, high + bias)


def convolution_rescale(graph: Graph, op: Operator) -> ChannelRescale:
    """Multipliers and shifts of CONV_2D and DEPTHWISE_CONV_2D (rounded twice); checks that nothing overflows."""
    scales = weighted_scales(graph, op)
    if not np.isfinite(scales).all() or scales.max() >= 2.0**30:
        raise _refuse(graph, op, f"the ratio of scales {scales.max():g} is out of range; 2^30 is supported")
    rescale = ChannelRescale(*fixedpoint.quantize_multipliers(scales))
    for end in accumulator_range(graph, op):
        shifted = end << np.maximum(rescale.shifts, 0)
        if np.abs(shifted).max() > _SAFE:
            raise _refuse(graph, op, "an accumulator shifted left to be rescaled does not fit 32 bits")
    return rescale


def fully_connected_scales(graph: Graph, op: Operator) -> npt.NDArray[np.float64]:
    """The double factors of FULLY_CONNECTED (rounded once, see fixedpoint.requantize_in_double)."""
    scales = weighted_scales(graph, op)
    ends = np.abs(np.stack(accumulator_range(graph, op))).max(axis=0) * scales
    if not np.isfinite(scales).all() or ends.max() > _SAFE:
        raise _refuse(graph, op, f"a rescaled accumulator can reach {ends.max():g}, which does not fit 32 bits")
    return scales


def binary_rescale(graph: Graph, op: Operator) -> BinaryRescale:
    """ADD and SUB. The output's multiplier must be below 1, which TFLite's kernels check."""
    first, second, output = graph.tensor_of(op, 0).scale, graph.tensor_of(op, 1).scale, computed(graph, op).scale
    with np.errstate(over="ignore"):
        twice_greater = float(np.float32(2) * max(first, second))
        real_output = twice_greater / float(np.float32(1 << 20) * output)
    return BinaryRescale(
        20,
        _rescale(graph, op, float(first) / twice_greater),
        _rescale(graph, op, float(second) / twice_greater),
        _rescale(graph, op, real_output, below_one=True),
    )


def product_rescale(graph: Graph, op: Operator) -> Rescale:
    """MUL: the product of the scales over the output's, in float."""
    with np.errstate(over="ignore", under="ignore"):
        real = graph.tensor_of(op, 0).scale * graph.tensor_of(op, 1).scale / graph.output_of(op).scale
    return _checked_left_shift(graph, op, _rescale(graph, op, float(real)), 255 * 255)


def float_rescale(graph: Graph, op: Operator, factor: float = 1.0) -> Rescale:
    """input_scale * factor / output_scale in float: RELU, RELU6 and LEAKY_RELU (with its alpha)."""
    with np.errstate(over="ignore", under="ignore"):
        real = graph.tensor_of(op).scale * np.float32(factor) / graph.output_of(op).scale
    return _checked_left_shift(graph, op, _rescale(graph, op, float(real)), 255)


def double_rescale(graph: Graph, op: Operator) -> Rescale:
    """input_scale / output_scale in double: QUANTIZE from int8, MEAN."""
    real = float(graph.tensor_of(op).scale) / float(graph.output_of(op).scale)
    return _checked_left_shift(graph, op, _rescale(graph, op, real), 255)


def _checked_left_shift(graph: Graph, op: Operator, rescale: Rescale, magnitude: int) -> Rescale:
    if magnitude << max(rescale.shift, 0) > _SAFE:
        raise _refuse(graph, op, "a value shifted left to be rescaled does not fit 32 bits")
    return rescale


def mean_rescale(graph: Graph, op: Operator, count: int) -> Rescale:
    """MEAN over ``count`` elements: the division is folded into the multiplier."""
    multiplier, shift = double_rescale(graph, op)
    if count * 255 > _SAFE:
        raise _refuse(graph, op, f"the sum of {count} elements does not fit 32 bits")
    more = min(count.bit_length() - 1, 32, 31 + shift)
    divided = Rescale((multiplier << more) // count, shift - more)
    return _checked_left_shift(graph, op, divided, count * 255)


def softmax_rescale(graph: Graph, op: ops.Softmax) -> SoftmaxRescale:
    """SOFTMAX: beta and the input's scale as a multiplier to 5 integer bits."""
    real = min(float(np.float32(op.beta)) * float(graph.tensor_of(op).scale) * (1 << 26), 2.0**31 - 1)
    if not real > 1.0:
        raise _refuse(graph, op, f"beta * input scale = {real / (1 << 26):g} is not above 2^-26, as it must be")
    multiplier, left_shift = fixedpoint.quantize_multiplier(real)
    return SoftmaxRescale(multiplier, left_shift, -math.floor(31.0 * (1 << 26) / (1 << left_shift)))


def hard_swish_rescale(graph: Graph, op: Operator) -> HardSwishRescale:
    """HARD_SWISH: the input on 1/128 of its scale, to the output's scale and to 3/32768."""
    with np.errstate(over="ignore", under="ignore"):
        fine = np.float32(1 / 128) * graph.tensor_of(op).scale
        to_output = _rescale(graph, op, float(fine / graph.output_of(op).scale))
        to_reluish = _rescale(graph, op, float(fine / np.float32(3 / 32768)))
    if not -15 <= to_output.shift <= 0 or to_reluish.shift < -15:
        raise _refuse(
            graph,
            op,
            f"input scale {graph.tensor_of(op).scale:g} and output scale {graph.output_of(op).scale:g} are "
            "outside what the kernel's 16-bit arithmetic covers",
        )
    return HardSwishRescale(
        _to_int16(to_output.multiplier), to_output.shift, _to_int16(to_reluish.multiplier), to_reluish.shift
    )


def _to_int16(multiplier: int) -> int:
    """A Q0.31 multiplier rounded to Q0.15, saturated."""
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1)


def check(graph: Graph, op: Operator) -> None:
    """Raise UnsupportedModelError unless the operator's arithmetic is defined for its scales and constants."""
    match op:
        case ops.Conv2D() | ops.DepthwiseConv2D():
            convolution_rescale(graph, op)
            clamp(graph, op, op.activation)
        case ops.FullyConnected():
            fully_connected_scales(graph, op)
            clamp(graph, op, op.activation)
        case ops.Add() | ops.Sub():
            binary_rescale(graph, op)
            clamp(graph, op, op.activation)
        case ops.Mul():
            product_rescale(graph, op)
            clamp(graph, op, op.activation)
        case ops.AveragePool2D() | ops.MaxPool2D():
            clamp(graph, op, op.activation)
        case ops.Mean():
            mean_rescale(graph, op, math.prod(graph.tensor_of(op).shape[axis] for axis in op.axes))
        case ops.Relu() | ops.Relu6():
            float_rescale(graph, op)
            clamp(graph, op, Activation.RELU6 if isinstance(op, ops.Relu6) else Activation.RELU)
        case ops.LeakyRelu():
            float_rescale(graph, op)
            float_rescale(graph, op, op.alpha)
        case ops.HardSwish():
            hard_swish_rescale(graph, op)
        case ops.Softmax():
            softmax_rescale(graph, op)
        case ops.Quantize() if len(graph.tensor_of(op).scales):
            double_rescale(graph, op)
        case ops.Tanh() | ops.Logistic():
            if not float(np.float32(1) / graph.output_of(op).scale) < _SAFE:
                raise _refuse(graph, op, f"output scale {graph.output_of(op).scale:g} is too small")
        case _:
            pass
