"""What is left to write of an operator that no file has by itself, whose shapes and types are those of its tensors."""

from __future__ import annotations

from typing import ClassVar, Self

from memaopt.errors import InputError
from memaopt.networks.graph import C_TYPES, DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Operator, Shape
from memaopt.networks.operators.source import Source


class OfNoFile(Operator):
    """What is left of an operator of a file; by itself no file has a form for it."""

    version: ClassVar[int] = 0
    counts_scale: ClassVar[bool] = False
    dtypes: ClassVar[tuple[DType, ...]] = tuple(C_TYPES)

    @classmethod
    def read(cls, source: Source) -> Self:
        raise source.refuse("no file has it")

    def write(self, graph: Graph) -> Form:
        raise InputError(f"{graph.place(self)}: it is written to no file")

    def output_shape(self, graph: Graph) -> Shape:
        return graph.output_of(self).shape

    def check_types(self, graph: Graph) -> None:
        for index in self.inputs:
            self.expect(graph, index, "input", *self.dtypes)
        self.expect(graph, self.output, "output", *self.dtypes)

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none that is known."""
