"""FLOAT_LOOKUP: floats by a table of int8, which stands for several operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.dequantize import Dequantize
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.problems import layers


class FloatLookup(Unfiled, Dequantize):
    """``bits`` are the floats of the inputs -128 to 127, as unsigned integers; ``of`` names what it stands for."""

    kind: ClassVar[str] = "FLOAT_LOOKUP"
    counts_scale: ClassVar[bool] = False

    bits: tuple[int, ...]
    of: str = ""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        found: Array = np.array(self.bits, np.uint32).view(np.float32)[arguments[0].astype(np.int64) + 128]
        return found

    def lower(self, graph: Graph) -> Lowered | None:
        table = np.array(self.bits, np.uint32).view(np.float32)
        return Lowered(layers.FloatLookup(graph.output_of(self).elements, table), (self.input,))

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT8)
        self.expect(graph, self.output, "output", DType.FLOAT32)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"of {self.of}",)
