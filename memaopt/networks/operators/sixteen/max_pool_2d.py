"""MAX_POOL_2D of int16 activations."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.max_pool_2d import MaxPool2D
from memaopt.networks.operators.sixteen.pool import Pool16x8


class MaxPool2D16(Pool16x8, MaxPool2D):
    kind: ClassVar[str] = "MAX_POOL_2D"
