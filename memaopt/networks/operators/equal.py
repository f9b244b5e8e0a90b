"""EQUAL: whether two reals are the same, in 1/256."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.comparison import Comparison
from memaopt.networks.operators.form import Options
from memaopt.problems.binary import BinaryKind


class Equal(Comparison):
    kind: ClassVar[str] = "EQUAL"
    options: ClassVar[Options | None] = Options("EqualOptions", 53, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.EQUAL
    of_integers = np.equal
