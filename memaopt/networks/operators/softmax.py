"""SOFTMAX along the last axis, in fixed point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import Array, Lowered, depth, plain
from memaopt.networks.operators.source import Source
from memaopt.problems import layers

_MAX_DEPTH = 4095


class Softmax(Alike):
    kind: ClassVar[str] = "SOFTMAX"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("SoftmaxOptions", 9, (Field("beta", 4, real=True),))

    beta: float = 1.0

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        return cls(**source.common(), beta=source.required("SoftmaxOptions")["beta"])

    def write(self, graph: Graph) -> Form:
        return Form(options={"beta": self.beta})

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT8)
        self.expect(graph, self.output, "output", DType.INT8, DType.INT16)

    def rescale(self, graph: Graph) -> tuple[int, int]:
        """Beta and the input's scale as a multiplier and a left shift to 5 integer bits."""
        scale = float(graph.tensor_of(self).scale)
        real = min(float(np.float32(self.beta)) * scale * (1 << 26), 2.0**31 - 1)
        if not real > 1.0:
            raise self.refuse(graph, f"beta * input scale = {real / (1 << 26):g} is not above 2^-26, as it must be")
        return fixedpoint.quantize_multiplier(real)

    def check_arithmetic(self, graph: Graph) -> None:
        self.rescale(graph)
        shape, output = graph.tensor_of(self).shape, graph.output_of(self)
        bits = 8 * output.dtype.itemsize
        least = -(1 << (bits - 1))
        if output.zero_point != least or abs(float(output.scale) * (1 << bits) - 1) > 0.001:
            raise self.refuse(
                graph,
                f"output scale {output.scale:g}, zero point {output.zero_point}; "
                f"1/{1 << bits} and {least} are supported, as in TFLite",
            )
        if shape[-1:] == () or shape[-1] > _MAX_DEPTH:
            raise self.refuse(graph, f"a last axis of 1 to {_MAX_DEPTH} is supported, not {list(shape)}")

    def layer(self, graph: Graph) -> layers.Softmax:
        """The layer, whose exponentials are the reference's: differences below the least count as exp(x) = 0."""
        x, (multiplier, left_shift) = graph.tensor_of(self), self.rescale(graph)
        bits = 8 * graph.output_of(self).dtype.itemsize
        least = -math.floor(31.0 * (1 << 26) / (1 << left_shift))
        return layers.Softmax(x.elements // depth(x), depth(x), multiplier, left_shift, least, bits)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        """Fixed-point exponentials in Q0.31, summed in Q12.19, times the reciprocal of the sum."""
        layer, values = self.layer(graph), arguments[0].astype(np.int64)
        low, high = layer.output_bounds
        differences = values - values.max(axis=-1, keepdims=True)
        exponentials = layer.exponentials[-differences]
        skipped = differences < layer.least_difference
        terms = np.where(skipped, 0, fixedpoint.rounding_divide_by_pot(exponentials, 12))
        total: Int64Array = terms.sum(axis=-1, keepdims=True)
        # total = (1 + fraction) * 2^(31 - headroom); the reciprocal is taken of 1 + fraction
        headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        fraction = (total << headroom) - (1 << 31)
        reciprocal = fixedpoint.one_over_one_plus_x(fraction)
        product = fixedpoint.saturating_rounding_doubling_high_mul(reciprocal, exponentials)
        scaled = fixedpoint.rounding_divide_by_pot(product, 12 - headroom + 31 - layer.output_bits)
        return np.where(skipped, low, np.clip(scaled + low, low, high))

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer(graph), (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"beta {plain(self.beta)}",)
