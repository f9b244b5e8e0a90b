"""SQUARED_DIFFERENCE: both inputs on twice the greater scale, subtracted, squared, rescaled to the output."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.addition import SumRescale
from memaopt.networks.operators.attributes import Bounds
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantization import rescale
from memaopt.problems import binary

_SHIFT = 7


class SquaredDifference(Layered, Pairwise):
    kind: ClassVar[str] = "SQUARED_DIFFERENCE"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("SquaredDifferenceOptions", 76, ())

    def rescale(self, graph: Graph) -> SumRescale:
        """The output's multiplier must be below 1, which TFLite's kernel checks."""
        first, second, output = graph.tensor_of(self, 0).scale, graph.tensor_of(self, 1).scale, graph.output_of(self)
        with np.errstate(over="ignore"):
            twice_greater = float(np.float32(2) * max(first, second))
            real_output = twice_greater * twice_greater / float(np.float32(1 << 2 * _SHIFT) * output.scale)
        return SumRescale(
            _SHIFT,
            rescale(graph, self, float(first) / twice_greater),
            rescale(graph, self, float(second) / twice_greater),
            rescale(graph, self, real_output, below_one=True),
        )

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)

    def layer(self, graph: Graph) -> binary.Binary:
        r = self.rescale(graph)
        return binary.Binary(
            **self.ends(graph),
            kind=binary.BinaryKind.SQUARED_DIFFERENCE,
            left_shift=r.left_shift,
            first=r.first,
            second=r.second,
            result=r.output,
        )

    def clamped_to(self, graph: Graph, bounds: Bounds) -> Self:
        """With bounds always: a file has no fused activation here."""
        return Bounded.clamped_to(self, graph, bounds)
