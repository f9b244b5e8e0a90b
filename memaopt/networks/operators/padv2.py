"""PADV2: constant padding with a value of its own."""

from __future__ import annotations

from typing import ClassVar, Self

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form, Options
from memaopt.networks.operators.pad import Pad, read_paddings
from memaopt.networks.operators.source import Source


class PadV2(Pad):
    """Inputs are (input, value), in one quantisation."""

    kind: ClassVar[str] = "PADV2"
    options: ClassVar[Options | None] = Options("PadV2Options", 43, ())
    arity: ClassVar[tuple[int, int]] = (2, 2)
    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8,)

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(3, 3)
        source.tensor(2)
        return cls(**source.common((source.inputs[0], source.inputs[2])), paddings=read_paddings(source))

    def write(self, graph: Graph) -> Form:
        return super().write(graph)._replace(order=(0, 2, 1))

    def check_types(self, graph: Graph) -> None:
        super().check_types(graph)
        self.expect(graph, self.inputs[1], "padding", DType.INT8)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        value = graph.tensor_of(self, 1)
        if not value.is_constant or value.elements != 1:
            raise self.refuse(graph, f"padding {value.name!r} is {value.describe()}; one constant is supported")
        self.check_one_quantization(graph)

    def fill(self, graph: Graph) -> int:
        return int(graph.tensor_of(self, 1).values.reshape(-1)[0])

    def moved(self) -> tuple[int, ...]:
        return self.inputs[:1]
