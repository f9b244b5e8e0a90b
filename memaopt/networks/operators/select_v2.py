"""SELECT_V2: condition and both inputs are broadcast against each other."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Options
from memaopt.networks.operators.selecting import Selecting


class SelectV2(Selecting):
    kind: ClassVar[str] = "SELECT_V2"
    options: ClassVar[Options | None] = Options("SelectV2Options", 98, ())
