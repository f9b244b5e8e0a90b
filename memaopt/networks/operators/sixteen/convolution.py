"""Convolutions of int16 activations: sums of int64 rescaled once, or of int32 rescaled twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint16 import multiply_wide
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.convolution import Convolution, image_of
from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.sixteen import weighted
from memaopt.networks.operators.sixteen.activations import clamp16
from memaopt.networks.operators.source import Source


class Convolution16(Convolution):
    """``narrow``: sums are int32, as a file says that has no bias; with one, its type says it."""

    narrow: bool = False

    @classmethod
    def read(cls, source: Source) -> Self:
        return super().read(source).model_copy(update={"narrow": weighted.says_narrow(source)})

    def convolution_options(self, graph: Graph) -> dict[str, Any]:
        return {**super().convolution_options(graph), **weighted.narrow_option(self.of_int32(graph))}

    def of_int32(self, graph: Graph) -> bool:
        """Whether sums are int32."""
        return self.narrow if self.bias is None else graph.tensors[self.bias].dtype is DType.INT32

    def sums_dtype(self, graph: Graph) -> DType:
        return DType.INT32 if self.of_int32(graph) else DType.INT64

    def check_types(self, graph: Graph) -> None:
        weighted.check_types(graph, self)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        weighted.check_scales(graph, self)

    def multipliers(self, graph: Graph) -> tuple[fixedpoint.Int64Array, fixedpoint.Int64Array]:
        scales = self.weight_scales(graph)
        limit = 30 if self.of_int32(graph) else 7
        if not np.isfinite(scales).all() or scales.max() >= 2.0**limit:
            raise self.refuse(graph, f"the ratio of scales {scales.max():g} is out of range; 2^{limit} is supported")
        multipliers, shifts = fixedpoint.quantize_multipliers(scales)
        if self.of_int32(graph):
            weighted.check_int32(graph, self, shifts)
        return multipliers, shifts

    def check_arithmetic(self, graph: Graph) -> None:
        self.multipliers(graph)
        clamp16(graph, self)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        rescaled = fixedpoint.multiply_by_quantized_multiplier if self.of_int32(graph) else multiply_wide
        scaled = rescaled(self.accumulators(graph, arguments[0]), *self.multipliers(graph))
        return np.clip(scaled, *clamp16(graph, self))

    def parts16(self, graph: Graph) -> dict[str, Any]:
        """What the layers of both have."""
        multipliers, shifts = self.multipliers(graph)
        return {
            "shape": image_of(graph.tensor_of(self)),
            "output": image_of(graph.output_of(self)),
            "bias": self.bias_values(graph),
            "window": self.window(graph).layer(),
            "multipliers": multipliers,
            "shifts": shifts,
            "clamp": clamp16(graph, self),
            "narrow": self.of_int32(graph),
        }
