"""AVERAGE_POOL_2D of int16 activations."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.fixedpoint16 import INT16_MAX, INT16_MIN
from memaopt.networks.operators.average_pool_2d import AveragePool2D
from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.sixteen.pool import Pool16x8
from memaopt.problems.step_functions import Average


class AveragePool2D16(Pool16x8, AveragePool2D):
    kind: ClassVar[str] = "AVERAGE_POOL_2D"

    def reduce(self, part: Array) -> Array:
        average = Average(part.shape[1] * part.shape[2], INT16_MIN, INT16_MAX)
        return average.apply(part.sum(axis=(1, 2), dtype=np.int64))
