"""QUANTIZE between int16 and int8, int16 or int32 of another scale, and from float32 to int16."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.quantization import checked_left_shift, rescale
from memaopt.problems.sixteen import FromFloat16, Rescaled


class Quantize16(Layered, Alike):
    """No table: an int16 has too many values."""

    kind: ClassVar[str] = "QUANTIZE"
    version: ClassVar[int] = 3

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT16, DType.INT8, DType.FLOAT32)
        wide = graph.tensor_of(self).dtype is DType.INT16
        self.expect(graph, self.output, "output", DType.INT16, *((DType.INT8, DType.INT32) if wide else ()))

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        both = [graph.tensors[t] for t in (*operands, self.output) if graph.tensors[t].dtype is not DType.FLOAT32]
        for tensor in both:
            held = np.iinfo(tensor.dtype.value)
            if len(tensor.scales) != 1 or not 0 < tensor.scale < np.inf:
                raise self.refuse(graph, f"{tensor.name!r} needs one positive scale")
            if not held.min <= tensor.zero_point <= held.max:
                raise self.refuse(graph, f"zero point {tensor.zero_point} of {tensor.name!r} is not {tensor.dtype}")
        if all(tensor.dtype is DType.INT16 for tensor in both) and any(tensor.zero_point for tensor in both):
            raise self.refuse(graph, "a zero point from int16 or float32 to int16; 0 is supported, as in TFLite")

    def check_arithmetic(self, graph: Graph) -> None:
        x = graph.tensor_of(self)
        if x.dtype is DType.FLOAT32:
            return
        widest = abs(x.zero_point) + (1 << (8 * x.dtype.itemsize - 1))
        checked_left_shift(graph, self, self._rescaled(graph).result, widest + abs(graph.output_of(self).zero_point))

    def layer(self, graph: Graph) -> Rescaled | FromFloat16:
        y = graph.output_of(self)
        wide = graph.tensor_of(self).dtype is not DType.FLOAT32
        return self._rescaled(graph) if wide else FromFloat16(y.elements, float(y.scale))

    def _rescaled(self, graph: Graph) -> Rescaled:
        """The ratio of scales is taken in double."""
        x, y = graph.tensor_of(self), graph.output_of(self)
        factor = rescale(graph, self, float(x.scale) / float(y.scale))
        return Rescaled(x.elements, x.dtype.itemsize, y.dtype.itemsize, x.zero_point, factor, y.zero_point)
