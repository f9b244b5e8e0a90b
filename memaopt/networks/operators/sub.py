"""SUB."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.addition import Addition
from memaopt.networks.operators.form import ACTIVATION, POT_SCALE, Options
from memaopt.problems.binary import BinaryKind


class Sub(Addition):
    kind: ClassVar[str] = "SUB"
    of_integers = np.subtract
    options: ClassVar[Options | None] = Options("SubOptions", 28, (ACTIVATION, POT_SCALE))
    sign: ClassVar[int] = -1
    layer_kind: ClassVar[BinaryKind] = BinaryKind.SUB
