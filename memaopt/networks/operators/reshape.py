"""RESHAPE: elements keep their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Links, Lowered, Shape, depth
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Reshape(Moving):
    """The output tensor's shape says it all."""

    kind: ClassVar[str] = "RESHAPE"
    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8, DType.UINT8, DType.INT16, DType.FLOAT32)
    counts_scale: ClassVar[bool] = False
    alias: ClassVar[bool] = True

    @classmethod
    def read(cls, source: Source) -> Self:
        # The shape operand or option is not read: the output tensor has the shape, and checks compare sizes.
        source.expect(1, 2)
        return cls(**source.common())

    def write(self, graph: Graph) -> Form:
        return Form({"shape": graph.output_of(self).shape})

    def output_shape(self, graph: Graph) -> Shape:
        return self.regrouped(graph, graph.tensor_of(self).elements)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return arguments[0].reshape(graph.output_of(self).shape)

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        elements = (graph.output_of(self).elements,)
        return [movement.box(0, elements, elements, shape=elements)]

    def lower(self, graph: Graph) -> Lowered | None:
        if not graph.tensor_of(self).is_constant:
            return None
        output = graph.output_of(self)
        pieces = tuple(piece.in_bytes(output.dtype.itemsize) for piece in self.pieces(graph))
        return Lowered(movement.Movement(self.kind, output.nbytes, pieces), (self.input,))

    def links(self, graph: Graph) -> Links | None:
        inputs, outputs = depth(graph.tensor_of(self)), depth(graph.output_of(self))
        return {self.input: np.arange(outputs) % inputs} if outputs % inputs == 0 else None
