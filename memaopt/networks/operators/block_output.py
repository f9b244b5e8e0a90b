"""BLOCK_OUTPUT: one of several outputs of an operator, out of the block that it writes them into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.of_no_file import OfNoFile
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.problems.movement import Movement, Piece


class BlockOutput(OfNoFile):
    """One of several outputs that lie in a block: its bytes, from ``offset`` on."""

    kind: ClassVar[str] = "BLOCK_OUTPUT"

    offset: int

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        output = graph.output_of(self)
        data = np.ascontiguousarray(arguments[0]).tobytes()[self.offset : self.offset + output.nbytes]
        return np.frombuffer(data, output.dtype.numpy)

    def lower(self, graph: Graph) -> Lowered | None:
        size = graph.output_of(self).nbytes
        along = (np.arange(size, dtype=np.int64),)
        piece = Piece(0, (size,), along, along, self.offset)
        return Lowered(Movement(f"BLOCK_OUTPUT at {self.offset} of a block", size, (piece,)), (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"at {self.offset}",)
