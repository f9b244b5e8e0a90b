"""SPACE_TO_BATCH_ND: padded with the zero point; the positions at one place of each block become a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.batches import Batches
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.gathered import strides
from memaopt.networks.operators.operator import Array, Shape
from memaopt.problems import movement


class SpaceToBatchNd(Batches):
    kind: ClassVar[str] = "SPACE_TO_BATCH_ND"
    options: ClassVar[Options | None] = Options("SpaceToBatchNDOptions", 25, ())
    fills: ClassVar[bool] = True
    edges_name: ClassVar[str] = "paddings"

    def _padded(self, graph: Graph) -> Shape:
        """The sizes of the axes that have blocks, with their padding."""
        sizes = graph.tensor_of(self).shape[1:-1]
        return tuple(size + before + after for size, (before, after) in zip(sizes, self.edges, strict=True))

    def output_shape(self, graph: Graph) -> Shape:
        shape, padded = graph.tensor_of(self).shape, self._padded(graph)
        if any(size % block for size, block in zip(padded, self.block, strict=True)):
            raise self.refuse(graph, f"{list(padded)} with padding are no blocks of {list(self.block)}")
        inner = (size // block for size, block in zip(padded, self.block, strict=True))
        return (shape[0] * math.prod(self.block), *inner, shape[-1])

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        output = graph.output_of(self)
        result = np.full(output.elements, output.zero_point, arguments[0].dtype)
        (piece,) = self.pieces(graph)
        places = np.asarray(piece.output_offset)
        for table in piece.output_tables:
            places = np.add.outer(places, table)
        result[places] = arguments[0]
        return result

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        """Each element where it goes: its place in the block says which batch, its block where in that."""
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        inner, outer = strides(shape), strides(output)
        tables = [np.arange(shape[0], dtype=np.int64) * outer[0]]
        for axis, (block, (before, _)) in enumerate(zip(self.block, self.edges, strict=True), start=1):
            at = np.arange(shape[axis], dtype=np.int64) + before
            batch = math.prod(self.block[axis:]) * shape[0] * outer[0]
            tables.append(at % block * batch + at // block * outer[axis])
        tables.append(np.arange(shape[-1], dtype=np.int64))
        inputs = tuple(np.arange(size, dtype=np.int64) * step for size, step in zip(shape, inner, strict=True))
        start = sum(int(table[0]) for table in tables)
        return [movement.Piece(0, shape, inputs, tuple(table - table[0] for table in tables), 0, start)]
