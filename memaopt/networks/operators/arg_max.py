"""ARG_MAX."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.arg_extreme import ArgExtreme
from memaopt.networks.operators.form import Field, Options
from memaopt.problems.layers import PoolKind


class ArgMax(ArgExtreme):
    kind: ClassVar[str] = "ARG_MAX"
    options: ClassVar[Options | None] = Options("ArgMaxOptions", 40, (Field("outputType", 1, "TensorType"),))
    layer_kind: ClassVar[PoolKind] = PoolKind.MAX
