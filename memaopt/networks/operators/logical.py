"""LOGICAL_AND and LOGICAL_OR: of bytes that are 0 or 1 the lesser or the greater."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.extreme import Extreme
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Links


class Logical(Extreme):
    """What is left to a subclass: which of two."""

    version: ClassVar[int] = 1
    dtypes: ClassVar[tuple[DType, ...]] = (DType.BOOL,)
    counts_scale: ClassVar[bool] = False

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """There are none."""

    def write(self, graph: Graph) -> Form:
        return Form()

    def links(self, graph: Graph) -> Links | None:
        return None
