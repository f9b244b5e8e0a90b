"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: blocks of positions along the axes behind the first against batches."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Links, depth, plain
from memaopt.networks.operators.source import Source


class Batches(Moving):
    """``block`` positions along each of some axes, and what is added or taken off (before, after) along them."""

    version: ClassVar[int] = 2
    edges_name: ClassVar[str]

    block: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(3, 3)
        block, edges = source.integers(1, "blocks"), source.integers(2, cls.edges_name)
        rank = len(source.tensor(0).shape)
        if rank not in (3, 4) or len(block) != rank - 2 or any(not 0 < size < 1 << 15 for size in block):
            raise source.refuse(
                f"blocks {list(block)} of {rank} dimensions; 3 or 4, two more than those, are supported"
            )
        if len(edges) != 2 * len(block) or any(not 0 <= edge < 1 << 31 for edge in edges):
            raise source.refuse(f"{cls.edges_name} {list(edges)}; two numbers, 0 or more, for each block are supported")
        return cls(**source.common(), block=block, edges=tuple(zip(edges[::2], edges[1::2], strict=True)))

    def write(self, graph: Graph) -> Form:
        return Form({"blocks": self.block, self.edges_name: self.edges})

    def check_operands(self, graph: Graph) -> None:
        super().check_operands(graph)
        rank = len(graph.tensor_of(self).shape)
        if rank not in (3, 4) or not len(self.block) == len(self.edges) == rank - 2:
            raise self.refuse(graph, f"blocks {list(self.block)} of {rank} dimensions")

    def links(self, graph: Graph) -> Links | None:
        return {self.input: np.arange(depth(graph.output_of(self)))}

    def is_identity(self, graph: Graph) -> bool:
        return set(self.block) == {1} and not any(map(any, self.edges))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"blocks {plain(self.block)}", f"{self.edges_name} {plain(self.edges)}")
