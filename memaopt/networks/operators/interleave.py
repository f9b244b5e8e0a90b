"""INTERLEAVE: each position's channels are a block of positions; some of them at the edges are left out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Size2D
from memaopt.networks.operators.gathered import Gathered, Tables, strides
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Shape


class Interleave(Unfiled, Gathered):
    """``before`` rows and columns are left out, and what the output has no room for."""

    kind: ClassVar[str] = "INTERLEAVE"

    block: Size2D
    before: Size2D

    def output_shape(self, graph: Graph) -> Shape:
        x, y = graph.tensor_of(self).shape, graph.output_of(self).shape
        room = [size * block for size, block in zip(x[1:3], self.block, strict=True)]
        needed = [before + size for before, size in zip(self.before, y[1:3], strict=True)]
        if any(n > r for n, r in zip(needed, room, strict=True)):
            raise self.refuse(graph, f"{needed} rows and columns of {room}")
        return (x[0], *y[1:3], x[3] // (self.block.height * self.block.width))

    def tables(self, graph: Graph) -> Tables:
        batch, rows, columns, channels = graph.output_of(self).shape
        image, row, position, one = strides(graph.tensor_of(self).shape)
        y = np.arange(rows, dtype=np.int64) + self.before.height
        x = np.arange(columns, dtype=np.int64) + self.before.width
        tall, wide = self.block
        return (
            np.arange(batch, dtype=np.int64) * image,
            y // tall * row + y % tall * wide * channels,
            x // wide * position + x % wide * channels,
            np.arange(channels, dtype=np.int64) * one,
        )

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"blocks {self.block.height}x{self.block.width}",)
