"""ARG_MIN."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.arg_extreme import ArgExtreme
from memaopt.networks.operators.form import Field, Options
from memaopt.problems.layers import PoolKind


class ArgMin(ArgExtreme):
    kind: ClassVar[str] = "ARG_MIN"
    options: ClassVar[Options | None] = Options("ArgMinOptions", 57, (Field("outputType", 1, "TensorType"),))
    layer_kind: ClassVar[PoolKind] = PoolKind.MIN
