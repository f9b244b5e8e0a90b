"""ABS."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.quantization import INT8_MAX, INT8_MIN, float_rescale
from memaopt.networks.operators.unary import centred


class Abs(Floating):
    kind: ClassVar[str] = "ABS"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def real(self, x: np.float32) -> np.float32:
        return np.float32(np.abs(x))

    def table(self, graph: Graph) -> Int8Table:
        """The magnitude above the input's zero point, rescaled unless the scales are the same."""
        x, y, magnitude = graph.tensor_of(self), graph.output_of(self), np.abs(centred(graph, self))
        scaled = magnitude if x.scale == y.scale else float_rescale(graph, self).apply(magnitude)
        return np.clip(scaled + y.zero_point, INT8_MIN, INT8_MAX).astype(np.int8)

    def check_table(self, graph: Graph) -> None:
        float_rescale(graph, self)
