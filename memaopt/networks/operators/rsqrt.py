"""RSQRT: 1 / sqrt(x) in fixed point."""

from __future__ import annotations

import math
from functools import cache
from typing import ClassVar

import numpy as np

from memaopt import fixedpoint
from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.quantization import INT8_MAX, INT8_MIN, rescale
from memaopt.networks.operators.unary import centred, check_no_negatives
from memaopt.problems.step_functions import Rescale

_SHIFT = 20
"""Fractional bits of the inverse root between its two multiplications."""


class Rsqrt(Floating):
    kind: ClassVar[str] = "RSQRT"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def rescale(self, graph: Graph) -> Rescale:
        """1 / (sqrt(input_scale) * output_scale), the root and the product in float, less what inverse roots of
        integers are shifted left."""
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            product = float(np.sqrt(graph.tensor_of(self).scale) * graph.output_of(self).scale)
        found = rescale(graph, self, 1 / product if product else math.inf)
        if found.shift - _SHIFT < -31:  # beyond that TFLite shifts by more bits than there are
            raise self.refuse(
                graph, f"the ratio of scales {1 / product:g} is out of range; 2^-12 and more is supported"
            )
        return Rescale(found.multiplier, found.shift - _SHIFT)

    def real(self, x: np.float32) -> np.float32:
        return np.float32(np.float32(1) / np.sqrt(x))

    def table(self, graph: Graph) -> Int8Table:
        """The inverse root of the integer above the zero point, rescaled; 0 gives the greatest output."""
        values, rescale = centred(graph, self), self.rescale(graph)
        roots = np.array([_inverse_root(int(value)) for value in np.maximum(values, 1)], np.int64)
        outputs = rescale.apply(roots) + graph.output_of(self).zero_point
        clipped = np.clip(outputs, INT8_MIN, INT8_MAX)
        return np.where(values == 0, INT8_MAX, clipped).astype(np.int8)

    def check_table(self, graph: Graph) -> None:
        check_no_negatives(graph, self)
        self.rescale(graph)


@cache
def _inverse_root(value: int) -> int:
    """2^20 / sqrt(value) of an integer above 0, rounded as TFLite's fixed point does."""
    multiplier, shift = fixedpoint.inverse_square_root(value)
    return int(fixedpoint.multiply_by_quantized_multiplier(1, multiplier, shift + _SHIFT))
