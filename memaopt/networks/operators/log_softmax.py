"""LOG_SOFTMAX along the last axis, in fixed point."""

from __future__ import annotations

import math
from typing import ClassVar

from memaopt import fixedpoint
from memaopt.networks.graph import Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import depth
from memaopt.problems.log_softmax import LogSoftmax as Layer

_MAX_DEPTH = 4095


class LogSoftmax(Layered, Alike):
    """Outputs are in 1/16, with the zero point 127."""

    kind: ClassVar[str] = "LOG_SOFTMAX"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("LogSoftmaxOptions", 36, ())

    def check_arithmetic(self, graph: Graph) -> None:
        self.layer(graph)
        shape, y = graph.tensor_of(self).shape, graph.output_of(self)
        if y.zero_point != 127 or float(y.scale) != 1 / 16:
            problem = f"output scale {y.scale:g}, zero point {y.zero_point}; 1/16 and 127 are supported, as in TFLite"
            raise self.refuse(graph, problem)
        if shape[-1:] == () or not 0 < shape[-1] <= _MAX_DEPTH:
            raise self.refuse(graph, f"a last axis of 1 to {_MAX_DEPTH} is supported, not {list(shape)}")

    def layer(self, graph: Graph) -> Layer:
        """The input's scale as a multiplier and a left shift to 5 integer bits, of which TFLite takes the inverse too;
        it leaves out what is below the least difference that these hold: its logarithm would be below -16."""
        x = graph.tensor_of(self)
        real = min(float(x.scale) * (1 << 26), 2.0**31 - 1)
        if not real >= 2.0:
            raise self.refuse(graph, f"input scale {x.scale:g} is below 2^-25, the least that is supported")
        multiplier, left_shift = fixedpoint.quantize_multiplier(real)
        least = -math.floor(31.0 * (1 << 26) / (1 << left_shift))
        return Layer(x.elements // depth(x), depth(x), multiplier, left_shift, least)
