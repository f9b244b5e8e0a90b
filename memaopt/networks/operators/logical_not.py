"""LOGICAL_NOT: 1 where there is 0."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.unary import Unary


class LogicalNot(Unary):
    kind: ClassVar[str] = "LOGICAL_NOT"
    options: ClassVar[Options | None] = Options("LogicalNotOptions", 63, ())
    dtypes: ClassVar[tuple[DType, ...]] = (DType.BOOL,)

    def table(self, graph: Graph) -> Int8Table:
        table: Int8Table = (EVERY_INT8 == 0).astype(np.int8)
        return table

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""
