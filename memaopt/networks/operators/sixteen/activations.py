"""What operators on int16 have in common: types, scales and clamps."""

from __future__ import annotations

import numpy as np

from memaopt.fixedpoint16 import INT16_MAX, INT16_MIN
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.bounded import Activated
from memaopt.networks.operators.operator import Operator
from memaopt.networks.operators.quantization import quantized
from memaopt.problems.sixteen import Range16


def check_int16(graph: Graph, op: Operator) -> None:
    """UnsupportedModelError unless input and output are int16, of one positive scale and the zero point 0."""
    for role, index in (("input", op.input), ("output", op.output)):
        op.expect(graph, index, role, DType.INT16)
        check_tensor16(graph, op, index)


def check_tensor16(graph: Graph, op: Operator, index: int) -> None:
    """UnsupportedModelError unless a tensor has one positive scale and the zero point 0."""
    tensor = graph.tensors[index]
    if len(tensor.scales) != 1 or tensor.zero_point or not (0 < tensor.scale < np.inf):
        raise op.refuse(graph, f"int16 {tensor.name!r} needs one positive scale and the zero point 0")


def clamp16(graph: Graph, op: Activated) -> Range16:
    """The range that a fused activation leaves."""
    low, high, y = INT16_MIN, INT16_MAX, graph.output_of(op)
    if op.activation in (Activation.RELU, Activation.RELU6):
        low = 0
    if op.activation is Activation.RELU6:
        high = min(high, quantized(graph, op, 6.0, y))
    if op.activation is Activation.RELU_N1_TO_1:
        low, high = max(low, quantized(graph, op, -1.0, y)), min(high, quantized(graph, op, 1.0, y))
    return Range16(low, high)
