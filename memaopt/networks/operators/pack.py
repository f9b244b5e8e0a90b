"""PACK: tensors of one shape side by side on a new axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import Field as Attribute

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Shape
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Pack(Moving):
    kind: ClassVar[str] = "PACK"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("PackOptions", 59, (Field("valuesCount", 4), Field("axis", 4)))
    arity: ClassVar[tuple[int, int]] = (1, 256)

    axis: int = Attribute(ge=0)

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(*cls.arity)
        axis, dimensions = source.options().get("axis", 0), len(source.tensor(0).shape) + 1
        if not -dimensions <= axis < dimensions:
            raise source.refuse(f"axis {axis} of {dimensions} dimensions")
        return cls(**source.common(source.inputs), axis=axis % dimensions)

    def write(self, graph: Graph) -> Form:
        return Form(options={"valuesCount": len(self.inputs), "axis": self.axis})

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        self.check_one_quantization(graph)

    def output_shape(self, graph: Graph) -> Shape:
        shapes = [graph.tensors[i].shape for i in self.inputs]
        if len({*shapes}) > 1:
            raise self.refuse(graph, f"shapes {', '.join(str(list(shape)) for shape in shapes)} are not one")
        return (*shapes[0][: self.axis], len(shapes), *shapes[0][self.axis :])

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return np.stack(arguments, axis=self.axis)

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        output, shape = graph.output_of(self).shape, graph.tensor_of(self).shape
        part = (*shape[: self.axis], 1, *shape[self.axis :])
        starts = [tuple(i if axis == self.axis else 0 for axis in range(len(part))) for i in range(len(self.inputs))]
        return [movement.box(i, part, output, shape=part, output_start=start) for i, start in enumerate(starts)]

    def is_identity(self, graph: Graph) -> bool:
        return len(self.inputs) == 1

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"axis {self.axis}",)
