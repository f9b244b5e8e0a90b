"""Operators on one tensor that take float32 too, where an int8 decides each element: behind DEQUANTIZE.

Such floats are a table of 256, whatever computed them; so no float arithmetic runs on the microcontroller.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.dequantize import Dequantize
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.unary import Unary, float_table

Floats = npt.NDArray[np.float32]


class Floating(Unary):
    """What is left to a subclass: the function of a float, and what the table of int8 demands of scales."""

    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8, DType.FLOAT32)

    @abstractmethod
    def real(self, x: np.float32) -> np.float32:
        """The output of a float, as TFLite's reference kernel computes it."""

    @abstractmethod
    def check_table(self, graph: Graph) -> None:
        """UnsupportedModelError unless the table of int8 is defined for its scales."""

    def reals(self, values: Floats) -> Floats:
        """The outputs of floats."""
        with np.errstate(all="ignore"):
            return np.array([self.real(x) for x in values.reshape(-1)], np.float32).reshape(values.shape)

    def table(self, graph: Graph) -> Int8Table:
        return float_table(graph, self, self.real)

    def check_arithmetic(self, graph: Graph) -> None:
        x = graph.tensor_of(self)
        if x.dtype is not DType.FLOAT32:
            self.check_table(graph)
        elif not decided(graph, self.input):
            problem = f"float32 {x.name!r} is no function of an int8 element; such as DEQUANTIZE gives are supported"
            raise self.refuse(graph, problem, f"float32 in {self.kind}")

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.reals(arguments[0]) if arguments[0].dtype == np.float32 else super().evaluate(graph, arguments)

    def lower(self, graph: Graph) -> Lowered | None:
        if graph.tensor_of(self).dtype is DType.FLOAT32:
            raise self.refuse(graph, "float32 has no kernel; simplification makes a table of it")
        return super().lower(graph)


class FloatOnly(Floating):
    """Of which TFLite has no int8."""

    dtypes: ClassVar[tuple[DType, ...]] = (DType.FLOAT32,)
    version: ClassVar[int] = 1

    def check_table(self, graph: Graph) -> None:
        """There is none."""


def decided(graph: Graph, tensor: int) -> bool:
    """Whether each float of a tensor is a function of an int8 element."""
    while tensor in graph.producers:
        op = graph.operators[graph.producers[tensor]]
        if isinstance(op, Dequantize):
            return True
        if not isinstance(op, Floating):
            return False
        tensor = op.input
    return False
