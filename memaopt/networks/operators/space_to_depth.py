"""SPACE_TO_DEPTH: each block of positions becomes one position's channels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.blocks import BLOCK_SIZE, Blocks
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.gathered import Tables
from memaopt.networks.operators.operator import Shape, check_rank


class SpaceToDepth(Blocks):
    kind: ClassVar[str] = "SPACE_TO_DEPTH"
    version: ClassVar[int] = 1
    options: ClassVar[Options | None] = Options("SpaceToDepthOptions", 19, (BLOCK_SIZE,))

    def output_shape(self, graph: Graph) -> Shape:
        block, shape = self.block, graph.tensor_of(self).shape
        check_rank(graph.place(self), shape, 4)
        batch, height, width, channels = shape
        if height % block or width % block:
            raise self.refuse(graph, f"{height}x{width} positions are no blocks of {block}x{block}")
        return batch, height // block, width // block, channels * block**2

    def tables(self, graph: Graph) -> Tables:
        block, (batch, height, width, depth) = self.block, graph.tensor_of(self).shape
        parts = (batch, height // block, width // block, block, block, depth)
        row = width * depth
        steps = (height * row, block * row, block * depth, row, depth, 1)
        return tuple(np.arange(size, dtype=np.int64) * step for size, step in zip(parts, steps, strict=True))
