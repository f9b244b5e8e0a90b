"""TANH."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.unary import Unary, check_output_scale, float_table


class Tanh(Unary):
    kind: ClassVar[str] = "TANH"
    version: ClassVar[int] = 2

    def table(self, graph: Graph) -> Int8Table:
        tanh = float_function("tanh")
        return float_table(graph, self, lambda x: tanh(float(x)))

    def check_arithmetic(self, graph: Graph) -> None:
        check_output_scale(graph, self)
