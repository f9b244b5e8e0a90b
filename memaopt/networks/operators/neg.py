"""NEG."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.operator import EVERY_INT8


class Neg(Floating):
    """TFLite negates the bytes, whatever their scales and zero points, and -128 stays."""

    kind: ClassVar[str] = "NEG"
    unsigned: ClassVar[bool] = False
    counts_scale: ClassVar[bool] = False

    def real(self, x: np.float32) -> np.float32:
        return np.float32(np.negative(x))

    def table(self, graph: Graph) -> Int8Table:
        return np.negative(EVERY_INT8)

    def check_table(self, graph: Graph) -> None:
        """There is none."""
