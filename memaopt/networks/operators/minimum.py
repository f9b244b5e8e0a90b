"""MINIMUM."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.extreme import Extreme
from memaopt.problems.binary import BinaryKind


class Minimum(Extreme):
    kind: ClassVar[str] = "MINIMUM"
    of_integers = np.minimum
    layer_kind: ClassVar[BinaryKind] = BinaryKind.MINIMUM
