"""REDUCE_MAX and REDUCE_MIN: of what is stored, whatever it means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.reduction import Reduction
from memaopt.problems import geometry, layers
from memaopt.problems.layers import PoolKind


class ReducedExtreme(Reduction, Bounded):
    """What is left to a subclass: which of them."""

    adds_zero_point: ClassVar[bool] = False
    layer_kind: ClassVar[PoolKind]

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands)
        if self.bounds is None:  # with them it gives the bytes of an operator after it, which may mean something else
            self.check_one_quantization(graph)

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        x = arguments[0]
        extreme: Array = x.max(axis=self.axes) if self.layer_kind is PoolKind.MAX else x.min(axis=self.axes)
        return extreme.clip(*self.clamp(graph))

    def lower(self, graph: Graph) -> Lowered | None:
        """A pool over a column where the axes are neighbours, but for axes of size 1."""
        shape, bounds = graph.tensor_of(self).shape, self.clamp(graph)
        large = [axis for axis, size in enumerate(shape) if size > 1]
        reduced = [position for position, axis in enumerate(large) if axis in self.axes]
        if reduced and reduced != list(range(reduced[0], reduced[-1] + 1)):
            return Lowered(layers.Extreme(self.layer_kind, shape, self.axes, *bounds), (self.input,))
        count = self.count(graph)
        channels = math.prod(shape[large[reduced[-1]] + 1 :]) if reduced else graph.output_of(self).elements
        window = geometry.Window(geometry.Pair(count, 1))
        pool = layers.Pool(
            self.layer_kind, geometry.Image(count, 1, channels), geometry.Image(1, 1, channels), window, *bounds
        )
        return Lowered(pool, (self.input,), graph.output_of(self).elements // channels)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*super().words(graph), *self.clamp_words())
