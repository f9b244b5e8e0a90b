"""A block of gated channels, for tests of tables and of what is fused around them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensors_helpers import Rng, activation, constant
from weighted_cases_helpers import weights_of

from memaopt.networks import checks
from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator


def gated(rng: Rng, height: int = 12, channels: int = 24) -> Graph:
    """A squeeze-and-excite block with its activations apart, as MobileNetV3 has them: convolution, HARD_SWISH,
    MEAN, two convolutions with RELU and (as ADD, RELU6, MUL) a hard sigmoid, the gate, and a residual with RELU."""
    tensors = [activation("x", (1, height, height, channels), 0.05, -3)]
    operators: list[Operator] = []

    def put(
        op: type[Operator], arguments: tuple[int, ...], shape: tuple[int, ...], s: float, z: int, **more: Any
    ) -> int:
        tensors.append(activation(f"t{len(tensors)}", shape, s, z))
        output = len(tensors) - 1
        operators.append(op(inputs=arguments, outputs=(output,), location=len(operators), **more))
        return output

    def pointwise(x: int, outputs: int, s: float, z: int) -> int:
        shape = (*tensors[x].shape[:3], outputs)
        weights = weights_of(
            rng, (outputs, 1, 1, tensors[x].shape[3]), 0, tensors[x].shape[3], activation("y", shape, s, z), tensors[x]
        )
        tensors.extend(weights)
        return put(ops.Conv2D, (x, len(tensors) - 2, len(tensors) - 1), shape, s, z)

    def scalar(value: int, s: float) -> int:
        tensors.append(constant(f"c{len(tensors)}", np.array([value], np.int8), np.array([s])))
        return len(tensors) - 1

    image, one = (1, height, height, channels), (1, 1, 1, channels)
    x = pointwise(0, channels, 0.05, 4)
    x = put(ops.HardSwish, (x,), image, 0.04, -20)
    y = put(ops.Mean, (x,), one, 0.03, -20, axes=(1, 2))
    y = pointwise(y, 8, 0.05, 3)
    y = put(ops.Relu, (y,), (1, 1, 1, 8), 0.05, 3)
    y = pointwise(y, channels, 0.05, 3)
    y = put(ops.Add, (y, scalar(60, 0.05)), one, 0.05, -30)
    y = put(ops.Relu6, (y,), one, 0.024, -128)
    y = put(ops.Mul, (y, scalar(127, 0.0013)), one, 0.004, -128)
    x = put(ops.Mul, (x, y), image, 0.03, -30)
    x = put(ops.Add, (x, 0), image, 0.07, -10)
    x = put(ops.Relu, (x,), image, 0.07, -10)
    graph = Graph("gated", tuple(tensors), tuple(operators), (0,), (x,))
    checks.check(graph)
    return graph
