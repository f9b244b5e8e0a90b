"""REDUCE_MIN."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.reduced_extreme import ReducedExtreme
from memaopt.problems.layers import PoolKind


class ReduceMin(ReducedExtreme):
    kind: ClassVar[str] = "REDUCE_MIN"
    layer_kind: ClassVar[PoolKind] = PoolKind.MIN
