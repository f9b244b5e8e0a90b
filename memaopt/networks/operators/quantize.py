"""QUANTIZE: float32 to int8, or between int8 and uint8 with another scale and zero point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt import fixedpoint
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.quantization import double_rescale
from memaopt.networks.operators.unary import Unary, centred
from memaopt.problems import layers


class Quantize(Unary):
    """From bytes it is a table; from float32 an end of the network. ``even``: ties of floats go to even, as ONNX has
    it; no .tflite file does."""

    kind: ClassVar[str] = "QUANTIZE"
    version: ClassVar[int] = 2

    even: bool = False

    @property
    def fused(self) -> bool:
        return self.even or super().fused

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.FLOAT32, DType.INT8, DType.UINT8)
        uint8 = (DType.UINT8,) if graph.tensor_of(self).dtype.is_byte else ()
        self.expect(graph, self.output, "output", DType.INT8, *uint8)

    def check_arithmetic(self, graph: Graph) -> None:
        if len(graph.tensor_of(self).scales):
            double_rescale(graph, self)

    def table(self, graph: Graph) -> Int8Table:
        y = graph.output_of(self)
        scaled = double_rescale(graph, self).apply(centred(graph, self)) + y.zero_point
        held = np.iinfo(y.dtype.value)
        return np.clip(scaled, held.min, held.max).astype(y.dtype.value).view(np.int8)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        """From float32: round(x / scale) in float. NaN gives the zero point; values beyond
        32 bits saturate (TFLite leaves both undefined)."""
        if arguments[0].dtype != np.float32:
            return super().evaluate(graph, arguments)
        output = graph.output_of(self)
        return fixedpoint.quantized(arguments[0], float(output.scale), output.zero_point, even=self.even)

    def lower(self, graph: Graph) -> Lowered | None:
        if graph.tensor_of(self).dtype is not DType.FLOAT32:
            return super().lower(graph)
        output = graph.output_of(self)
        layer = layers.Quantize(output.elements, float(output.scale), output.zero_point, self.even)
        return Lowered(layer, (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return ("ties to even",) if self.even else ()
