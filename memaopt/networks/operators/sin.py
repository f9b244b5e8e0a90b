"""SIN of floats."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.floating import FloatOnly


class Sin(FloatOnly):
    kind: ClassVar[str] = "SIN"

    def real(self, x: np.float32) -> np.float32:
        return float_function("sin")(float(x))
