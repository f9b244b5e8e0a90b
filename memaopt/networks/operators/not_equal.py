"""NOT_EQUAL: whether two reals differ, in 1/256."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.comparison import Comparison
from memaopt.networks.operators.form import Options
from memaopt.problems.binary import BinaryKind


class NotEqual(Comparison):
    kind: ClassVar[str] = "NOT_EQUAL"
    options: ClassVar[Options | None] = Options("NotEqualOptions", 54, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.NOT_EQUAL
    of_integers = np.not_equal
