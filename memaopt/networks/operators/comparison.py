"""Comparisons of two int8 tensors: both are rescaled to 1/256 of a real, then compared. Integers that are known are
compared when they are read."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import Links
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantization import rescale
from memaopt.problems import binary

_SHIFT = 8


class Comparison(Layered, Pairwise):
    """What is left to a subclass: which one. The output is bool."""

    version: ClassVar[int] = 2
    unsigned: ClassVar[bool] = False
    adds_zero_point: ClassVar[bool] = False
    layer_kind: ClassVar[binary.BinaryKind]

    def check_types(self, graph: Graph) -> None:
        for index in self.inputs:
            self.expect(graph, index, "input", DType.INT8)
        self.expect(graph, self.output, "output", DType.BOOL)

    def check_arithmetic(self, graph: Graph) -> None:
        self.layer(graph)

    def layer(self, graph: Graph) -> binary.Binary:
        """Scales must be below 1, which TFLite's kernel checks."""
        first, second = graph.tensor_of(self, 0), graph.tensor_of(self, 1)
        rescales = (
            rescale(graph, self, float(tensor.scale), below_one=True, what=f"the {place} input's scale")
            for place, tensor in (("first", first), ("second", second))
        )
        return binary.Binary(
            kind=self.layer_kind,
            first_shape=first.shape,
            second_shape=second.shape,
            first_zero_point=first.zero_point,
            second_zero_point=second.zero_point,
            zero_point=0,
            result=binary.NONE,
            first=next(rescales),
            second=next(rescales),
            left_shift=_SHIFT,
        )

    def links(self, graph: Graph) -> Links | None:
        return None
