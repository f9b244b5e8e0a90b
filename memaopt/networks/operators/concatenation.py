"""CONCATENATION of tensors of one quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import Field as Attribute

from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.form import ACTIVATION, Field, Form, Options
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Shape
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Concatenation(Moving):
    kind: ClassVar[str] = "CONCATENATION"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("ConcatenationOptions", 10, (Field("axis", 4), ACTIVATION))
    arity: ClassVar[tuple[int, int]] = (1, 256)

    axis: int = Attribute(ge=0)

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(*cls.arity)
        options = source.required("ConcatenationOptions")
        if source.activation(options) is not Activation.NONE:
            raise source.refuse("a fused activation; none is supported, as in TFLite")
        dimensions = len(source.tensor(0).shape)
        axis = options["axis"]
        if not -dimensions <= axis < dimensions:
            raise source.refuse(f"axis {axis} of {dimensions} dimensions")
        return cls(**source.common(source.inputs), axis=axis % dimensions)

    def write(self, graph: Graph) -> Form:
        return Form(options={"axis": self.axis})

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        self.check_one_quantization(graph)

    def output_shape(self, graph: Graph) -> Shape:
        shapes = [graph.tensors[i].shape for i in self.inputs]
        first = shapes[0]
        if self.axis >= len(first):
            raise self.refuse(graph, f"axis {self.axis} of {len(first)} dimensions")
        for shape in shapes[1:]:
            if len(shape) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(shape, first, strict=False)) if i != self.axis
            ):
                raise self.refuse(
                    graph, f"shapes {list(first)} and {list(shape)} do not concatenate on axis {self.axis}"
                )
        return (*first[: self.axis], sum(shape[self.axis] for shape in shapes), *first[self.axis + 1 :])

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return np.concatenate(arguments, axis=self.axis)

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        output, at, pieces = graph.output_of(self).shape, 0, []
        for number, index in enumerate(self.inputs):
            shape = graph.tensors[index].shape
            start = tuple(at if axis == self.axis else 0 for axis in range(len(shape)))
            pieces.append(movement.box(number, shape, output, shape=shape, output_start=start))
            at += shape[self.axis]
        return pieces

    def is_identity(self, graph: Graph) -> bool:
        return len(self.inputs) == 1 and graph.tensor_of(self).elements == graph.output_of(self).elements

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"axis {self.axis}",)
