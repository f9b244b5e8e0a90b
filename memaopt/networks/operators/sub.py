"""SUB."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.form import ACTIVATION, Options
from memaopt.networks.operators.sum import Sum
from memaopt.problems.layers import BinaryKind


class Sub(Sum):
    kind: ClassVar[str] = "SUB"
    of_integers = np.subtract
    options: ClassVar[Options | None] = Options("SubOptions", 28, (ACTIVATION,))
    sign: ClassVar[int] = -1
    layer_kind: ClassVar[BinaryKind] = BinaryKind.SUB
