"""EXP."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.floating import Floating


class Exp(Floating):
    kind: ClassVar[str] = "EXP"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def real(self, x: np.float32) -> np.float32:
        return float_function("exp")(float(x))

    def check_table(self, graph: Graph) -> None:
        self.table(graph)
