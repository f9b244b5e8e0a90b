"""TANH."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.unary import check_output_scale


class Tanh(Floating):
    kind: ClassVar[str] = "TANH"
    version: ClassVar[int] = 2

    def real(self, x: np.float32) -> np.float32:
        return float_function("tanh")(float(x))

    def check_table(self, graph: Graph) -> None:
        check_output_scale(graph, self)
