"""REDUCE_PROD of constants."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from memaopt.networks.operators.folded import Folded
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.source import Source


class ReduceProd(Folded):
    kind: ClassVar[str] = "REDUCE_PROD"
    options: ClassVar[Options | None] = Options("ReducerOptions", 27, (Field("keepDims", 1),))

    @classmethod
    def value(cls, source: Source) -> npt.NDArray[Any]:
        source.expect(2, 2)
        value, axes = source.integers(0, "input"), source.integers(1, "axes")
        shape = source.tensor(0).shape
        if any(not -len(shape) <= axis < len(shape) for axis in axes):
            raise source.refuse(f"axes {list(axes)} of {len(shape)} dimensions")
        product: npt.NDArray[Any] = np.prod(
            np.array(value, np.int64).reshape(shape), axis=tuple({axis % len(shape) for axis in axes}), dtype=np.int64
        )
        return np.asarray(product)
