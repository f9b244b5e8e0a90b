"""MINIMUM and MAXIMUM: of what is stored, whatever it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Bounds
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.problems import binary
from memaopt.problems.step_functions import Rescale


class Extreme(Pairwise):
    """What is left to a subclass: which of two."""

    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("MaximumMinimumOptions", 39, ())
    adds_zero_point: ClassVar[bool] = False
    layer_kind: ClassVar[binary.BinaryKind]

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        if self.bounds is None:  # with them it gives the bytes of an operator after it, which may mean something else
            self.check_one_quantization(graph)

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        low, high = self.clamp(graph)
        chosen: Array = self.layer_kind.extreme(*arguments).clip(low, high)
        return chosen

    def lower(self, graph: Graph) -> Lowered | None:
        first, second = graph.tensor_of(self, 0).shape, graph.tensor_of(self, 1).shape
        low, high = self.clamp(graph)
        layer = binary.Binary(self.layer_kind, first, second, 0, 0, 0, Rescale(0, 0), minimum=low, maximum=high)
        return Lowered(layer, self.inputs)

    def clamped_to(self, graph: Graph, bounds: Bounds) -> Self:
        """With bounds always: a file has no fused activation here."""
        return Bounded.clamped_to(self, graph, bounds)
