"""Operators whose output element i depends on element i of each input of the same shape, and nothing else."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from memaopt.networks.graph import Graph
from memaopt.networks.operators.operator import Operator

Int8Table = npt.NDArray[np.int8]


def checked_table(values: tuple[int, ...]) -> tuple[int, ...]:
    """The values, if they are a table; else ValueError."""
    if len(values) != 256 or not -128 <= min(values) <= max(values) <= 127:
        raise ValueError("a table has 256 values of int8")
    return values


class Elementwise(Operator):
    """A function of elements; where only one activation is read, a table."""

    @abstractmethod
    def table(self, graph: Graph) -> Int8Table:
        """The outputs for every int8 from -128 up; uint8 as int8 of the same bits. The operator has a :meth:`decider`,
        or is unary."""

    def decider(self, graph: Graph) -> int | None:
        """The one activation of the output's shape that decides each output byte by itself, or None."""
        data = {i for i in self.inputs if not graph.tensors[i].is_constant}
        constants = [graph.tensors[i].values for i in self.inputs if graph.tensors[i].is_constant]
        if len(data) != 1 or any(values.size == 0 or (values != values.flat[0]).any() for values in constants):
            return None
        x = graph.tensors[min(data)]
        y = graph.output_of(self)
        return min(data) if x.dtype.is_byte and y.dtype.is_byte and x.shape == y.shape else None

    def in_place(self, graph: Graph) -> tuple[int, ...]:
        """Inputs with as many elements as the output (none is read twice), each of its size."""
        output = graph.output_of(self)
        inputs = [graph.tensors[i] for i in self.inputs]
        fits = [t.elements == output.elements and t.nbytes == output.nbytes and not t.is_constant for t in inputs]
        return tuple(position for position, fit in enumerate(fits) if fit)
