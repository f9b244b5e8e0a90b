"""How sums of 32 bits, to which parts of a reduction add, become outputs: as proven where that is found."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import INT32_MAX
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows.chains import SCALE
from memaopt.kernels.generic.generic import reference_rounding
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.rounding.thresholds import Bools
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Conv, FullyConnected

#: An output made from its sum in C: proven, and by the reference's arithmetic, twice rounded integers, doubles, floats.
_PROVEN, _INTEGERS, _DOUBLES, _FLOATS = Compiled(56, 17), Compiled(120, 40), Compiled(160, 334), Compiled(120, 40)


class SumRounding(NamedTuple):
    """Sums are shifted left, then rounded as proven; or as the reference has it. ``code``: of an output."""

    shift: int
    proven: Proven | None
    constant: Bools  # channels whose output no input changes: they must have no weights
    code: Compiled

    @property
    def words(self) -> int:
        """Of parameters for an output; a double counts as two."""
        if self.code is _FLOATS:
            return 2
        return 3 if self.proven is None else 3 + (self.proven.negative is not None)

    @property
    def whole(self) -> bool:
        """Whether all that it reads are integers of words."""
        return self.code not in (_DOUBLES, _FLOATS)

    def describe(self) -> str:
        """For the plan."""
        return self.proven.describe() if self.proven else ARITHMETIC

    def output(self, layer: Conv | FullyConnected) -> Output | None:
        """What the template writes; None for the reference's arithmetic."""
        return Output.of(self.proven, layer.requantization) if self.proven else None

    def arrays(self, layer: Conv | FullyConnected, name: str) -> list[Array]:
        """Its parameters of each channel."""
        if self.proven is None:
            return reference_rounding(layer, name)
        bias = np.where(self.constant, 0, layer.bias << self.shift) + self.proven.start
        parameters = np.concatenate([bias[:, None], channel_parameters(self.proven)], axis=1)
        return [Array("int32_t", f"{name}_rows", parameters, "of each channel: bias, multiplier, addend")]


@lru_cache(maxsize=256)
def sum_rounding(layer: Conv | FullyConnected) -> SumRounding:
    """With the widest shift that 32 bits allow, or one less; 8 is that of chained rows."""
    most = max(int(np.abs(end).max()) for end in layer.range.ends)
    widest = min(SCALE.bit_length(), (INT32_MAX // max(most, 1)).bit_length()) - 1
    for shift in range(widest, max(widest - 2, -1), -1):
        proven = requantize.prove_multiply_add(layer.requantization, layer.range, 1 << shift)
        if proven is not None:
            return SumRounding(shift, proven, proven.constant, _PROVEN)
    none = np.zeros(len(layer.bias), np.bool_)
    q = layer.requantization
    return SumRounding(0, None, none, _INTEGERS if q.scales is None else _FLOATS if q.even else _DOUBLES)
