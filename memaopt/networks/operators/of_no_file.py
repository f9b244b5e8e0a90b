"""Operators that no file has: what reading makes of others, or leaves of them."""

from __future__ import annotations

from typing import ClassVar, Self

from memaopt.errors import InputError
from memaopt.networks.graph import C_TYPES, DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Operator, Shape
from memaopt.networks.operators.source import Source


class Unfiled(Operator):
    """What no file has a form for."""

    version: ClassVar[int] = 0

    @classmethod
    def read(cls, source: Source) -> Self:
        raise source.refuse("no file has it")

    def write(self, graph: Graph) -> Form:
        raise InputError(f"{graph.place(self)}: it is written to no file")


class OfNoFile(Unfiled):
    """What is left of an operator of a file, of any types; what is checked of its arithmetic is a subclass's."""

    counts_scale: ClassVar[bool] = False
    dtypes: ClassVar[tuple[DType, ...]] = tuple(C_TYPES)

    def output_shape(self, graph: Graph) -> Shape:
        return graph.output_of(self).shape

    def check_types(self, graph: Graph) -> None:
        for index in self.inputs:
            self.expect(graph, index, "input", *self.dtypes)
        self.expect(graph, self.output, "output", *self.dtypes)

    def check_arithmetic(self, graph: Graph) -> None:
        """Nothing."""
