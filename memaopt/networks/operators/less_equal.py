"""LESS_EQUAL: whether the first is not above the second."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.comparison import Comparison
from memaopt.networks.operators.form import Options
from memaopt.problems.binary import BinaryKind


class LessEqual(Comparison):
    kind: ClassVar[str] = "LESS_EQUAL"
    options: ClassVar[Options | None] = Options("LessEqualOptions", 46, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.LESS_EQUAL
    of_integers = np.less_equal
