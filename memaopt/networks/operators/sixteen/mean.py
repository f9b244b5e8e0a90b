"""MEAN of int16 activations."""

from __future__ import annotations

from typing import ClassVar

from memaopt.fixedpoint16 import INT16_MIN
from memaopt.networks.graph import Graph
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.mean import Mean
from memaopt.networks.operators.sixteen.activations import check_int16
from memaopt.problems.sixteen import Mean16


class MeanOf16(Layered, Mean):
    kind: ClassVar[str] = "MEAN"
    widest: ClassVar[int] = -INT16_MIN

    def check_types(self, graph: Graph) -> None:
        check_int16(graph, self)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Those of the types' check."""

    def check_arithmetic(self, graph: Graph) -> None:
        self.layer(graph)

    def is_identity(self, graph: Graph) -> bool:
        return False

    def layer(self, graph: Graph) -> Mean16:
        return Mean16(graph.tensor_of(self).shape, self.axes, self.rescale(graph))
