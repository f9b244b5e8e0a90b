"""MEAN and SUM: the elements along some axes, less their zero points, added and rescaled once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.quantization import SAFE
from memaopt.networks.operators.reduction import Reduction
from memaopt.problems import layers, step_functions
from memaopt.problems.step_functions import Rescale


class Summed(Reduction, Bounded):
    """What is left to a subclass: the factor of the sum. ``even``: the sum is rounded as ONNX has it, which no .tflite
    file does."""

    even: bool = False

    @property
    def fused(self) -> bool:
        return self.even or super().fused

    @abstractmethod
    def rescale(self, graph: Graph) -> Rescale:
        """The factor; UnsupportedModelError if a sum leaves 32 bits on the way."""

    def requantization(self, graph: Graph) -> step_functions.Requantization:
        """How a sum becomes an output. ONNX's scale is input_scale / (output_scale * count), in float32."""
        y = graph.output_of(self)
        if not self.even:
            rescale = self.rescale(graph)
            multipliers, shifts = np.array([rescale.multiplier], np.int64), np.array([rescale.shift], np.int64)
            return step_functions.Requantization(
                y.zero_point, *self.clamp(graph), multipliers=multipliers, shifts=shifts
            )
        with np.errstate(over="ignore", under="ignore"):
            scale = graph.tensor_of(self).scale / (y.scale * np.float32(self.count(graph)))
        if not np.isfinite(scale) or float(scale) * self.count(graph) * 255 > SAFE:
            raise self.refuse(graph, f"a rescaled sum of {self.count(graph)} elements does not fit 32 bits")
        scales = np.array([scale], np.float64)
        return step_functions.Requantization(y.zero_point, *self.clamp(graph), scales=scales, even=True)

    def check_arithmetic(self, graph: Graph) -> None:
        self.requantization(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        total = arguments[0].sum(axis=self.axes, dtype=np.int64)
        centred = total - graph.tensor_of(self).zero_point * self.count(graph)
        return self.requantization(graph).apply(centred[..., None])[..., 0]

    def lower(self, graph: Graph) -> Lowered | None:
        x = graph.tensor_of(self)
        return Lowered(layers.Mean(x.shape, self.axes, x.zero_point, self.requantization(graph)), (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*super().words(graph), *self.clamp_words())
