"""MEAN of int16 activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from memaopt.fixedpoint16 import INT16_MIN
from memaopt.networks.graph import Graph
from memaopt.networks.operators.mean import Mean
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.sixteen.activations import check_int16
from memaopt.problems.sixteen import Mean16


class MeanOf16(Mean):
    kind: ClassVar[str] = "MEAN"
    widest: ClassVar[int] = -INT16_MIN

    def check_types(self, graph: Graph) -> None:
        check_int16(graph, self)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Those of the types' check."""

    def check_arithmetic(self, graph: Graph) -> None:
        self._layer(graph)

    def is_identity(self, graph: Graph) -> bool:
        return False

    def _layer(self, graph: Graph) -> Mean16:
        return Mean16(graph.tensor_of(self).shape, self.axes, self.rescale(graph))

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self._layer(graph).apply(arguments[0])

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self._layer(graph), (self.input,))
