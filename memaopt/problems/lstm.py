"""A recurrent layer: a long short-term memory of int8, whose cells are int16."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint16
from memaopt.fixedpoint import Int64Array, rounding_divide_by_pot
from memaopt.problems.content import ByContent
from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand, Operands
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, Rescale

GATES = 4
"""Input, forget, cell and output, in this order."""


@dataclass(frozen=True, eq=False)
class Lstm(Layer, ByContent):
    """UNIDIRECTIONAL_SEQUENCE_LSTM over ``steps`` of each of ``batch`` sequences; each starts from a state of zeros.

    Inputs are [batch, steps, inputs], or [steps, batch, inputs] if ``time_major``; outputs alike, of ``units``.
    ``weights`` are [units, inputs, gates] and ``recurrent`` [units, units, gates], symmetric; the biases [units, gates]
    have the zero points of input and output folded in. A gate is the sum of both products, rescaled to Q3.12 each; a
    cell has ``cell_bits`` integer bits, clipped to ``clip`` unless that is 0; an output is rescaled by ``hidden``.
    """

    batch: int
    steps: int
    time_major: bool
    weights: npt.NDArray[np.int8]
    recurrent: npt.NDArray[np.int8]
    bias: Int64Array
    recurrent_bias: Int64Array
    rescales: tuple[Rescale, ...]
    recurrent_rescales: tuple[Rescale, ...]
    cell_bits: int
    clip: int
    hidden: Rescale
    hidden_zero_point: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the inputs."""
        both = (self.steps, self.batch) if self.time_major else (self.batch, self.steps)
        return (*both, self.inputs)

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[1])

    @property
    def units(self) -> int:
        return int(self.weights.shape[0])

    @property
    def macs(self) -> int:
        return self.batch * self.steps * (self.weights.size + self.recurrent.size)

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand(self.shape),)

    @property
    def gives(self) -> Operand:
        return Operand((*self.shape[:2], self.units))

    @property
    def operands(self) -> Operands:
        return Operands((self.takes[0].bytes,), self.gives.bytes, self.weights.size + self.recurrent.size)

    @cached_property
    def cell_shift(self) -> int:
        """By which a product of two gates is divided to be added to a cell."""
        return 15 + self.cell_bits

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs of int8 inputs, in their layout."""
        values = np.asarray(x, np.int64).reshape(self.shape)
        if not self.time_major:
            values = values.swapaxes(0, 1)
        cells = np.zeros((self.batch, self.units), np.int64)
        rows: list[Int64Array] = []
        for step in values:
            gates = []
            for gate in range(GATES):
                sums = step @ self.weights[..., gate].astype(np.int64).T + self.bias[:, gate]
                gates.append(fixedpoint16.saturate(self.rescales[gate].apply(sums)))
                if rows:  # an output of 0 adds nothing
                    sums = rows[-1] @ self.recurrent[..., gate].astype(np.int64).T + self.recurrent_bias[:, gate]
                    gates[gate] = fixedpoint16.saturate(gates[gate] + self.recurrent_rescales[gate].apply(sums))
            entered, kept, left = (fixedpoint16.logistic(gates[n]) for n in (0, 1, 3))
            new = rounding_divide_by_pot(entered * fixedpoint16.tanh(gates[2], 3), self.cell_shift)
            cells = fixedpoint16.saturate(rounding_divide_by_pot(kept * cells, 15) + new)
            if self.clip:
                cells = np.clip(cells, -self.clip, self.clip)
            product = left * fixedpoint16.tanh(cells, self.cell_bits)
            rows.append(np.clip(self.hidden.apply(product) + self.hidden_zero_point, INT8_MIN, INT8_MAX))
        return np.stack(rows, axis=0 if self.time_major else 1)
