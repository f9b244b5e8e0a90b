"""DEQUANTIZE: int16 to float32, an end of the network."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.sixteen.activations import check_tensor16
from memaopt.problems.sixteen import ToFloat16


class Dequantize16(Layered, Alike):
    """No table decides what follows, so that floats go no further."""

    kind: ClassVar[str] = "DEQUANTIZE"
    version: ClassVar[int] = 3

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT16)
        self.expect(graph, self.output, "output", DType.FLOAT32)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        for index in operands:
            check_tensor16(graph, self, index)

    def check_arithmetic(self, graph: Graph) -> None:
        """Each int16 times the scale is a float32."""

    def layer(self, graph: Graph) -> ToFloat16:
        x = graph.tensor_of(self)
        return ToFloat16(x.elements, float(x.scale))
