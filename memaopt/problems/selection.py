"""SELECT: bytes of one of two inputs, by a third."""

import math
from dataclasses import dataclass

import numpy as np

from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand


@dataclass(frozen=True)
class Selection(Layer):
    """``first`` where a byte of the condition is not 0, else ``second``; all three broadcast."""

    condition_shape: tuple[int, ...]
    first_shape: tuple[int, ...]
    second_shape: tuple[int, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.condition_shape, self.first_shape, self.second_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.broadcast_shapes(*self.shapes))

    @property
    def elements(self) -> int:
        return math.prod(self.output_shape)

    @property
    def takes(self) -> tuple[Operand, ...]:
        return tuple(Operand(shape) for shape in self.shapes)

    @property
    def gives(self) -> Operand:
        return Operand(self.output_shape)
