"""LOGISTIC: 1 / (1 + exp(-x))."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.unary import Unary, float_table


class Logistic(Unary):
    kind: ClassVar[str] = "LOGISTIC"
    version: ClassVar[int] = 2

    def table(self, graph: Graph) -> Int8Table:
        exp, one = float_function("exp"), np.float32(1)
        return float_table(graph, self, lambda x: one / (one + exp(float(-x))))

    def check_arithmetic(self, graph: Graph) -> None:
        output = graph.output_of(self)
        if output.scale != np.float32(1 / 256):
            raise self.refuse(graph, f"output scale {output.scale:g}; 1/256 is supported, as in TFLite")
