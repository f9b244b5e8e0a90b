"""EMBEDDING_LOOKUP: rows of a constant table, by indices that are known only when the network runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape
from memaopt.networks.operators.source import Source
from memaopt.problems.embedding import Embedding


class EmbeddingLookup(Operator):
    """Inputs are (indices, table). TFLite does not run where an index is outside; here that is the nearest row."""

    kind: ClassVar[str] = "EMBEDDING_LOOKUP"
    version: ClassVar[int] = 3
    arity: ClassVar[tuple[int, int]] = (2, 2)

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        return cls(**source.common(source.inputs))

    def write(self, graph: Graph) -> Form:
        del graph
        return Form()

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "indices", DType.INT32)
        self.expect(graph, self.inputs[1], "table", DType.INT8)
        self.expect(graph, self.output, "output", DType.INT8)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Bytes are copied; TFLite does not ask what they mean, and converters give them one meaning."""
        super().check_scales(graph, operands[1:])
        if not graph.tensor_of(self, 1).same_quantization(graph.output_of(self)):
            raise self.refuse(graph, "table and output have different quantisation; equal ones are supported")

    def output_shape(self, graph: Graph) -> Shape:
        indices, table = graph.tensor_of(self), graph.tensor_of(self, 1)
        if len(indices.shape) != 1 or len(table.shape) < 2:
            shapes = f"{list(indices.shape)} and {list(table.shape)}"
            raise self.refuse(graph, f"indices and table of {shapes}; one axis, and two or more, are supported")
        return (*indices.shape, *table.shape[1:])

    def check_arithmetic(self, graph: Graph) -> None:
        if not graph.tensor_of(self, 1).is_constant:
            raise self.refuse(graph, f"table {graph.tensor_of(self, 1).name!r} is computed; a constant is supported")

    def layer(self, graph: Graph) -> Embedding:
        table = graph.tensor_of(self, 1)
        return Embedding(graph.tensor_of(self).elements, table.values.astype(np.int8).reshape(table.shape[0], -1))

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.layer(graph).apply(arguments[0])

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer(graph), (self.input,))
