"""BATCH_MATMUL of two tensors, their matrices transposed or not, batches broadcast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape
from memaopt.networks.operators.quantization import SAFE, checked_left_shift, rescale
from memaopt.networks.operators.source import Source
from memaopt.problems import geometry, layers, step_functions
from memaopt.problems.step_functions import Rescale


class BatchMatmul(Operator):
    """``transposed``: which of the two inputs' matrices are."""

    kind: ClassVar[str] = "BATCH_MATMUL"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("BatchMatMulOptions", 101, (Field("adjX", 1), Field("adjY", 1)))
    arity: ClassVar[tuple[int, int]] = (2, 2)

    transposed: tuple[bool, bool] = (False, False)

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        options = source.options()
        transposed = (bool(options.get("adjX", False)), bool(options.get("adjY", False)))
        return cls(**source.common(source.inputs), transposed=transposed)

    def write(self, graph: Graph) -> Form:
        return Form(options=dict(zip(("adjX", "adjY"), self.transposed, strict=True)))

    def matrices(self, graph: Graph) -> tuple[Shape, Shape]:
        """The shapes of the inputs, [..., M, K] and [..., K, N]."""
        shapes = []
        for position, transposed in enumerate(self.transposed):
            shape = graph.tensor_of(self, position).shape
            if not 2 <= len(shape) <= 5:
                raise self.refuse(graph, f"a tensor of {len(shape)} dimensions; 2 to 5 are supported")
            shapes.append((*shape[:-2], shape[-1], shape[-2]) if transposed else shape)
        return shapes[0], shapes[1]

    def output_shape(self, graph: Graph) -> Shape:
        first, second = self.matrices(graph)
        try:
            batches = np.broadcast_shapes(first[:-2], second[:-2])
        except ValueError:
            batches = None
        if first[-1] != second[-2] or batches is None:
            raise self.refuse(graph, f"matrices {list(first)} and {list(second)} do not go together")
        return (*(int(n) for n in batches), first[-2], second[-1])

    def rescale(self, graph: Graph) -> Rescale:
        """The product of the scales in float, over the output's."""
        depth = self.matrices(graph)[0][-1]
        with np.errstate(over="ignore", under="ignore"):
            product = graph.tensor_of(self, 0).scale * graph.tensor_of(self, 1).scale
        if depth * 255 * 255 > SAFE:
            raise self.refuse(graph, f"the sum of {depth} products does not fit 32 bits")
        factor = rescale(graph, self, float(product) / float(graph.output_of(self).scale))
        return checked_left_shift(graph, self, factor, depth * 255 * 255)

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)

    def macs(self, graph: Graph) -> int:
        return graph.output_of(self).elements * self.matrices(graph)[0][-1]

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        """Products are summed in float64, which is exact: the checks bound them by 2^31."""
        a, b = (
            (x.astype(np.float64) - graph.tensor_of(self, position).zero_point) for position, x in enumerate(arguments)
        )
        first, second = (
            x.swapaxes(-1, -2) if transposed else x for x, transposed in zip((a, b), self.transposed, strict=True)
        )
        scaled = self.rescale(graph).apply(np.matmul(first, second).astype(np.int64))
        return np.clip(scaled + graph.output_of(self).zero_point, -128, 127)

    def lower(self, graph: Graph) -> Lowered | None:
        return self._as_convolution(graph) or self._as_product(graph)

    def _as_convolution(self, graph: Graph) -> Lowered | None:
        """One constant matrix, without a zero point, is the weights of a 1x1 convolution along a line."""
        x, constant = graph.tensor_of(self), graph.tensor_of(self, 1)
        first, second = self.matrices(graph)
        if not constant.is_constant or constant.zero_point or math.prod(second[:-2]) > 1 or self.transposed[0]:
            return None
        matrix = constant.values.reshape(constant.shape[-2:])
        weights = np.ascontiguousarray(matrix if self.transposed[1] else matrix.T)
        outputs, depth = weights.shape
        r, line = self.rescale(graph), math.prod(first[:-1])
        layer = layers.Conv(
            geometry.Image(1, line, depth),
            geometry.Image(1, line, outputs),
            weights.reshape(outputs, 1, 1, depth),
            np.zeros(outputs, np.int64),
            geometry.Window(geometry.Pair(1, 1)),
            x.zero_point,
            step_functions.Requantization(
                graph.output_of(self).zero_point,
                multipliers=np.full(outputs, r.multiplier, np.int64),
                shifts=np.full(outputs, r.shift, np.int64),
            ),
        )
        return Lowered(layer, (self.input,))

    def _as_product(self, graph: Graph) -> Lowered:
        first, second = graph.tensor_of(self, 0), graph.tensor_of(self, 1)
        layer = layers.MatMul(
            first.shape,
            second.shape,
            self.transposed,
            first.zero_point,
            second.zero_point,
            graph.output_of(self).zero_point,
            self.rescale(graph),
        )
        return Lowered(layer, self.inputs)

    def words(self, graph: Graph) -> tuple[str, ...]:
        names = zip(("first", "second"), self.transposed, strict=True)
        return tuple(f"{name} transposed" for name, given in names if given)
