"""AVERAGE_POOL_2D: the mean over the part of the window that lies inside the image; no rescaling."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.pool import Pool2D
from memaopt.problems.layers import PoolKind


class AveragePool2D(Pool2D):
    kind: ClassVar[str] = "AVERAGE_POOL_2D"
    layer_kind: ClassVar[PoolKind] = PoolKind.AVERAGE

    @staticmethod
    def reduce(part: Array) -> Array:
        """The rounded mean of the stored values (ties away from zero), without their zero point."""
        count = part.shape[1] * part.shape[2]
        total = part.sum(axis=(1, 2), dtype=np.int64)
        rounded: Array = np.sign(total) * ((np.abs(total) + count // 2) // count)
        return rounded
