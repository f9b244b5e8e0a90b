"""MEAN and SUM: the elements along some axes, less their zero points, added and rescaled once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.reduction import Reduction
from memaopt.problems import layers, step_functions
from memaopt.problems.step_functions import Rescale


class Summed(Reduction, Bounded):
    """What is left to a subclass: the factor of the sum."""

    @abstractmethod
    def rescale(self, graph: Graph) -> Rescale:
        """The factor; UnsupportedModelError if a sum leaves 32 bits on the way."""

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        total = arguments[0].sum(axis=self.axes, dtype=np.int64)
        centred = total - graph.tensor_of(self).zero_point * self.count(graph)
        return np.clip(self.rescale(graph).apply(centred) + graph.output_of(self).zero_point, *self.clamp(graph))

    def lower(self, graph: Graph) -> Lowered | None:
        x, rescale = graph.tensor_of(self), self.rescale(graph)
        q = step_functions.Requantization(
            graph.output_of(self).zero_point,
            *self.clamp(graph),
            multipliers=np.array([rescale.multiplier], np.int64),
            shifts=np.array([rescale.shift], np.int64),
        )
        return Lowered(layers.Mean(x.shape, self.axes, x.zero_point, q), (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*super().words(graph), *self.clamp_words())
