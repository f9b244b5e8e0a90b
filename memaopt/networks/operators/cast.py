"""CAST of constants."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy.typing as npt

from memaopt.networks.operators.folded import Folded, is_known, known_value
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.source import Source


class Cast(Folded):
    kind: ClassVar[str] = "CAST"
    options: ClassVar[Options | None] = Options(
        "CastOptions", 37, (Field("inDataType", 1, "TensorType"), Field("outDataType", 1, "TensorType"))
    )

    @classmethod
    def value(cls, source: Source) -> npt.NDArray[Any]:
        source.expect(1, 1)
        value = known_value(source, 0)
        if not is_known(source.tensor(0)):
            raise source.refuse(f"input {source.tensor(0).name!r} is {source.tensor(0).dtype}; integers are supported")
        return value
