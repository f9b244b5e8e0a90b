"""BATCH_TO_SPACE_ND: each batch is one place of every block; then some positions at the edges are taken off."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.batches import Batches
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.gathered import Gathered, Tables, strides
from memaopt.networks.operators.operator import Links, Shape


class BatchToSpaceNd(Batches, Gathered):
    kind: ClassVar[str] = "BATCH_TO_SPACE_ND"
    options: ClassVar[Options | None] = Options("BatchToSpaceNDOptions", 24, ())
    edges_name: ClassVar[str] = "crops"

    def output_shape(self, graph: Graph) -> Shape:
        shape, blocks = graph.tensor_of(self).shape, math.prod(self.block)
        if shape[0] % blocks:
            raise self.refuse(graph, f"{shape[0]} batches are no blocks of {list(self.block)}")
        inner = (
            size * block - before - after
            for size, block, (before, after) in zip(shape[1:-1], self.block, self.edges, strict=True)
        )
        return (shape[0] // blocks, *inner, shape[-1])

    def tables(self, graph: Graph) -> Tables:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        steps = strides(shape)
        tables = [np.arange(output[0], dtype=np.int64) * steps[0]]
        for axis, (block, (before, _)) in enumerate(zip(self.block, self.edges, strict=True), start=1):
            at = np.arange(output[axis], dtype=np.int64) + before
            batch = math.prod(self.block[axis:]) * output[0] * steps[0]
            tables.append(at % block * batch + at // block * steps[axis])
        tables.append(np.arange(output[-1], dtype=np.int64))
        return tuple(tables)

    def links(self, graph: Graph) -> Links | None:
        return Batches.links(self, graph)

    def is_identity(self, graph: Graph) -> bool:
        return Batches.is_identity(self, graph)
