"""VAR_HANDLE: the variable of a name."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.kept import Kept


class VarHandle(Kept):
    kind: ClassVar[str] = "VAR_HANDLE"
    options: ClassVar[Options | None] = Options(
        "VarHandleOptions", 111, (Field("container", 1, text=True), Field("sharedName", 1, text=True))
    )
