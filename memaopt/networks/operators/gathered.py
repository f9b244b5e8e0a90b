"""Operators each of whose output axes picks along the input by itself."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Shape
from memaopt.problems import movement

Tables = tuple[Int64Array, ...]


class Gathered(Moving):
    """What is left to a subclass: the tables, its attributes and its form."""

    counts_scale: ClassVar[bool] = False

    @abstractmethod
    def tables(self, graph: Graph) -> Tables:
        """For each output axis, or part of one, what its indices add to the offset of the element that is read."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        offsets = functools.reduce(np.add.outer, self.tables(graph), np.zeros((), np.int64))
        return arguments[0].reshape(-1)[offsets]

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        tables = self.tables(graph)
        shape = tuple(len(table) for table in tables)
        steps = strides(shape)
        outputs = tuple(np.arange(size, dtype=np.int64) * step for size, step in zip(shape, steps, strict=True))
        start = sum(int(table[0]) for table in tables)
        return [movement.Piece(0, shape, tuple(table - table[0] for table in tables), outputs, start)]

    def is_identity(self, graph: Graph) -> bool:
        tables = self.tables(graph)
        steps = strides(tuple(len(table) for table in tables))
        return graph.tensor_of(self).elements == graph.output_of(self).elements and all(
            np.array_equal(table, np.arange(len(table)) * step) for table, step in zip(tables, steps, strict=True)
        )


def strides(shape: Shape) -> list[int]:
    """Elements from one index of each axis to the next."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
