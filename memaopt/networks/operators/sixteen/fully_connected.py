"""FULLY_CONNECTED of int16 activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.fully_connected import FullyConnected
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.quantization import SAFE
from memaopt.networks.operators.sixteen import weighted
from memaopt.networks.operators.sixteen.activations import clamp16
from memaopt.networks.operators.source import Source
from memaopt.problems.sixteen import FullyConnected16


class FullyConnected16x8(FullyConnected):
    """``narrow``: sums are int32, as a file says that has no bias; with one, its type says it."""

    kind: ClassVar[str] = "FULLY_CONNECTED"

    narrow: bool = False

    @classmethod
    def read(cls, source: Source) -> Self:
        return super().read(source).model_copy(update={"narrow": weighted.says_narrow(source)})

    def write(self, graph: Graph) -> Form:
        form = super().write(graph)
        return form._replace(options={**form.options, **weighted.narrow_option(self.of_int32(graph))})

    def of_int32(self, graph: Graph) -> bool:
        """Whether sums are int32."""
        return self.narrow if self.bias is None else graph.tensors[self.bias].dtype is DType.INT32

    def sums_dtype(self, graph: Graph) -> DType:
        return DType.INT32 if self.of_int32(graph) else DType.INT64

    def check_types(self, graph: Graph) -> None:
        weighted.check_types(graph, self)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        weighted.check_scales(graph, self)

    def scales(self, graph: Graph) -> npt.NDArray[np.float64]:
        scales = self.weight_scales(graph)
        weights = np.abs(graph.tensors[self.weights].values.astype(np.float64)).sum(axis=1)
        most = ((weights * 2.0**15 + np.abs(self.bias_values(graph))) * scales).max()
        if not most <= SAFE:
            raise self.refuse(graph, f"a rescaled sum can reach {most:g}, which does not fit 32 bits")
        return scales

    def check_arithmetic(self, graph: Graph) -> None:
        if self.of_int32(graph):
            weighted.check_int32(graph, self, np.zeros(1, np.int64))
        self.scales(graph)
        clamp16(graph, self)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        scaled = fixedpoint.requantize_in_double(self.accumulators(graph, arguments[0]), self.scales(graph))
        return np.clip(scaled, *clamp16(graph, self))

    def lower(self, graph: Graph) -> Lowered | None:
        weights = graph.tensors[self.weights].values
        rows = graph.tensor_of(self).elements // weights.shape[1]
        clamp = clamp16(graph, self)
        bias, scales = self.bias_values(graph), self.scales(graph)
        layer = FullyConnected16(rows, weights, bias, scales, clamp, self.of_int32(graph))
        return Lowered(layer, (self.input,))
