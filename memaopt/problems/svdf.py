"""SVDF whose state is int16: the features of a step, and filters over the steps that are kept."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.fixedpoint16 import saturate
from memaopt.problems.content import ByContent
from memaopt.problems.layer import Dense, Layer
from memaopt.problems.operands import Operand, Operands
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN, Rescale


@dataclass(frozen=True, eq=False)
class SvdfFeatures(Dense, ByContent):
    """Products of ``rows`` of int8 with ``weights`` [filters, inputs], rescaled to int16."""

    target_type = "int16"

    rows: int
    weights: npt.NDArray[np.int8]
    input_zero_point: int
    result: Rescale

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The features [rows, filters]."""
        values = np.asarray(x, np.int64).reshape(self.rows, -1) - self.input_zero_point
        return saturate(self.result.apply(values @ self.weights.T.astype(np.int64)))


@dataclass(frozen=True, eq=False)
class SvdfFilter(Layer, ByContent):
    """int8 outputs of int16 features [batch, steps, filters] with ``weights`` [steps, filters] of int16.

    ``rank`` filters side by side make an output; sums are modulo 2^32.
    """

    batch: int
    rank: int
    weights: npt.NDArray[np.int16]
    bias: Int64Array
    result: Rescale
    zero_point: int

    @property
    def macs(self) -> int:
        return self.batch * self.weights.size

    @property
    def units(self) -> int:
        return len(self.bias)

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.batch, *self.weights.shape), "int16"),)

    @property
    def gives(self) -> Operand:
        return Operand((self.batch, self.units))

    @property
    def operands(self) -> Operands:
        return Operands((self.takes[0].bytes,), self.gives.bytes, self.weights.nbytes)

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs [batch, units]."""
        features = np.asarray(x, np.int64).reshape(self.batch, *self.weights.shape)
        products = (features * self.weights).sum(axis=1).reshape(self.batch, self.units, self.rank)
        sums = fixedpoint.wrap_int32(products.sum(axis=2) + self.bias)
        outputs: Int64Array = np.clip(self.result.apply(sums) + self.zero_point, INT8_MIN, INT8_MAX)
        return outputs
