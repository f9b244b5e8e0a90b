"""Operators that only move elements."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.folded import is_known
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Moving(Operator):
    """What is left to a subclass: which elements go where, in numpy and as the layer's pieces."""

    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8, DType.INT16)
    fills: ClassVar[bool] = False
    """Whether some bytes are written by no piece."""

    @abstractmethod
    def pieces(self, graph: Graph) -> list[movement.Piece]:
        """The boxes of elements that move."""

    @classmethod
    def known(cls, source: Source) -> Array | None:
        if cls.fills or not source.inputs or not is_known(source.tensor(0)):
            return None
        return cls.read(source).of_known(source.tensors)

    def of_known(self, tensors: Sequence[Tensor]) -> Array | None:
        """What it writes if all its inputs are integers that are known: what moves in a network of nothing else."""
        if not all(is_known(tensors[i]) for i in self.inputs):
            return None
        more = (*tensors, Tensor("(none)", (1,), DType.INT8))
        graph = Graph("constants", more, (self,), (len(tensors),), self.outputs)
        self.output_shape(graph)
        return self.evaluate(graph, [tensors[i].values for i in self.inputs])

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        output = graph.output_of(self)
        if self.fills and output.dtype is DType.INT16 and output.zero_point:
            raise self.refuse(graph, f"int16 {output.name!r} has the zero point {output.zero_point}; 0 is supported")

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def lower(self, graph: Graph) -> Lowered | None:
        output = graph.output_of(self)
        moved = self.moved()
        title = f"{self.kind} {' + '.join(graph.tensors[i].describe() for i in moved)} -> {output.describe()}"
        size = output.dtype.itemsize
        pieces = tuple(piece.in_bytes(size) for piece in self.pieces(graph) if piece.elements)
        fill = self.fill(graph) if self.fills else 0
        return Lowered(movement.Movement(title, output.nbytes, pieces, fill), moved)

    def fill(self, graph: Graph) -> int:
        """What the bytes become that no piece writes."""
        return graph.output_of(self).zero_point

    def moved(self) -> tuple[int, ...]:
        """The inputs whose elements move."""
        return self.inputs

    def regrouped(self, graph: Graph, box: Shape) -> Shape:
        """The output's own shape, if it has as many elements as what is moved, or else that of ``box``."""
        output, elements = graph.output_of(self).shape, math.prod(box)
        if math.prod(output) == elements:
            return output
        if len(output) == len(box):
            return box
        raise self.refuse(graph, f"{elements} elements do not fill the output {list(output)}")
