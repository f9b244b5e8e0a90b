"""CAST: the integer itself in another type, whatever it means; of constants, and of int8 and bool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.folded import is_known
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import EVERY_INT8, Array, Links, Lowered
from memaopt.networks.operators.source import Source
from memaopt.problems import layers
from memaopt.problems.sixteen import Rescaled
from memaopt.problems.step_functions import Rescale

_BYTES = (DType.INT8, DType.BOOL)
_ITSELF = Rescale(1 << 30, 1)


class Cast(Alike):
    kind: ClassVar[str] = "CAST"
    unsigned: ClassVar[bool] = False
    options: ClassVar[Options | None] = Options(
        "CastOptions", 37, (Field("inDataType", 1, "TensorType"), Field("outDataType", 1, "TensorType"))
    )
    counts_scale: ClassVar[bool] = False

    @classmethod
    def known(cls, source: Source) -> Array | None:
        source.expect(1, 1)
        return source.tensor(0).values if is_known(source.tensor(0)) else None

    def write(self, graph: Graph) -> Form:
        both = graph.tensor_of(self).dtype.name, graph.output_of(self).dtype.name
        return Form(options=dict(zip(("inDataType", "outDataType"), both, strict=True)))

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", *_BYTES)
        self.expect(graph, self.output, "output", *_BYTES, DType.INT16, DType.INT32, DType.FLOAT32)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """None counts."""

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return arguments[0].astype(graph.output_of(self).dtype.value)

    def lower(self, graph: Graph) -> Lowered | None:
        x, y = graph.tensor_of(self), graph.output_of(self)
        if y.dtype is DType.FLOAT32:
            return Lowered(layers.FloatLookup(y.elements, EVERY_INT8.astype(np.float32)), (self.input,))
        if y.dtype.itemsize > 1:
            return Lowered(Rescaled(x.elements, 1, y.dtype.itemsize, 0, _ITSELF, 0), (self.input,))
        table = (EVERY_INT8 != 0).astype(np.int8) if y.dtype is DType.BOOL else EVERY_INT8
        return Lowered(layers.Lookup(y.elements, table), (self.input,))

    def in_place(self, graph: Graph) -> tuple[int, ...]:
        return (0,) if graph.output_of(self).dtype in _BYTES and not graph.tensor_of(self).is_constant else ()

    def is_identity(self, graph: Graph) -> bool:
        return graph.tensor_of(self).dtype is graph.output_of(self).dtype

    def links(self, graph: Graph) -> Links | None:
        return None
