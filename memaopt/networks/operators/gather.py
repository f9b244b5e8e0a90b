"""GATHER: elements of one axis, by constant indices. Rows of a constant by others are an EMBEDDING_LOOKUP."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.embedding_lookup import EmbeddingLookup
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Operator, Shape, plain
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Gather(Moving):
    """The output's shape has that of the indices in place of the axis."""

    kind: ClassVar[str] = "GATHER"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("GatherOptions", 23, (Field("axis", 4), Field("batchDims", 4)))
    counts_scale: ClassVar[bool] = False

    axis: int
    indices: tuple[int, ...]

    @classmethod
    def read_as(cls, source: Source) -> type[Operator]:
        rows = len(source.inputs) == 2 and source.tensor(0).is_constant and not source.tensor(1).is_constant
        return EmbeddingLookup if rows else cls

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        options, shape = source.options(), source.tensor(0).shape
        axis, indices = options.get("axis", 0), source.integers(1, "indices")
        if options.get("batchDims", 0):
            raise source.refuse(f"{options['batchDims']} batch dimensions; none are supported")
        if not -len(shape) <= axis < len(shape):
            raise source.refuse(f"axis {axis} of {len(shape)} dimensions")
        if any(not 0 <= index < shape[axis] for index in indices):
            raise source.refuse(f"indices {list(indices)} of an axis of {shape[axis]}")
        return cls(**source.common(), axis=axis % len(shape), indices=indices)

    def write(self, graph: Graph) -> Form:
        rank = len(graph.tensor_of(self).shape)
        shape = graph.output_of(self).shape
        own = shape[self.axis : len(shape) - (rank - 1 - self.axis)]
        return Form({"indices": np.array(self.indices).reshape(own)}, {"axis": self.axis, "batchDims": 0})

    def _box(self, graph: Graph) -> Shape:
        """The output's shape, with one axis for the indices."""
        shape = graph.tensor_of(self).shape
        return (*shape[: self.axis], len(self.indices), *shape[self.axis + 1 :])

    def output_shape(self, graph: Graph) -> Shape:
        return self.regrouped(graph, self._box(graph))

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return np.take(arguments[0], self.indices, axis=self.axis)

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        x, box = graph.tensor_of(self).shape, self._box(graph)
        piece = movement.box(0, x, box, shape=box)
        tables = list(piece.input_tables)
        tables[self.axis] = (np.array(self.indices, np.int64) - self.indices[0]) * math.prod(x[self.axis + 1 :])
        start = self.indices[0] * math.prod(x[self.axis + 1 :])
        return [dataclasses.replace(piece, input_tables=tuple(tables), input_offset=start)]

    def is_identity(self, graph: Graph) -> bool:
        return self.indices == tuple(range(graph.tensor_of(self).shape[self.axis]))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"axis {self.axis}", f"indices {plain(self.indices)}")
