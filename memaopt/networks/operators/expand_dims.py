"""EXPAND_DIMS: an axis of 1 is added."""

from __future__ import annotations

from typing import ClassVar, Self

from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.reshape import Reshape
from memaopt.networks.operators.source import Source


class ExpandDims(Reshape):
    kind: ClassVar[str] = "EXPAND_DIMS"

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        return cls(**source.common())

    @classmethod
    def sizes(cls, source: Source) -> Shape:
        source.expect(2, 2)
        shape = source.tensor(0).shape
        axis = source.integer(1, "axis") % (len(shape) + 1)
        return (*shape[:axis], 1, *shape[axis:])

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        self.check_one_quantization(graph)

    def write(self, graph: Graph) -> Form:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        fits = [i for i in range(len(output)) if output[:i] + output[i + 1 :] == shape]
        if not fits or output[fits[0]] != 1:
            raise InputError(f"{graph.place(self)}: no new axis makes {list(output)} of {list(shape)}")
        return Form({"axis": fits[0]})
