"""SHAPE: the sizes of a tensor, which are known."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from memaopt.networks.operators.folded import Folded
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.source import Source


class ShapeOf(Folded):
    kind: ClassVar[str] = "SHAPE"
    options: ClassVar[Options | None] = Options("ShapeOptions", 55, (Field("outType", 1, "TensorType"),))

    @classmethod
    def value(cls, source: Source) -> npt.NDArray[Any]:
        source.expect(1, 1)
        return np.array(source.tensor(0).shape, np.int64)
