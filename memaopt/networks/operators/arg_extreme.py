"""ARG_MAX and ARG_MIN: where along an axis the first greatest or least element lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape
from memaopt.networks.operators.parted import checked_axis
from memaopt.networks.operators.source import Source
from memaopt.problems import layers
from memaopt.problems.layers import PoolKind


class ArgExtreme(Operator):
    """What is left to a subclass: which of them. The output is int32 or int64, without the axis."""

    version: ClassVar[int] = 2
    layer_kind: ClassVar[PoolKind]
    counts_scale: ClassVar[bool] = False

    axis: int

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        return cls(**source.common(), axis=checked_axis(source, 0, source.integer(1, "axis")))

    def write(self, graph: Graph) -> Form:
        return Form({"axis": self.axis}, {"outputType": graph.output_of(self).dtype.name})

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", *self.dtypes)
        self.expect(graph, self.output, "output", DType.INT32, DType.INT64)

    def output_shape(self, graph: Graph) -> Shape:
        shape = graph.tensor_of(self).shape
        if not 0 <= self.axis < len(shape):
            raise self.refuse(graph, f"axis {self.axis} of {len(shape)} dimensions")
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def work(self, graph: Graph) -> int:
        return graph.tensor_of(self).elements

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        x = arguments[0]
        found: Array = x.argmax(axis=self.axis) if self.layer_kind is PoolKind.MAX else x.argmin(axis=self.axis)
        return found

    def lower(self, graph: Graph) -> Lowered | None:
        shape, size = graph.tensor_of(self).shape, graph.output_of(self).dtype.itemsize
        around = math.prod(shape[: self.axis]), shape[self.axis], math.prod(shape[self.axis + 1 :])
        return Lowered(layers.ArgExtreme(self.layer_kind, around, size), (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"axis {self.axis}",)
