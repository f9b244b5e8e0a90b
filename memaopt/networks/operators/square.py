"""SQUARE of floats."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.form import Options


class Square(FloatOnly):
    kind: ClassVar[str] = "SQUARE"
    options: ClassVar[Options | None] = Options("SquareOptions", 66, ())

    def real(self, x: np.float32) -> np.float32:
        return x * x
