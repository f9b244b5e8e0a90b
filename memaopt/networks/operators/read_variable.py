"""READ_VARIABLE: what a variable holds."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Options
from memaopt.networks.operators.kept import Kept


class ReadVariable(Kept):
    kind: ClassVar[str] = "READ_VARIABLE"
    options: ClassVar[Options | None] = Options("ReadVariableOptions", 112, ())
