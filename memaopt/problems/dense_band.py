"""A fully connected layer that takes the image which it reads flattened some rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

from memaopt.problems.content import ByContent
from memaopt.problems.layer import Layer
from memaopt.problems.layers import FullyConnected
from memaopt.problems.operands import Operand, Operands


@dataclass(frozen=True, eq=False)
class DenseBand(Layer, ByContent):
    """One of ``bands`` equal parts of the input of ``dense``, a layer of one row, in their order: a call adds the next
    one's products to sums that the caller keeps for it. The last call gives the outputs.
    """

    dense: FullyConnected
    bands: int

    @property
    def inputs(self) -> int:
        """Elements of a band."""
        return int(self.dense.weights.shape[1]) // self.bands

    @property
    def outputs(self) -> int:
        return len(self.dense.weights)

    @property
    def macs(self) -> int:
        return self.outputs * self.inputs

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.inputs,)),)

    @property
    def gives(self) -> Operand:
        return Operand((self.outputs,))

    @property
    def operands(self) -> Operands:
        found = super().operands
        return Operands(found.inputs, found.output, self.macs)
