"""UNPACK: the slices of one axis, which is dropped."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.parted import Parted, checked_axis, consecutive
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.strided_slice import StridedSlice


class Unpack(Parted):
    kind: ClassVar[str] = "UNPACK"
    options: ClassVar[Options | None] = Options("UnpackOptions", 64, (Field("num", 4), Field("axis", 4)))

    @classmethod
    def parts(cls, source: Source) -> list[StridedSlice]:
        source.expect_outputs(1)
        axis = checked_axis(source, 0, source.options().get("axis", 0))
        return consecutive(source, 0, axis, [1] * len(source.outputs))
