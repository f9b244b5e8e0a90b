"""FILL with a constant, of a shape that is known."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from memaopt.networks.operators.folded import Folded, known_value
from memaopt.networks.operators.source import Source


class Fill(Folded):
    kind: ClassVar[str] = "FILL"

    @classmethod
    def value(cls, source: Source) -> npt.NDArray[Any]:
        source.expect(2, 2)
        shape, value, output = source.integers(0, "shape"), known_value(source, 1), source.output()
        if math.prod(shape) != output.elements or min(shape, default=1) < 0 or value.size != 1:
            raise source.refuse(f"{value.size} elements do not fill {list(shape)} as the output {list(output.shape)}")
        return np.full(output.shape, value.reshape(()))
