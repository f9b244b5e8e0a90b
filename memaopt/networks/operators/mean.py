"""MEAN over any axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.bounded import Bounded
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import EVERY_INT8, Array, Links, Lowered, Shape, depth, plain
from memaopt.networks.operators.quantization import SAFE, checked_left_shift, double_rescale
from memaopt.networks.operators.source import Source
from memaopt.problems import layers
from memaopt.problems.step_functions import Rescale


class Mean(Bounded):
    """The mean over ``axes`` (sorted, not negative)."""

    kind: ClassVar[str] = "MEAN"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("ReducerOptions", 27, (Field("keepDims", 1),))

    axes: tuple[int, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        dimensions = len(source.tensor(0).shape)
        axes = source.integers(1, "axes")
        if any(not -dimensions <= axis < dimensions for axis in axes):
            raise source.refuse(f"axes {list(axes)} of {dimensions} dimensions")
        return cls(**source.common(), axes=tuple(sorted({axis % dimensions for axis in axes})))

    def write(self, graph: Graph) -> Form:
        keep = len(graph.output_of(self).shape) == len(graph.tensor_of(self).shape)
        return Form({"axes": self.axes}, {"keepDims": keep})

    def output_shape(self, graph: Graph) -> Shape:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        if any(not 0 <= axis < len(shape) for axis in self.axes):
            raise self.refuse(graph, f"axes {list(self.axes)} of {len(shape)} dimensions")
        if len(output) == len(shape):
            return tuple(1 if axis in self.axes else size for axis, size in enumerate(shape))
        return tuple(size for axis, size in enumerate(shape) if axis not in self.axes)

    def count(self, graph: Graph) -> int:
        """Elements that one output averages."""
        return math.prod(graph.tensor_of(self).shape[axis] for axis in self.axes)

    def rescale(self, graph: Graph) -> Rescale:
        """The division by the count is folded into the multiplier."""
        count = self.count(graph)
        multiplier, shift = double_rescale(graph, self)
        if count * 255 > SAFE:
            raise self.refuse(graph, f"the sum of {count} elements does not fit 32 bits")
        more = min(count.bit_length() - 1, 32, 31 + shift)
        divided = Rescale((multiplier << more) // count, shift - more)
        return checked_left_shift(graph, self, divided, count * 255)

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        """The sum less its zero points, rescaled once."""
        total = arguments[0].sum(axis=self.axes, dtype=np.int64)
        centred = total - graph.tensor_of(self).zero_point * self.count(graph)
        return np.clip(self.rescale(graph).apply(centred) + graph.output_of(self).zero_point, *self.clamp(graph))

    def lower(self, graph: Graph) -> Lowered | None:
        x, rescale = graph.tensor_of(self), self.rescale(graph)
        q = layers.Requantization(
            graph.output_of(self).zero_point,
            *self.clamp(graph),
            multipliers=np.array([rescale.multiplier], np.int64),
            shifts=np.array([rescale.shift], np.int64),
        )
        return Lowered(layers.Mean(x.shape, self.axes, x.zero_point, q), (self.input,))

    def links(self, graph: Graph) -> Links | None:
        if len(graph.tensor_of(self).shape) - 1 in self.axes:
            return None
        return {self.input: np.arange(depth(graph.output_of(self)))}

    def in_place(self, graph: Graph) -> tuple[int, ...]:
        del graph
        return ()

    def is_identity(self, graph: Graph) -> bool:
        x, y = graph.tensor_of(self), graph.output_of(self)
        if x.elements != y.elements or not y.shape or 0 in self.axes:
            return False
        return np.array_equal(self.on_every_byte(graph), EVERY_INT8)

    def words(self, graph: Graph) -> tuple[str, ...]:
        del graph
        return (f"axes {plain(self.axes)}", *self.clamp_words())
