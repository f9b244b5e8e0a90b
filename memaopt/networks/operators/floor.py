"""FLOOR of floats."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.floating import FloatOnly


class Floor(FloatOnly):
    kind: ClassVar[str] = "FLOOR"

    def real(self, x: np.float32) -> np.float32:
        return np.float32(np.floor(x))
