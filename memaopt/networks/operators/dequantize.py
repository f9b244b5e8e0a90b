"""DEQUANTIZE: int8 to float32, an end of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.problems import layers


class Dequantize(Alike):
    kind: ClassVar[str] = "DEQUANTIZE"
    version: ClassVar[int] = 2

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT8)
        self.expect(graph, self.output, "output", DType.FLOAT32)

    def check_arithmetic(self, graph: Graph) -> None:
        """Each int8 times the scale is a float32."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        tensor = graph.tensor_of(self)
        return (np.float64(tensor.scale) * (arguments[0].astype(np.int64) - tensor.zero_point)).astype(np.float32)

    def lower(self, graph: Graph) -> Lowered | None:
        tensor = graph.tensor_of(self)
        return Lowered(layers.Dequantize(tensor.elements, float(tensor.scale), tensor.zero_point), (self.input,))
