"""RESHAPE: elements keep their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.folded import is_known
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Links, Lowered, Shape, depth
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Reshape(Moving):
    """The output tensor's shape says it all."""

    kind: ClassVar[str] = "RESHAPE"
    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8, DType.UINT8, DType.INT16, DType.FLOAT32)
    counts_scale: ClassVar[bool] = False
    alias: ClassVar[bool] = True

    @classmethod
    def read(cls, source: Source) -> Self:
        sizes, own = cls.sizes(source), source.output().shape
        if math.prod(sizes) == math.prod(own) and sizes != own:
            raise source.refuse(f"the output is {list(own)} in the file but {list(sizes)} by its operands")
        return cls(**source.common())

    @classmethod
    def sizes(cls, source: Source) -> Shape:
        """The output's shape by the operands; where they do not tell, its own with as many first as there is room."""
        source.expect(1, 2)
        elements, own = source.tensor(0).elements, source.output().shape
        asked = source.tensor(1) if max(source.inputs[1:], default=-1) >= 0 else None
        if asked is not None and is_known(asked) and asked.elements == len(own):
            given = tuple(int(size) for size in asked.values.reshape(-1))
            rest = math.prod(size for size in given if size != -1)
            return tuple(elements // max(rest, 1) if size == -1 else size for size in given)
        return (elements // max(math.prod(own[1:]), 1), *own[1:]) if own else ()

    def write(self, graph: Graph) -> Form:
        return Form({"shape": graph.output_of(self).shape})

    def output_shape(self, graph: Graph) -> Shape:
        return self.regrouped(graph, (graph.tensor_of(self).elements,))

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return arguments[0].reshape(graph.output_of(self).shape)

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        elements = (graph.output_of(self).elements,)
        return [movement.box(0, elements, elements, shape=elements)]

    def lower(self, graph: Graph) -> Lowered | None:
        if not graph.tensor_of(self).is_constant:
            return None
        output = graph.output_of(self)
        pieces = tuple(piece.in_bytes(output.dtype.itemsize) for piece in self.pieces(graph))
        return Lowered(movement.Movement(self.kind, output.nbytes, pieces), (self.input,))

    def links(self, graph: Graph) -> Links | None:
        inputs, outputs = depth(graph.tensor_of(self)), depth(graph.output_of(self))
        return {self.input: np.arange(outputs) % inputs} if outputs % inputs == 0 else None
