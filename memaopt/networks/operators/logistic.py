"""LOGISTIC: 1 / (1 + exp(-x))."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.unary import float_table


class Logistic(Floating):
    kind: ClassVar[str] = "LOGISTIC"
    version: ClassVar[int] = 2

    def real(self, x: np.float32) -> np.float32:
        """In float TFLite's kernel is 1 from 16.619047 on, and exp(x) below -9."""
        exp, one = float_function("exp"), np.float32(1)
        if x > np.float32(16.619047103881836):
            return one
        return exp(float(x)) if x < np.float32(-9) else one / (one + exp(float(-x)))

    def table(self, graph: Graph) -> Int8Table:
        exp, one = float_function("exp"), np.float32(1)
        return float_table(graph, self, lambda x: one / (one + exp(float(-x))))

    def check_table(self, graph: Graph) -> None:
        output = graph.output_of(self)
        if output.scale != np.float32(1 / 256):
            raise self.refuse(graph, f"output scale {output.scale:g}; 1/256 is supported, as in TFLite")
