"""MAXIMUM."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.extreme import Extreme
from memaopt.problems.binary import BinaryKind


class Maximum(Extreme):
    kind: ClassVar[str] = "MAXIMUM"
    of_integers = np.maximum
    layer_kind: ClassVar[BinaryKind] = BinaryKind.MAXIMUM
