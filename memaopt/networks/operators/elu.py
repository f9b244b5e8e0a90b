"""ELU: exp(x) - 1 below 0."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.floating import Floating


class Elu(Floating):
    kind: ClassVar[str] = "ELU"
    unsigned: ClassVar[bool] = False
    micro: ClassVar[bool] = True

    def real(self, x: np.float32) -> np.float32:
        return float_function("expm1")(float(x)) if x < 0 else x

    def check_table(self, graph: Graph) -> None:
        self.table(graph)
