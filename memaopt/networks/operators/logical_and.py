"""LOGICAL_AND: whether both are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.operators.form import Options
from memaopt.networks.operators.logical import Logical
from memaopt.problems.binary import BinaryKind


class LogicalAnd(Logical):
    kind: ClassVar[str] = "LOGICAL_AND"
    options: ClassVar[Options | None] = Options("LogicalAndOptions", 62, ())
    layer_kind: ClassVar[BinaryKind] = BinaryKind.MINIMUM
    of_integers = np.logical_and
