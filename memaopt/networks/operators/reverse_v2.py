"""REVERSE_V2: axes from their end."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form, Options
from memaopt.networks.operators.gathered import Gathered, Tables, strides
from memaopt.networks.operators.operator import Shape, plain
from memaopt.networks.operators.parted import checked_axis
from memaopt.networks.operators.source import Source


class ReverseV2(Gathered):
    kind: ClassVar[str] = "REVERSE_V2"
    options: ClassVar[Options | None] = Options("ReverseV2Options", 81, ())

    axes: tuple[int, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        axes = {checked_axis(source, 0, axis) for axis in source.integers(1, "axes")}
        return cls(**source.common(), axes=tuple(sorted(axes)))

    def write(self, graph: Graph) -> Form:
        return Form({"axes": self.axes})

    def output_shape(self, graph: Graph) -> Shape:
        return graph.tensor_of(self).shape

    def tables(self, graph: Graph) -> Tables:
        shape = graph.tensor_of(self).shape
        steps = [np.arange(size, dtype=np.int64) * step for size, step in zip(shape, strides(shape), strict=True)]
        return tuple(table[::-1] if axis in self.axes else table for axis, table in enumerate(steps))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"axes {plain(self.axes)}",)
