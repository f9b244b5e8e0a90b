"""REDUCE_MAX."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.reduced_extreme import ReducedExtreme
from memaopt.problems.layers import PoolKind


class ReduceMax(ReducedExtreme):
    kind: ClassVar[str] = "REDUCE_MAX"
    layer_kind: ClassVar[PoolKind] = PoolKind.MAX
