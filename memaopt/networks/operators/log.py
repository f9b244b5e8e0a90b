"""LOG."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.unary import float_table


class Log(Floating):
    kind: ClassVar[str] = "LOG"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def real(self, x: np.float32) -> np.float32:
        return float_function("log")(float(x))

    def table(self, graph: Graph) -> Int8Table:
        """What is not above 0 gives the least output."""
        log, output = float_function("log"), graph.output_of(self)
        least = np.float32(-128 - output.zero_point) * output.scale
        return float_table(graph, self, lambda x: log(float(x)) if x > 0 else least)

    def check_table(self, graph: Graph) -> None:
        self.table(graph)
