"""RANGE between constants."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from memaopt.networks.operators.folded import Folded
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.source import Source


class Range(Folded):
    kind: ClassVar[str] = "RANGE"
    options: ClassVar[Options | None] = Options("RangeOptions", 73, ())

    @classmethod
    def value(cls, source: Source) -> npt.NDArray[Any]:
        source.expect(3, 3)
        scalars = [source.integers(position, role) for position, role in enumerate(("start", "limit", "delta"))]
        if [len(scalar) for scalar in scalars] != [1, 1, 1] or scalars[2] == (0,):
            raise source.refuse("its start, limit and delta are no three numbers, or the last is 0")
        steps = range(*(scalar[0] for scalar in scalars))
        if len(steps) != source.output().elements:
            raise source.refuse(f"{len(steps)} elements do not fill the output {list(source.output().shape)}")
        return np.array(steps, np.int64)
