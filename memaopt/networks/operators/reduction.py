"""Operators that make one element of all those along some axes."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import EVERY_INT8, Links, Operator, Shape, depth, plain
from memaopt.networks.operators.source import Source


class Reduction(Operator):
    """Along ``axes`` (sorted, not negative). What is left to a subclass: the arithmetic, and its layer."""

    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("ReducerOptions", 27, (Field("keepDims", 1),))

    axes: tuple[int, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        dimensions = len(source.tensor(0).shape)
        axes = source.integers(1, "axes")
        if any(not -dimensions <= axis < dimensions for axis in axes):
            raise source.refuse(f"axes {list(axes)} of {dimensions} dimensions")
        return cls(**source.common(), axes=tuple(sorted({axis % dimensions for axis in axes})))

    def write(self, graph: Graph) -> Form:
        keep = len(graph.output_of(self).shape) == len(graph.tensor_of(self).shape)
        return Form({"axes": self.axes}, {"keepDims": keep})

    def output_shape(self, graph: Graph) -> Shape:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        if any(not 0 <= axis < len(shape) for axis in self.axes):
            raise self.refuse(graph, f"axes {list(self.axes)} of {len(shape)} dimensions")
        if len(output) == len(shape):
            return tuple(1 if axis in self.axes else size for axis, size in enumerate(shape))
        return tuple(size for axis, size in enumerate(shape) if axis not in self.axes)

    def count(self, graph: Graph) -> int:
        """Elements that one output is of."""
        return math.prod(graph.tensor_of(self).shape[axis] for axis in self.axes)

    def work(self, graph: Graph) -> int:
        return graph.tensor_of(self).elements

    def links(self, graph: Graph) -> Links | None:
        if len(graph.tensor_of(self).shape) - 1 in self.axes:
            return None
        return {self.input: np.arange(depth(graph.output_of(self)))}

    def is_identity(self, graph: Graph) -> bool:
        x, y = graph.tensor_of(self), graph.output_of(self)
        if x.elements != y.elements or not y.shape or 0 in self.axes:
            return False
        return np.array_equal(self.on_every_byte(graph), EVERY_INT8)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"axes {plain(self.axes)}",)
