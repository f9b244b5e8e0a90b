"""TILE: axes again and again."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form, Options
from memaopt.networks.operators.gathered import Gathered, Tables, strides
from memaopt.networks.operators.operator import Shape, plain
from memaopt.networks.operators.source import Source


class Tile(Gathered):
    kind: ClassVar[str] = "TILE"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("TileOptions", 51, ())

    multiples: tuple[int, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        multiples, rank = source.integers(1, "multiples"), len(source.tensor(0).shape)
        if len(multiples) != rank or any(not 0 < multiple < 1 << 31 for multiple in multiples):
            raise source.refuse(f"multiples {list(multiples)} of {rank} dimensions")
        return cls(**source.common(), multiples=multiples)

    def write(self, graph: Graph) -> Form:
        return Form({"multiples": self.multiples})

    def output_shape(self, graph: Graph) -> Shape:
        return tuple(n * m for n, m in zip(graph.tensor_of(self).shape, self.multiples, strict=True))

    def tables(self, graph: Graph) -> Tables:
        shape = graph.tensor_of(self).shape
        return tuple(
            np.arange(size * multiple, dtype=np.int64) % size * step
            for size, multiple, step in zip(shape, self.multiples, strides(shape), strict=True)
        )

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"multiples {plain(self.multiples)}",)
