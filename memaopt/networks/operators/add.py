"""ADD."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.form import ACTIVATION, Options
from memaopt.networks.operators.sum import Sum
from memaopt.problems.layers import BinaryKind


class Add(Sum):
    kind: ClassVar[str] = "ADD"
    of_integers = np.add
    options: ClassVar[Options | None] = Options("AddOptions", 11, (ACTIVATION,))
    sign: ClassVar[int] = 1
    layer_kind: ClassVar[BinaryKind] = BinaryKind.ADD
