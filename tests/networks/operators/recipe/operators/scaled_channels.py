"""SCALED_CHANNELS, the recipe's operator with weights: each channel times a weight of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import depth
from memaopt.networks.operators.quantization import checked_left_shift, rescale
from memaopt.networks.operators.source import Source
from memaopt.problems.content import ByContent
from memaopt.problems.layer import OfElements
from memaopt.problems.operands import Operands
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, Rescale


@dataclass(frozen=True, eq=False)
class ScaledChannels(OfElements, ByContent):
    """The layer: (x - input_zero_point) * weight of its channel, rescaled."""

    elements: int
    weights: npt.NDArray[np.int8]
    input_zero_point: int
    zero_point: int
    result: Rescale

    @property
    def operands(self) -> Operands:
        return Operands((self.elements,), self.elements, self.weights.size)

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs [positions, channels]."""
        values = np.asarray(x, np.int64).reshape(-1, self.weights.size) - self.input_zero_point
        outputs: Int64Array = np.clip(self.result.apply(values * self.weights) + self.zero_point, INT8_MIN, INT8_MAX)
        return outputs


class ScaleChannels(Layered, Alike):
    """Inputs are (input, weights [channels]). No file has the like: it is read by the name of an operator that is not
    supported, whose arithmetic is another."""

    kind: ClassVar[str] = "LOCAL_RESPONSE_NORMALIZATION"
    arity: ClassVar[tuple[int, int]] = (2, 2)

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        return cls(**source.common(source.inputs))

    def layer(self, graph: Graph) -> ScaledChannels:
        x, weights, y = graph.tensor_of(self), graph.tensor_of(self, 1), graph.output_of(self)
        factor = rescale(graph, self, float(x.scale) * float(weights.scale) / float(y.scale))
        return ScaledChannels(y.elements, weights.values, x.zero_point, y.zero_point, factor)

    def check_arithmetic(self, graph: Graph) -> None:
        weights = graph.tensor_of(self, 1)
        if not weights.is_constant or weights.shape != (depth(graph.tensor_of(self)),) or weights.zero_point:
            raise self.refuse(graph, "weights are a constant of each channel, with zero point 0")
        checked_left_shift(graph, self, self.layer(graph).result, 255 * 128)

    def macs(self, graph: Graph) -> int:
        return graph.output_of(self).elements
