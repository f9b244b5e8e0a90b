"""SQRT."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.quantization import INT8_MAX, INT8_MIN
from memaopt.networks.operators.unary import centred, check_no_negatives, check_steps


class Sqrt(Floating):
    kind: ClassVar[str] = "SQRT"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def real(self, x: np.float32) -> np.float32:
        return np.float32(np.sqrt(x))

    def table(self, graph: Graph) -> Int8Table:
        """In float, and truncated."""
        x, y = graph.tensor_of(self), graph.output_of(self)
        steps = np.sqrt(x.scale * centred(graph, self).astype(np.float32)) / y.scale
        check_steps(graph, self, steps)
        table: Int8Table = np.clip(np.trunc(steps).astype(np.int64) + y.zero_point, INT8_MIN, INT8_MAX).astype(np.int8)
        return table

    def check_table(self, graph: Graph) -> None:
        check_no_negatives(graph, self)
        self.table(graph)
