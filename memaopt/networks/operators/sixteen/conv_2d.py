"""CONV_2D of int16 activations."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.conv_2d import Conv2D
from memaopt.networks.operators.operator import Lowered
from memaopt.networks.operators.sixteen.convolution import Convolution16
from memaopt.problems.sixteen import Conv16


class Conv2D16(Convolution16, Conv2D):
    kind: ClassVar[str] = "CONV_2D"

    def check_arithmetic(self, graph: Graph) -> None:
        super().check_arithmetic(graph)
        if self.groups(graph) > 1:
            raise self.refuse(graph, "groups on int16; one is supported")

    def lower(self, graph: Graph) -> Lowered | None:
        layer = Conv16(weights=graph.tensors[self.weights].values, **self.parts16(graph))
        return Lowered(layer, (self.input,), graph.tensor_of(self).shape[0])
