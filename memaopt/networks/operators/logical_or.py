"""LOGICAL_OR: whether one of two is."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.form import Options
from memaopt.networks.operators.logical import Logical
from memaopt.problems.binary import BinaryKind


class LogicalOr(Logical):
    kind: ClassVar[str] = "LOGICAL_OR"
    options: ClassVar[Options | None] = Options("LogicalOrOptions", 60, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.MAXIMUM
    of_integers = np.logical_or
