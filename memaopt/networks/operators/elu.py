"""ELU: exp(x) - 1 below 0; of int8 the exponential is a float before 1 goes from it, as in TFLite Micro."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.unary import float_table


class Elu(Floating):
    kind: ClassVar[str] = "ELU"
    unsigned: ClassVar[bool] = False
    micro: ClassVar[bool] = True

    def real(self, x: np.float32) -> np.float32:
        return float_function("expm1")(float(x)) if x < 0 else x

    def table(self, graph: Graph) -> Int8Table:
        return float_table(graph, self, _of_int8)

    def check_table(self, graph: Graph) -> None:
        self.table(graph)


def _of_int8(x: np.float32) -> np.float32:
    return float_function("exp")(float(x)) - np.float32(1) if x < 0 else x
