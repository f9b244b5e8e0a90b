"""ADD and SUB: both inputs on twice the greater scale, added or subtracted, and rescaled to the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from pydantic import field_validator

from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators.elementwise import checked_table
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.quantization import rescale
from memaopt.problems import binary
from memaopt.problems.step_functions import Rescale


class SumRescale(NamedTuple):
    """Inputs are shifted left, rescaled to twice the greater scale, summed, rescaled to the output."""

    left_shift: int
    first: Rescale
    second: Rescale
    output: Rescale


class Addition(Pairwise):
    """``table``, where there is one, has the outputs of the clamped sums -128 to 127. No file has it; ``then`` names
    the operators that it stands for, and ``sum`` is the tensor whose quantisation the sums have."""

    version: ClassVar[int] = 2
    sign: ClassVar[int]
    layer_kind: ClassVar[binary.BinaryKind]
    left_shift: ClassVar[int] = 20

    through: tuple[int, ...] = ()
    then: str = ""
    sum: int | None = None

    @field_validator("through")
    @classmethod
    def _check_table(cls, table: tuple[int, ...]) -> tuple[int, ...]:
        return checked_table(table) if table else table

    @property
    def fused(self) -> bool:
        return bool(self.through) or super().fused

    def computed(self, graph: Graph) -> Tensor:
        return graph.output_of(self) if self.sum is None else graph.tensors[self.sum]

    def rescale(self, graph: Graph) -> SumRescale:
        """The output's multiplier must be below 1, which TFLite's kernels check."""
        first, second, output = graph.tensor_of(self, 0).scale, graph.tensor_of(self, 1).scale, self.computed(graph)
        with np.errstate(over="ignore"):
            twice_greater = float(np.float32(2) * max(first, second))
            real_output = twice_greater / float(np.float32(1 << self.left_shift) * output.scale)
        return SumRescale(
            self.left_shift,
            rescale(graph, self, float(first) / twice_greater),
            rescale(graph, self, float(second) / twice_greater),
            rescale(graph, self, real_output, below_one=True),
        )

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)
        self.clamp(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        r = self.rescale(graph)
        first = r.first.apply(self.centred(graph, arguments, 0) << r.left_shift)
        second = r.second.apply(self.centred(graph, arguments, 1) << r.left_shift)
        rounded = r.output.apply(first + self.sign * second) + self.computed(graph).zero_point
        clamped = np.clip(rounded, *self.clamp(graph))
        return np.array(self.through, np.int64)[clamped + 128] if self.through else clamped

    def lower(self, graph: Graph) -> Lowered | None:
        r = self.rescale(graph)
        layer = binary.Binary(
            **self.ends(graph),
            kind=self.layer_kind,
            left_shift=r.left_shift,
            first=r.first,
            second=r.second,
            result=r.output,
            table=self.through,
        )
        return Lowered(layer, self.inputs)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*([f"then {self.then}"] if self.through else []), *super().words(graph))
