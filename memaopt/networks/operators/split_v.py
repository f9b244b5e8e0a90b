"""SPLIT_V: parts of constant sizes along a constant axis."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.parted import Parted, checked_axis, consecutive
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.strided_slice import StridedSlice


class SplitV(Parted):
    """One of the sizes may be -1: what the others leave."""

    kind: ClassVar[str] = "SPLIT_V"
    options: ClassVar[Options | None] = Options("SplitVOptions", 79, (Field("numSplits", 4),))

    @classmethod
    def parts(cls, source: Source) -> list[StridedSlice]:
        source.expect_outputs(3)
        sizes, axis = list(source.integers(1, "sizes")), checked_axis(source, 0, source.integer(2, "axis"))
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = source.tensor(0).shape[axis] - sum(sizes) - 1
        return consecutive(source, 0, axis, sizes)
