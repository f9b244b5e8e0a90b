"""LESS: whether the first is below the second."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.comparison import Comparison
from memaopt.networks.operators.form import Options
from memaopt.problems.binary import BinaryKind


class Less(Comparison):
    kind: ClassVar[str] = "LESS"
    options: ClassVar[Options | None] = Options("LessOptions", 41, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.LESS
    of_integers = np.less
