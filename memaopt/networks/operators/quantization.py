"""What TFLite's kernels derive from scales and zero points before they run, where several operators need it.

Whether a division is done in float or in double decides the last bit of a multiplier, so each function follows
the Prepare step of its kernels (tensorflow/lite/kernels, public). Anything for which the kernel's arithmetic
would leave 32 bits, or which its own checks refuse, raises UnsupportedModelError.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import INT32_MAX
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators.attributes import Activation, Bounds
from memaopt.problems.step_functions import Rescale

if TYPE_CHECKING:
    from memaopt.networks.operators.operator import Operator

INT8_MIN, INT8_MAX = -128, 127
SAFE = INT32_MAX - 256  # leaves room for adding a zero point


class Meaning(NamedTuple):
    """real = scale * (integer - zero point)."""

    scale: float
    zero_point: int = 0

    @classmethod
    def of(cls, tensor: Tensor) -> Meaning:
        """That of a tensor with one scale."""
        return cls(float(tensor.scale), tensor.zero_point)

    @property
    def range(self) -> tuple[float, float]:
        """The reals that int8 holds."""
        return self.scale * (INT8_MIN - self.zero_point), self.scale * (INT8_MAX - self.zero_point)


def rescale(
    graph: Graph, op: Operator, real: float, *, below_one: bool = False, what: str = "the ratio of scales"
) -> Rescale:
    """The multiplier and shift of a real factor; ``what`` it is called where it is refused."""
    if not math.isfinite(real) or abs(real) >= 2.0**30:
        raise op.refuse(graph, f"{what} {real:g} is out of range; at most 2^30 is supported")
    if below_one and real >= 1.0:
        raise op.refuse(graph, f"{what} {real:g} is out of range; below 1 is supported")
    multipliers, shifts = fixedpoint.quantize_multipliers(real)
    return Rescale(int(multipliers), int(shifts))


def float_rescale(graph: Graph, op: Operator, factor: float = 1.0) -> Rescale:
    """input_scale * factor / output_scale in float: RELU, RELU6 and LEAKY_RELU (with its alpha)."""
    with np.errstate(over="ignore", under="ignore"):
        real = graph.tensor_of(op).scale * np.float32(factor) / graph.output_of(op).scale
    return checked_left_shift(graph, op, rescale(graph, op, float(real)), 255)


def double_rescale(graph: Graph, op: Operator) -> Rescale:
    """input_scale / output_scale in double: QUANTIZE from int8, MEAN."""
    real = float(graph.tensor_of(op).scale) / float(graph.output_of(op).scale)
    return checked_left_shift(graph, op, rescale(graph, op, real), 255)


def checked_left_shift(graph: Graph, op: Operator, rescale: Rescale, magnitude: int) -> Rescale:
    """The factor, if values up to ``magnitude`` can be shifted left by it within 32 bits."""
    if magnitude << max(rescale.shift, 0) > SAFE:
        raise op.refuse(graph, "a value shifted left to be rescaled does not fit 32 bits")
    return rescale


def activation_range(graph: Graph, op: Operator, activation: Activation, output: Tensor) -> Bounds:
    """The range that a fused activation leaves of the int8 output."""
    low, high = INT8_MIN, INT8_MAX
    if activation in (Activation.RELU, Activation.RELU6):
        low = max(low, output.zero_point)
    if activation is Activation.RELU6:
        high = min(high, quantized(graph, op, 6.0, output))
    if activation is Activation.RELU_N1_TO_1:
        low = max(low, quantized(graph, op, -1.0, output))
        high = min(high, quantized(graph, op, 1.0, output))
    return Bounds(low, high)


def quantized(graph: Graph, op: Operator, value: float, tensor: Tensor) -> int:
    """zero_point + roundf(value / scale), as CalculateActivationRangeQuantized has it."""
    with np.errstate(over="ignore"):
        steps = float(np.float32(value) / tensor.scale)
    if abs(steps) > INT32_MAX - 256:
        raise op.refuse(graph, f"{value:g} is {steps:g} steps of the output's scale; 2^31 is supported")
    return tensor.zero_point + int(fixedpoint.round_half_away_from_zero(steps))
