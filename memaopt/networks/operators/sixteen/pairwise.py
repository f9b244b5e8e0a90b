"""ADD, SUB and MUL of int16 activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.pairwise import Pairwise
from memaopt.networks.operators.sixteen.activations import check_tensor16, clamp16
from memaopt.problems.sixteen import Binary16


class Pairwise16(Pairwise):
    """No table: an int16 has too many values. Evaluated as its layer has it."""

    def check_types(self, graph: Graph) -> None:
        for index in (*self.inputs, self.output):
            self.expect(graph, index, "operand", DType.INT16)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        for index in (*operands, self.output):
            check_tensor16(graph, self, index)

    def check_arithmetic(self, graph: Graph) -> None:
        self.layer16(graph)

    def layer16(self, graph: Graph) -> Binary16:
        """The layer; UnsupportedModelError if a value leaves 32 bits."""
        raise NotImplementedError

    def ends16(self, graph: Graph) -> dict[str, Any]:
        """Shapes, zero points and clamp."""
        low, high = clamp16(graph, self)
        first, second = (graph.tensor_of(self, i).shape for i in (0, 1))
        zeros = dict.fromkeys(("first_zero_point", "second_zero_point", "zero_point"), 0)
        return {"first_shape": first, "second_shape": second, **zeros, "minimum": low, "maximum": high}

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.layer16(graph).pairs.apply(*arguments)

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer16(graph), self.inputs)
