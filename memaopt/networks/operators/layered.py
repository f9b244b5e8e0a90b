"""Operators whose layer says in numpy what they compute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from memaopt.networks.graph import Graph
from memaopt.networks.operators.operator import Array, Lowered, Operator


class Layered(Operator):
    """The layer's inputs are the first of the operator's; the rest are its constants."""

    @abstractmethod
    def layer(self, graph: Graph) -> Any:
        """The layer that computes it, which has ``apply``."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        layer = self.layer(graph)
        found: Array = layer.apply(*arguments[: len(layer.takes)])
        return found

    def lower(self, graph: Graph) -> Lowered | None:
        layer = self.layer(graph)
        return Lowered(layer, self.inputs[: len(layer.takes)])
