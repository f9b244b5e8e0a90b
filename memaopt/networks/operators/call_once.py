"""CALL_ONCE: a subgraph that runs before the first run of all: what variables hold at first."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.kept import Kept


class CallOnce(Kept):
    kind: ClassVar[str] = "CALL_ONCE"
    options: ClassVar[Options | None] = Options("CallOnceOptions", 103, (Field("initSubgraphIndex", 4),))
