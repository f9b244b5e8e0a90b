"""GREATER_EQUAL: whether the first is not below the second."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.comparison import Comparison
from memaopt.networks.operators.form import Options
from memaopt.problems.binary import BinaryKind


class GreaterEqual(Comparison):
    kind: ClassVar[str] = "GREATER_EQUAL"
    options: ClassVar[Options | None] = Options("GreaterEqualOptions", 45, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.GREATER_EQUAL
    of_integers = np.greater_equal
