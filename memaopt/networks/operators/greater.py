"""GREATER: whether the first is above the second."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.comparison import Comparison
from memaopt.networks.operators.form import Options
from memaopt.problems.binary import BinaryKind


class Greater(Comparison):
    kind: ClassVar[str] = "GREATER"
    options: ClassVar[Options | None] = Options("GreaterOptions", 44, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.GREATER
    of_integers = np.greater
