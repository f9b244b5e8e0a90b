"""EXP."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.unary import Unary, float_table


class Exp(Unary):
    kind: ClassVar[str] = "EXP"
    version: ClassVar[int] = 2

    def table(self, graph: Graph) -> Int8Table:
        exp = float_function("exp")
        return float_table(graph, self, lambda x: exp(float(x)))

    def check_arithmetic(self, graph: Graph) -> None:
        self.table(graph)
