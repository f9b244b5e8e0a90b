"""SPLIT: equal parts along a constant axis."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.parted import Parted, checked_axis, consecutive
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.strided_slice import StridedSlice


class Split(Parted):
    kind: ClassVar[str] = "SPLIT"
    options: ClassVar[Options | None] = Options("SplitOptions", 35, (Field("numSplits", 4),))

    @classmethod
    def parts(cls, source: Source) -> list[StridedSlice]:
        source.expect_outputs(2)
        axis = checked_axis(source, 1, source.integer(0, "axis"))
        count = len(source.outputs)
        return consecutive(source, 1, axis, [source.tensor(1).shape[axis] // count] * count)
