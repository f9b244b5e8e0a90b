"""ASSIGN_VARIABLE: a variable holds something else from then on."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Options
from memaopt.networks.operators.kept import Kept


class AssignVariable(Kept):
    kind: ClassVar[str] = "ASSIGN_VARIABLE"
    options: ClassVar[Options | None] = Options("AssignVariableOptions", 113, ())
