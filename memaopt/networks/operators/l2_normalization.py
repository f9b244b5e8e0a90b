"""L2_NORMALIZATION along the last axis, in fixed point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt import fixedpoint
from memaopt.networks.graph import Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.form import ACTIVATION, Form, Options
from memaopt.networks.operators.operator import Array, Lowered, depth
from memaopt.networks.operators.source import Source
from memaopt.problems import layers

_LOG_STEPS, _MOST = 7, 1 << 29


class L2Normalization(Alike):
    """Outputs are in 1/128."""

    kind: ClassVar[str] = "L2_NORMALIZATION"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("L2NormOptions", 12, (ACTIVATION,))

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        if source.activation(source.options()) is not Activation.NONE:
            raise source.refuse("a fused activation; none is supported, as in TFLite")
        return cls(**source.common())

    def write(self, graph: Graph) -> Form:
        return Form(options={ACTIVATION.name: Activation.NONE.name})

    def check_arithmetic(self, graph: Graph) -> None:
        x, y = graph.tensor_of(self), graph.output_of(self)
        if y.scale != np.float32(1 / 128) or y.zero_point:
            problem = f"output scale {y.scale:g} and zero point {y.zero_point}; 1/128 and 0 are supported, as in TFLite"
            raise self.refuse(graph, problem)
        if not 1 <= len(x.shape) <= 4 or depth(x) * 255 * 255 >= _MOST:
            raise self.refuse(graph, f"{x.describe()}; up to 4 dimensions and {_MOST // 255**2} channels are supported")

    def work(self, graph: Graph) -> int:
        return 2 * graph.output_of(self).elements

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        x = graph.tensor_of(self)
        rows = arguments[0].reshape(-1, depth(x)).astype(np.int64) - x.zero_point
        squares = (rows * rows).sum(axis=1)
        roots = [fixedpoint.inverse_square_root(max(int(total), 1)) for total in squares]
        scaled = [
            fixedpoint.multiply_by_quantized_multiplier(row, multiplier, shift + _LOG_STEPS)
            for row, (multiplier, shift) in zip(rows, roots, strict=True)
        ]
        return np.clip(np.stack(scaled), -128, 127)

    def lower(self, graph: Graph) -> Lowered | None:
        x = graph.tensor_of(self)
        return Lowered(layers.L2Norm(x.elements // depth(x), depth(x), x.zero_point), (self.input,))
