"""RELU, on its own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.quantization import activation_range, float_rescale
from memaopt.networks.operators.unary import centred

_REALS = {Activation.RELU: np.float32(np.inf), Activation.RELU6: np.float32(6)}


class Relu(Floating):
    kind: ClassVar[str] = "RELU"
    version: ClassVar[int] = 2
    clamps_to: ClassVar[Activation] = Activation.RELU

    def real(self, x: np.float32) -> np.float32:
        return min(max(x, np.float32(0)), _REALS[self.clamps_to])

    def table(self, graph: Graph) -> Int8Table:
        output = graph.output_of(self)
        scaled = float_rescale(graph, self).apply(centred(graph, self)) + output.zero_point
        return np.clip(scaled, *activation_range(graph, self, self.clamps_to, output)).astype(np.int8)

    def check_table(self, graph: Graph) -> None:
        float_rescale(graph, self)
        activation_range(graph, self, self.clamps_to, graph.output_of(self))
