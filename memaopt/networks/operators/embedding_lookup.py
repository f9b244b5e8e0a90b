"""EMBEDDING_LOOKUP: rows of a constant table, by indices that are known only when the network runs. GATHER of the rows
of a constant is read as this, whatever shape its indices have."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.errors import InputError
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.source import Source
from memaopt.problems.embedding import Embedding


class EmbeddingLookup(Layered):
    """Inputs are (indices, table). TFLite does not run where an index is outside; here that is the nearest row.

    ``from_end``: an index below 0 is counted from the table's end, as Keras's Embedding has it.
    """

    kind: ClassVar[str] = "EMBEDDING_LOOKUP"
    version: ClassVar[int] = 3
    arity: ClassVar[tuple[int, int]] = (2, 2)

    from_end: bool = False

    @property
    def fused(self) -> bool:
        return self.from_end or super().fused

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        if source.kind == cls.kind:
            if len(source.tensor(0).shape) != 1:
                raise source.refuse(f"indices of {list(source.tensor(0).shape)}; one axis is supported, as in TFLite")
            return cls(**source.common(source.inputs))
        options = source.options()
        axis, batches = options.get("axis", 0), options.get("batchDims", 0)
        if axis % max(len(source.tensor(0).shape), 1) or batches:
            what = f"axis {axis} of a constant, {batches} batch dimensions, by indices that are computed"
            raise source.refuse(f"{what}; constant indices, or rows (axis 0, no batch dimensions), are supported")
        return cls(**source.common(source.inputs[::-1]))

    def write(self, graph: Graph) -> Form:
        if len(graph.tensor_of(self).shape) != 1:
            raise InputError(f"{graph.place(self)}: no file has an EMBEDDING_LOOKUP of indices of more than one axis")
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
        if len(table.shape) < 2:
            raise self.refuse(graph, f"a table of {list(table.shape)}; two axes or more are supported")
        return (*indices.shape, *table.shape[1:])

    def check_arithmetic(self, graph: Graph) -> None:
        if not graph.tensor_of(self, 1).is_constant:
            raise self.refuse(graph, f"table {graph.tensor_of(self, 1).name!r} is computed; a constant is supported")

    def layer(self, graph: Graph) -> Embedding:
        table = graph.tensor_of(self, 1)
        rows = table.values.astype(np.int8).reshape(table.shape[0], -1)
        return Embedding(graph.tensor_of(self).elements, rows, self.from_end)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return ("indices below 0 from the end",) if self.from_end else ()
