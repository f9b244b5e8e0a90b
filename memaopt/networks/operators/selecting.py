"""SELECT and SELECT_V2: the first of two bytes where a condition holds, else the second, whatever they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape
from memaopt.networks.operators.source import Source
from memaopt.problems.selection import Selection


class Selecting(Operator):
    """Inputs are (condition, first, second). What is left to a subclass: how the condition is broadcast."""

    arity: ClassVar[tuple[int, int]] = (3, 3)
    unsigned: ClassVar[bool] = False

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(3, 3)
        return cls(**source.common(source.inputs))

    def write(self, graph: Graph) -> Form:
        return Form()

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "condition", DType.BOOL)
        for index in self.inputs[1:]:
            self.expect(graph, index, "input", DType.INT8)
        self.expect(graph, self.output, "output", DType.INT8)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Bytes are copied; TFLite does not ask what they mean, and converters give them one meaning."""
        super().check_scales(graph, operands[1:])
        for index in operands[1:]:
            if not graph.tensors[index].same_quantization(graph.output_of(self)):
                name = graph.tensors[index].name
                raise self.refuse(
                    graph, f"input {name!r} and the output have different quantisation; equal ones are supported"
                )

    def condition_shape(self, graph: Graph) -> Shape:
        """The condition's shape as it is broadcast."""
        return graph.tensor_of(self).shape

    def shapes(self, graph: Graph) -> tuple[Shape, Shape, Shape]:
        return self.condition_shape(graph), graph.tensor_of(self, 1).shape, graph.tensor_of(self, 2).shape

    def output_shape(self, graph: Graph) -> Shape:
        try:
            return tuple(int(n) for n in np.broadcast_shapes(*self.shapes(graph)))
        except ValueError:
            shapes = ", ".join(str(list(shape)) for shape in self.shapes(graph))
            raise self.refuse(graph, f"shapes {shapes} do not broadcast") from None

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        condition = arguments[0].reshape(self.condition_shape(graph))
        return np.where(condition, arguments[1], arguments[2])

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(Selection(*self.shapes(graph)), self.inputs)
