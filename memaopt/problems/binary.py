"""Operators of two inputs that pair their elements."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, Rescale


class BinaryKind(StrEnum):
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SQUARED_DIFFERENCE = "squared_difference"
    PRELU = "prelu"

    @property
    def is_sum(self) -> bool:
        return self in (BinaryKind.ADD, BinaryKind.SUB)

    @property
    def is_extreme(self) -> bool:
        return self in (BinaryKind.MINIMUM, BinaryKind.MAXIMUM)

    def extreme(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The lesser or the greater of each two."""
        chosen: npt.NDArray[Any] = np.minimum(a, b) if self is BinaryKind.MINIMUM else np.maximum(a, b)
        return chosen


_ZERO = Rescale(0, 0)


@dataclass(frozen=True)
class Binary:
    """ADD, SUB, MUL, MINIMUM, MAXIMUM, SQUARED_DIFFERENCE, PRELU of two inputs, broadcast as numpy does.

    ADD and SUB: (a - za) << left_shift and (b - zb) << left_shift are rescaled by ``first`` and ``second``, then
    added or subtracted, and the result is rescaled by ``result``; SQUARED_DIFFERENCE squares it before. MUL uses
    ``result`` on the product only, PRELU on that where a - za is below 0, and ``first`` on a - za elsewhere; MINIMUM
    and MAXIMUM use none. A ``table`` of 256 outputs, where there is one, takes the clamped result, from -128 up.
    """

    kind: BinaryKind
    first_shape: tuple[int, ...]
    second_shape: tuple[int, ...]
    first_zero_point: int
    second_zero_point: int
    zero_point: int
    result: Rescale
    first: Rescale = _ZERO
    second: Rescale = _ZERO
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
        if self.kind is BinaryKind.MUL:
            raw = x * y
        else:
            x, y = self.first.apply(x << self.left_shift), self.second.apply(y << self.left_shift)
            raw = x + y if self.kind is BinaryKind.ADD else x - y
            raw = raw * raw if self.kind is BinaryKind.SQUARED_DIFFERENCE else raw
        clamped: Int64Array = np.clip(self.result.apply(raw) + self.zero_point, self.minimum, self.maximum)
        return np.array(self.table, np.int64)[clamped + 128] if self.table else clamped
