"""CEIL of floats."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.floating import FloatOnly


class Ceil(FloatOnly):
    kind: ClassVar[str] = "CEIL"
    micro: ClassVar[bool] = True

    def real(self, x: np.float32) -> np.float32:
        return np.float32(np.ceil(x))
