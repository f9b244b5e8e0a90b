"""Operators on one tensor whose output has its shape."""

from __future__ import annotations

from typing import Self

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Operator, Shape
from memaopt.networks.operators.source import Source


class Alike(Operator):
    """One input, an output like it, no attributes unless a subclass says so."""

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        return cls(**source.common())

    def write(self, graph: Graph) -> Form:
        return Form()

    def output_shape(self, graph: Graph) -> Shape:
        return graph.tensor_of(self).shape
