"""DEQUANTIZE: int16 to float32, an end of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape
from memaopt.networks.operators.sixteen.activations import check_tensor16
from memaopt.networks.operators.source import Source
from memaopt.problems.sixteen import ToFloat16


class Dequantize16(Operator):
    """No table decides what follows, so that floats go no further."""

    kind: ClassVar[str] = "DEQUANTIZE"
    version: ClassVar[int] = 3

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        return cls(**source.common())

    def write(self, graph: Graph) -> Form:
        del graph
        return Form()

    def output_shape(self, graph: Graph) -> Shape:
        return graph.tensor_of(self).shape

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT16)
        self.expect(graph, self.output, "output", DType.FLOAT32)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        for index in operands:
            check_tensor16(graph, self, index)

    def check_arithmetic(self, graph: Graph) -> None:
        """Each int16 times the scale is a float32."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self._layer(graph).apply(arguments[0])

    def _layer(self, graph: Graph) -> ToFloat16:
        x = graph.tensor_of(self)
        return ToFloat16(x.elements, float(x.scale))

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self._layer(graph), (self.input,))
