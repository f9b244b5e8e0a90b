"""Layers whose activations are int16 and whose weights are int8 ("16x8"): zero points are 0, sums are int64."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.fixedpoint16 import INT16_MAX, INT16_MIN, interpolated
from memaopt.problems.binary import Binary
from memaopt.problems.content import ByContent
from memaopt.problems.geometry import Image, Window
from memaopt.problems.layer import Convolving, Dense, Layer, OfElements, OfRows, OverAxes, Sliding
from memaopt.problems.operands import Operand
from memaopt.problems.step_functions import Float64Array, Rescale


class Range16(NamedTuple):
    """What a clamp leaves."""

    minimum: int = INT16_MIN
    maximum: int = INT16_MAX


@dataclass(frozen=True, eq=False)
class Windowed16(Convolving, ByContent):
    """A convolution of either kind: each channel's sum is rescaled once, by a multiplier of 16 bits, or where it is
    ``narrow``, of 32 bits, twice by one of 32."""

    element = "int16"

    shape: Image
    output: Image
    weights: npt.NDArray[np.int8]
    bias: Int64Array
    window: Window
    multipliers: Int64Array
    shifts: Int64Array
    clamp: Range16
    narrow: bool = False


class Conv16(Windowed16):
    """CONV_2D: ``weights`` are OHWI, of one group."""


class Depthwise16(Windowed16):
    """DEPTHWISE_CONV_2D: ``weights`` are HWO. Output channel o reads input channel o // (O / C)."""

    @property
    def multiplier(self) -> int:
        """Output channels for each input channel."""
        return self.output.channels // self.shape.channels


@dataclass(frozen=True, eq=False)
class FullyConnected16(Dense, ByContent):
    """FULLY_CONNECTED: ``rows`` inputs of K elements, ``weights`` [M, K]; sums, of 32 bits where ``narrow``, are
    rescaled in double."""

    source_type = target_type = "int16"

    rows: int
    weights: npt.NDArray[np.int8]
    bias: Int64Array
    scales: Float64Array
    clamp: Range16
    narrow: bool = False


@dataclass(frozen=True)
class Pool16(Sliding):
    """MAX_POOL_2D and AVERAGE_POOL_2D (over the part of the window inside the image; ties go away from zero)."""

    element = "int16"

    shape: Image
    output: Image
    window: Window
    clamp: Range16
    average: bool = False


@dataclass(frozen=True)
class Binary16(Layer):
    """ADD, SUB and MUL: as those of int8, in the bounds of int16 and of zero points 0."""

    pairs: Binary

    @property
    def elements(self) -> int:
        return self.pairs.elements

    @property
    def takes(self) -> tuple[Operand, ...]:
        return tuple(Operand(each.shape, "int16") for each in self.pairs.takes)

    @property
    def gives(self) -> Operand:
        return Operand(self.pairs.output_shape, "int16")


@dataclass(frozen=True)
class Mean16(OverAxes):
    """MEAN over ``axes`` of a ``shape``: the sum, rescaled."""

    element = "int16"

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    result: Rescale

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs, without the axes."""
        total = np.asarray(x, np.int64).reshape(self.shape).sum(axis=self.axes)
        outputs: Int64Array = np.clip(self.result.apply(total), INT16_MIN, INT16_MAX)
        return outputs


@dataclass(frozen=True, eq=False)
class Softmax16(OfRows, ByContent):
    """SOFTMAX along the last axis: differences to the row's greatest element, rescaled so that -65535 is -10; tables of
    512 steps for the exponential and the reciprocal."""

    element = "int16"

    rows: int
    depth: int
    multiplier: int
    shift: int
    exponentials: Int64Array
    reciprocals: Int64Array

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs [rows, depth], in 1/32768."""
        values = np.asarray(x, np.int64).reshape(self.rows, self.depth)
        differences = values - values.max(axis=1, keepdims=True)
        scaled = fixedpoint.multiply_by_quantized_multiplier(differences, self.multiplier, self.shift)
        powers = interpolated(np.clip(scaled + INT16_MAX, INT16_MIN, INT16_MAX), self.exponentials)
        total: Int64Array = powers.sum(axis=1, keepdims=True)
        bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)  # total is below 2^bits
        shifted = ((total << (31 - bits)) + (1 << 13)) >> 14
        centred = np.clip(shifted - (1 << 15) - (1 << 16), INT16_MIN, INT16_MAX)
        product = powers * interpolated(centred, self.reciprocals)
        shares: Int64Array = np.clip((product + (np.int64(1) << (bits - 2))) >> (bits - 1), 0, INT16_MAX)
        return shares


@dataclass(frozen=True)
class Rescaled(Layer):
    """QUANTIZE of integers of ``source`` bytes to integers of ``target`` bytes."""

    elements: int
    source: int
    target: int
    input_zero_point: int
    result: Rescale
    zero_point: int

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.elements,), f"int{8 * self.source}"),)

    @property
    def gives(self) -> Operand:
        return Operand((self.elements,), f"int{8 * self.target}")

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest output."""
        return -(1 << (8 * self.target - 1)), (1 << (8 * self.target - 1)) - 1

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs, in the inputs' shape."""
        scaled = self.result.apply(np.asarray(x, np.int64) - self.input_zero_point)
        outputs: Int64Array = np.clip(scaled + self.zero_point, *self.bounds)
        return outputs


@dataclass(frozen=True)
class FromFloat16(OfElements):
    """QUANTIZE of float32 to int16: round(x / scale) in float, ties away from zero, saturated."""

    source_type, target_type = "float32", "int16"

    elements: int
    scale: float

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs; 0 of what is no number."""
        return fixedpoint.quantized(x, self.scale, 0, 16)


@dataclass(frozen=True)
class ToFloat16(OfElements):
    """DEQUANTIZE of int16 to float32: scale * x."""

    source_type, target_type = "int16", "float32"

    elements: int
    scale: float

    def apply(self, x: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The outputs: the product is exact in double."""
        return (np.float64(np.float32(self.scale)) * np.asarray(x, np.int64)).astype(np.float32)
