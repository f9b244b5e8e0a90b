"""ROUND of floats, ties to even."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.floating import FloatOnly


class Round(FloatOnly):
    kind: ClassVar[str] = "ROUND"
    micro: ClassVar[bool] = True

    def real(self, x: np.float32) -> np.float32:
        return np.round(x)
