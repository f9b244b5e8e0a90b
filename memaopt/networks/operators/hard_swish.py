"""HARD_SWISH: x * relu6(x + 3) / 6 in 16-bit fixed point."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.quantization import rescale
from memaopt.networks.operators.unary import centred


class HardSwishRescale(NamedTuple):
    """The two 16-bit multipliers with their exponents."""

    output_multiplier: int
    output_exponent: int
    reluish_multiplier: int
    reluish_exponent: int


class HardSwish(Floating):
    kind: ClassVar[str] = "HARD_SWISH"

    def rescale(self, graph: Graph) -> HardSwishRescale:
        """The input on 1/128 of its scale, to the output's scale and to 3/32768."""
        x, y = graph.tensor_of(self), graph.output_of(self)
        with np.errstate(over="ignore", under="ignore"):
            fine = np.float32(1 / 128) * x.scale
            to_output = rescale(graph, self, float(fine / y.scale))
            to_reluish = rescale(graph, self, float(fine / np.float32(3 / 32768)))
        if not -15 <= to_output.shift <= 0 or to_reluish.shift < -15:
            raise self.refuse(
                graph,
                f"input scale {x.scale:g} and output scale {y.scale:g} are "
                "outside what the kernel's 16-bit arithmetic covers",
            )
        return HardSwishRescale(
            _to_int16(to_output.multiplier), to_output.shift, _to_int16(to_reluish.multiplier), to_reluish.shift
        )

    def real(self, x: np.float32) -> np.float32:
        return x * min(np.float32(6), max(np.float32(0), x + np.float32(3))) / np.float32(6)

    def check_table(self, graph: Graph) -> None:
        self.rescale(graph)

    def table(self, graph: Graph) -> Int8Table:
        """x goes to 1/128 of its scale. One multiplier brings it (almost) to the output's scale, the other to the
        scale on which 3 is 2^15, where it saturates; (that + 2^15) / 2 is the factor relu6(x + 3) / 6.
        """
        r = self.rescale(graph)
        fine = centred(graph, self) << 7
        on_output = _rounding_high_mul16(fine, r.output_multiplier)
        reluish, exponent = fine, r.reluish_exponent
        if exponent > 0:
            reluish = _saturate16(reluish << (exponent - 1))
        reluish = _rounding_high_mul16(reluish, r.reluish_multiplier)
        if exponent > 0:
            reluish = _saturate16(reluish << 1)
        if exponent < 0:
            reluish = fixedpoint.rounding_divide_by_pot(reluish, -exponent)
        factor = (reluish + (1 << 15)) >> 1
        product = factor * on_output
        truncated = np.sign(product) * (np.abs(product) >> 15)  # C's division rounds towards zero
        scaled = fixedpoint.rounding_divide_by_pot(truncated, -r.output_exponent) + graph.output_of(self).zero_point
        return np.clip(scaled, -128, 127).astype(np.int8)


def _to_int16(multiplier: int) -> int:
    """A Q0.31 multiplier rounded to Q0.15, saturated."""
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1)


def _rounding_high_mul16(a: Int64Array, b: int) -> Int64Array:
    """round(a * b / 2^15), ties up; saturation cannot occur, as b is never -2^15."""
    return (a * b + (1 << 14)) >> 15


def _saturate16(x: Int64Array) -> Int64Array:
    saturated: Int64Array = np.clip(x, -(1 << 15), (1 << 15) - 1)
    return saturated
