"""DEPTH_TO_SPACE: each position's channels become a block of positions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.blocks import BLOCK_SIZE, Blocks
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.gathered import Tables
from memaopt.networks.operators.operator import Shape, check_rank


class DepthToSpace(Blocks):
    kind: ClassVar[str] = "DEPTH_TO_SPACE"
    version: ClassVar[int] = 1
    options: ClassVar[Options | None] = Options("DepthToSpaceOptions", 94, (BLOCK_SIZE,))

    def output_shape(self, graph: Graph) -> Shape:
        block, shape = self.block, graph.tensor_of(self).shape
        check_rank(graph.place(self), shape, 4)
        batch, height, width, channels = shape
        if channels % block**2:
            raise self.refuse(graph, f"{channels} channels are no blocks of {block}x{block}")
        return batch, height * block, width * block, channels // block**2

    def tables(self, graph: Graph) -> Tables:
        block, (batch, height, width, depth) = self.block, graph.tensor_of(self).shape
        parts = (batch, height, block, width, block, depth // block**2)
        channels = depth // block**2
        steps = (height * width * depth, width * depth, block * channels, depth, channels, 1)
        return tuple(np.arange(size, dtype=np.int64) * step for size, step in zip(parts, steps, strict=True))
