"""DIV: the first over the second, above their zero points, by a reciprocal in fixed point; TFLite Micro's alone.

A divisor of 0, and a last shift beyond 31 bits, are undefined there: of those the quotient is 0 here.
"""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import ACTIVATION, Options
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantization import rescale
from memaopt.problems import binary
from memaopt.problems.step_functions import Rescale

_MOST_SHIFT = 23
"""A numerator of 8 bits is shifted left by so much at least, which the last shift takes back."""


class Div(Layered, Pairwise):
    kind: ClassVar[str] = "DIV"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2
    micro: ClassVar[bool] = True
    options: ClassVar[Options | None] = Options("DivOptions", 29, (ACTIVATION,))

    def rescale(self, graph: Graph) -> Rescale:
        """The first scale over the product of the others, in double."""
        first, second, y = (float(graph.tensors[t].scale) for t in (*self.inputs, self.output))
        factor = rescale(graph, self, first / (second * y))
        if factor.shift > _MOST_SHIFT:
            raise self.refuse(graph, f"the ratio of scales is 2^{factor.shift}; 2^{_MOST_SHIFT} is supported")
        return factor

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)
        self.clamp(graph)

    def layer(self, graph: Graph) -> binary.Binary:
        return binary.Binary(**self.ends(graph), kind=binary.BinaryKind.DIV, result=self.rescale(graph))
