"""PRELU: what is below 0 times its slope."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Bounds
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantization import checked_left_shift, float_rescale, rescale
from memaopt.problems import binary
from memaopt.problems.step_functions import Rescale


class Prelu(Layered, Pairwise):
    """Inputs are (input, slopes); slopes are broadcast to the input's shape."""

    kind: ClassVar[str] = "PRELU"

    def output_shape(self, graph: Graph) -> Shape:
        shape = super().output_shape(graph)
        if shape != graph.tensor_of(self).shape:
            raise self.refuse(graph, f"slopes {list(graph.tensor_of(self, 1).shape)} are more than the input has")
        return shape

    def slope(self, graph: Graph) -> Rescale:
        """The factor of what is below 0, times its slope: the ratio of scales in float."""
        x, slopes, y = graph.tensor_of(self), graph.tensor_of(self, 1), graph.output_of(self)
        with np.errstate(over="ignore", under="ignore"):
            real = x.scale * slopes.scale / y.scale
        return checked_left_shift(graph, self, rescale(graph, self, float(real)), 255 * 255)

    def check_arithmetic(self, graph: Graph) -> None:
        float_rescale(graph, self)
        self.slope(graph)

    def layer(self, graph: Graph) -> binary.Binary:
        first, result = float_rescale(graph, self), self.slope(graph)
        return binary.Binary(**self.ends(graph), kind=binary.BinaryKind.PRELU, first=first, result=result)

    def clamped_to(self, graph: Graph, bounds: Bounds) -> Self:
        """With bounds always: a file has no fused activation here."""
        return Bounded.clamped_to(self, graph, bounds)
