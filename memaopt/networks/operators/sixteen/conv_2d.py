"""CONV_2D of int16 activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint16 import multiply_wide
from memaopt.networks.graph import Graph
from memaopt.networks.operators.conv_2d import Conv2D
from memaopt.networks.operators.convolution import image_of
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.sixteen import weighted
from memaopt.networks.operators.sixteen.activations import clamp16
from memaopt.problems.sixteen import Conv16


class Conv2D16(Conv2D):
    kind: ClassVar[str] = "CONV_2D"

    def check_types(self, graph: Graph) -> None:
        weighted.check_types(graph, self)
        if self.bias is None:
            raise self.refuse(graph, "no bias; TFLite then sums in a type that the file does not say")

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        del operands
        weighted.check_scales(graph, self)

    def multipliers(self, graph: Graph) -> tuple[fixedpoint.Int64Array, fixedpoint.Int64Array]:
        scales = self.weight_scales(graph)
        if not np.isfinite(scales).all() or scales.max() >= 2.0**7:
            raise self.refuse(graph, f"the ratio of scales {scales.max():g} is out of range; 2^7 is supported")
        if self.groups(graph) > 1:
            raise self.refuse(graph, "groups on int16; one is supported")
        return fixedpoint.quantize_multipliers(scales)

    def check_arithmetic(self, graph: Graph) -> None:
        self.multipliers(graph)
        clamp16(graph, self)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        scaled = multiply_wide(self.accumulators(graph, arguments[0]), *self.multipliers(graph))
        return np.clip(scaled, *clamp16(graph, self))

    def lower(self, graph: Graph) -> Lowered | None:
        x, y, window = graph.tensor_of(self), graph.output_of(self), self.window(graph).layer()
        weights, bias, clamp = graph.tensors[self.weights].values, self.bias_values(graph), clamp16(graph, self)
        layer = Conv16(image_of(x), image_of(y), weights, bias, window, *self.multipliers(graph), clamp)
        return Lowered(layer, (self.input,), x.shape[0])
