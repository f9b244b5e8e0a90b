"""Operators of two inputs that pair their elements."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, Rescale


class BinaryKind(StrEnum):
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SQUARED_DIFFERENCE = "squared_difference"
    PRELU = "prelu"
    DIV = "div"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    GREATER = "greater"
    GREATER_EQUAL = "greater_equal"
    LESS = "less"
    LESS_EQUAL = "less_equal"

    @property
    def is_sum(self) -> bool:
        return self in (BinaryKind.ADD, BinaryKind.SUB)

    @property
    def is_extreme(self) -> bool:
        return self in (BinaryKind.MINIMUM, BinaryKind.MAXIMUM)

    @property
    def comparison(self) -> str:
        """The operator that compares, as Python and C write it; empty if it is none."""
        return _COMPARISONS.get(self, "")

    def extreme(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The lesser or the greater of each two."""
        chosen: npt.NDArray[Any] = np.minimum(a, b) if self is BinaryKind.MINIMUM else np.maximum(a, b)
        return chosen


_COMPARISONS = {
    BinaryKind.EQUAL: "==",
    BinaryKind.NOT_EQUAL: "!=",
    BinaryKind.GREATER: ">",
    BinaryKind.GREATER_EQUAL: ">=",
    BinaryKind.LESS: "<",
    BinaryKind.LESS_EQUAL: "<=",
}
_COMPARED = {"==": np.equal, "!=": np.not_equal, ">": np.greater, ">=": np.greater_equal, "<": np.less,
             "<=": np.less_equal}  # fmt: skip
NONE = Rescale(0, 0)
"""Where nothing is rescaled."""


@dataclass(frozen=True)
class Binary(Layer):
    """ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM, SQUARED_DIFFERENCE, PRELU and comparisons of two inputs, broadcast as numpy
    does.

    ADD and SUB: (a - za) << left_shift and (b - zb) << left_shift are rescaled by ``first`` and ``second``, then
    added or subtracted, and the result is rescaled by ``result``; SQUARED_DIFFERENCE squares it before. MUL uses
    ``result`` on the product only, PRELU on that where a - za is below 0, and ``first`` on a - za elsewhere; MINIMUM
    and MAXIMUM use none. Comparisons rescale as sums do, and give 1 or 0. DIV rescales a quotient by ``result``.
    A ``table`` of 256 outputs, where there is one, takes the clamped result, from -128 up.
    """

    kind: BinaryKind
    first_shape: tuple[int, ...]
    second_shape: tuple[int, ...]
    first_zero_point: int
    second_zero_point: int
    zero_point: int
    result: Rescale
    first: Rescale = NONE
    second: Rescale = NONE
    left_shift: int = 20
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX
    table: tuple[int, ...] = ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.broadcast_shapes(self.first_shape, self.second_shape))

    @property
    def elements(self) -> int:
        return math.prod(self.output_shape)

    @property
    def takes(self) -> tuple[Operand, ...]:
        return Operand(self.first_shape), Operand(self.second_shape)

    @property
    def gives(self) -> Operand:
        return Operand(self.output_shape)

    def apply(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Int64Array:
        """The output of int8 inputs."""
        x = np.asarray(a, np.int64) - self.first_zero_point
        y = np.asarray(b, np.int64) - self.second_zero_point
        if self.kind.is_extreme:
            chosen: Int64Array = np.clip(self.kind.extreme(x, y), self.minimum, self.maximum)
            return chosen
        if self.kind is BinaryKind.PRELU:
            sloped = np.where(x < 0, self.result.apply(x * y), self.first.apply(x))
            bent: Int64Array = np.clip(sloped + self.zero_point, self.minimum, self.maximum)
            return bent
        if self.kind is BinaryKind.DIV:
            quotients: Int64Array = np.clip(quotient(x, y, self.result) + self.zero_point, self.minimum, self.maximum)
            return quotients
        if self.kind is BinaryKind.MUL:
            raw = x * y
        else:
            x, y = self.first.apply(x << self.left_shift), self.second.apply(y << self.left_shift)
            if self.kind.comparison:
                return _COMPARED[self.kind.comparison](x, y).astype(np.int64)
            raw = x + y if self.kind is BinaryKind.ADD else x - y
            raw = raw * raw if self.kind is BinaryKind.SQUARED_DIFFERENCE else raw
        clamped: Int64Array = np.clip(self.result.apply(raw) + self.zero_point, self.minimum, self.maximum)
        return np.array(self.table, np.int64)[clamped + 128] if self.table else clamped


def quotient(x: npt.ArrayLike, y: npt.ArrayLike, result: Rescale) -> Int64Array:
    """x / y, times ``result``, as TFLite Micro's DIV: the reciprocal of y's magnitude in Q0.31, times x shifted as far
    left as it goes. 0 where y is 0, and where the last shift is beyond 31 bits, which it leaves undefined.
    """
    a, b = np.broadcast_arrays(np.asarray(x, np.int64), np.asarray(y, np.int64))
    numerator, divisor = np.where(b < 0, -a, a), np.maximum(np.abs(b), 1)
    zeros = 32 - np.frexp(divisor.astype(np.float64))[1].astype(np.int64)
    reciprocal = fixedpoint.one_over_one_plus_x((divisor << zeros) - (1 << 31))
    bits = np.where(numerator < 0, ~numerator, numerator)
    headroom = 31 - np.frexp(bits.astype(np.float64))[1].astype(np.int64)
    unscaled = fixedpoint.saturating_rounding_doubling_high_mul(numerator << headroom, reciprocal)
    right = headroom + 31 - zeros - result.shift
    scaled = fixedpoint.saturating_rounding_doubling_high_mul(unscaled, result.multiplier)
    rounded = fixedpoint.rounding_divide_by_pot(scaled, np.minimum(right, 31))
    found: Int64Array = np.where((b == 0) | (right > 31), 0, rounded)
    return found
