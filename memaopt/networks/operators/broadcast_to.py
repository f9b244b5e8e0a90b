"""BROADCAST_TO: axes of size 1 repeated, and new ones before."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form, Options
from memaopt.networks.operators.gathered import Gathered, Tables, strides
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.source import Source


class BroadcastTo(Gathered):
    kind: ClassVar[str] = "BROADCAST_TO"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 3
    options: ClassVar[Options | None] = Options("BroadcastToOptions", 104, ())

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        shape = source.integers(1, "shape")
        if shape != source.output().shape:
            raise source.refuse(f"shape {list(shape)} is not that of the output")
        return cls(**source.common())

    def write(self, graph: Graph) -> Form:
        return Form({"shape": graph.output_of(self).shape})

    def output_shape(self, graph: Graph) -> Shape:
        x, y = graph.tensor_of(self).shape, graph.output_of(self).shape
        padded = (1,) * (len(y) - len(x)) + x
        if len(padded) != len(y) or any(a not in (1, b) for a, b in zip(padded, y, strict=True)):
            raise self.refuse(graph, f"{list(x)} cannot be broadcast to {list(y)}")
        return y

    def tables(self, graph: Graph) -> Tables:
        x, y = graph.tensor_of(self).shape, graph.output_of(self).shape
        padded = (1,) * (len(y) - len(x)) + x
        return tuple(
            np.arange(size, dtype=np.int64) * (step if own > 1 else 0)
            for own, size, step in zip(padded, y, strides(padded), strict=True)
        )
