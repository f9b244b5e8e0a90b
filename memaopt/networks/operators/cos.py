"""COS of floats."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.form import Options


class Cos(FloatOnly):
    kind: ClassVar[str] = "COS"
    options: ClassVar[Options | None] = Options("CosOptions", 84, ())

    def real(self, x: np.float32) -> np.float32:
        return float_function("cos")(float(x))
