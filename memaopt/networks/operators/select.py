"""SELECT: inputs of one shape; the condition has it too, or is one for each of the first axis, or one for all."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.selecting import Selecting


class Select(Selecting):
    kind: ClassVar[str] = "SELECT"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("SelectOptions", 47, ())

    def condition_shape(self, graph: Graph) -> Shape:
        condition, first, second = (graph.tensor_of(self, position).shape for position in range(3))
        if first != second:
            raise self.refuse(graph, f"inputs {list(first)} and {list(second)}; one shape is supported, as in TFLite")
        if len(condition) == 1 and len(first) > 1 and condition[0] == first[0]:
            return (*condition, *(1 for _ in first[1:]))
        if condition not in (first, (), (1,)):
            raise self.refuse(graph, f"a condition {list(condition)} for inputs {list(first)} does not fit")
        return condition
