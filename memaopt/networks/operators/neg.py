"""NEG."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.unary import Unary


class Neg(Unary):
    """TFLite negates the bytes, whatever their scales and zero points, and -128 stays."""

    kind: ClassVar[str] = "NEG"
    counts_scale: ClassVar[bool] = False

    def table(self, graph: Graph) -> Int8Table:
        del graph
        return np.negative(EVERY_INT8)

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""
