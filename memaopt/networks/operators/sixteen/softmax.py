"""SOFTMAX of int16 activations, by tables."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from memaopt import fixedpoint, fixedpoint16
from memaopt.networks.graph import Graph
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import depth
from memaopt.networks.operators.quantization import SAFE
from memaopt.networks.operators.sixteen.activations import check_int16
from memaopt.networks.operators.softmax import Softmax
from memaopt.problems.sixteen import Softmax16

_MOST_DEPTH = 4096
_WIDEST = 65535
"""Between two int16; also the parts in which differences down to -10 are counted."""


class SoftmaxOf16(Layered, Softmax):
    """Outputs are in 1/32768."""

    kind: ClassVar[str] = "SOFTMAX"

    def check_types(self, graph: Graph) -> None:
        check_int16(graph, self)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Those of the types' check."""

    def check_arithmetic(self, graph: Graph) -> None:
        y, shape = graph.output_of(self), graph.tensor_of(self).shape
        if abs(float(y.scale) * 32768 - 1) > 0.001:
            raise self.refuse(graph, f"output scale {y.scale:g}; 1/32768 is supported, as in TFLite")
        if shape[-1:] == () or shape[-1] > _MOST_DEPTH:
            raise self.refuse(graph, f"a last axis of 1 to {_MOST_DEPTH} is supported, not {list(shape)}")
        _, shift = self.rescale(graph)
        if _WIDEST << max(shift, 0) > SAFE:
            raise self.refuse(graph, "a difference shifted left to be rescaled does not fit 32 bits")

    def rescale(self, graph: Graph) -> tuple[int, int]:
        """Of a difference: multiplier and shift such that -65535 is -10."""
        scale = float(graph.tensor_of(self).scale) * float(np.float32(self.beta)) / (10.0 / _WIDEST)
        if not 0 < scale < 2.0**15:
            raise self.refuse(graph, f"beta * input scale is {scale * 10 / _WIDEST:g}, which is out of range")
        return fixedpoint.quantize_multiplier(scale)

    def layer(self, graph: Graph) -> Any:  # of another class than that of int8
        x, (multiplier, shift) = graph.tensor_of(self), self.rescale(graph)
        powers = fixedpoint16.table(10.0 / _WIDEST, fixedpoint16.INT16_MAX, 2.0 / _WIDEST, np.exp)
        one_over = fixedpoint16.table(1.0 / _WIDEST, fixedpoint16.INT16_MIN, 2.0 / _WIDEST, lambda v: 1.0 / (1.0 + v))
        return Softmax16(x.elements // depth(x), depth(x), multiplier, shift, powers, one_over)
