"""MUL: the product of what is above the zero points, rescaled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import ACTIVATION, Options
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantization import checked_left_shift, rescale
from memaopt.problems import binary
from memaopt.problems.step_functions import Rescale


class Mul(Pairwise):
    kind: ClassVar[str] = "MUL"
    of_integers = np.multiply
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("MulOptions", 21, (ACTIVATION,))
    widest: ClassVar[int] = 255
    """Of an element above its zero point."""

    def rescale(self, graph: Graph) -> Rescale:
        """The product of the scales over the output's, in float."""
        with np.errstate(over="ignore", under="ignore"):
            real = graph.tensor_of(self, 0).scale * graph.tensor_of(self, 1).scale / graph.output_of(self).scale
        return checked_left_shift(graph, self, rescale(graph, self, float(real)), self.widest**2)

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)
        self.clamp(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        product = self.centred(graph, arguments, 0) * self.centred(graph, arguments, 1)
        return np.clip(self.rescale(graph).apply(product) + graph.output_of(self).zero_point, *self.clamp(graph))

    def lower(self, graph: Graph) -> Lowered | None:
        result = self.rescale(graph)
        return Lowered(binary.Binary(**self.ends(graph), kind=binary.BinaryKind.MUL, result=result), self.inputs)
