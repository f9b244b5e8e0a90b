"""MAX_POOL_2D."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.pool import Pool2D
from memaopt.problems.layers import PoolKind


class MaxPool2D(Pool2D):
    kind: ClassVar[str] = "MAX_POOL_2D"
    layer_kind: ClassVar[PoolKind] = PoolKind.MAX

    def reduce(self, part: Array) -> Array:
        greatest: Array = part.max(axis=(1, 2))
        return greatest
