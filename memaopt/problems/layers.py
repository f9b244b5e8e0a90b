"""WHAT a layer computes: quantised layers as plain frozen data, one class for each kind.

Images are NHWC with N = 1 (a batch is a loop over calls), ``shape`` is (height, width, channels), and arrays
hold int8 weights and int64 everything else. Nothing here knows how a layer is computed. Layers are equal, and hash, by
content.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.problems.content import ByContent
from memaopt.problems.geometry import Image, Window
from memaopt.problems.layer import Convolving, Dense, OfElements, OfImage, OfRows, OverAxes, Sliding
from memaopt.problems.layer import Layer as Layer
from memaopt.problems.log_softmax import exponentials
from memaopt.problems.operands import Operand, Operands, Outputs, axes, used, whole
from memaopt.problems.step_functions import (
    INT8_MAX,
    INT8_MIN,
    AccumulatorRange,
    Requantization,
    Rescale,
    accumulator_range,
)

Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Windowed8(Convolving, ByContent):
    """A convolution of either kind, of int8."""

    shape: Image
    output: Image
    weights: Int8Array
    bias: Int64Array
    window: Window
    input_zero_point: int
    requantization: Requantization


@dataclass(frozen=True, eq=False)
class Conv(Windowed8):
    """CONV_2D: ``weights`` are OHWI. With ``groups`` > 1, I is the input's channels / groups."""

    groups: int = 1

    @cached_property
    def range(self) -> AccumulatorRange:
        flat = self.weights.reshape(len(self.weights), -1).T.astype(np.int64)
        return accumulator_range(flat, self.bias, self.input_zero_point)


class Depthwise(Windowed8):
    """DEPTHWISE_CONV_2D: ``weights`` are HWO; output channel o reads input channel o // (O / C)."""

    @property
    def multiplier(self) -> int:
        """Output channels for each input channel."""
        return self.output.channels // self.shape.channels

    @cached_property
    def range(self) -> AccumulatorRange:
        flat = self.weights.reshape(-1, self.output.channels).astype(np.int64)
        return accumulator_range(flat, self.bias, self.input_zero_point)


@dataclass(frozen=True, eq=False)
class FullyConnected(Dense, ByContent):
    """FULLY_CONNECTED: ``rows`` inputs of K elements, ``weights`` [M, K]."""

    rows: int
    weights: Int8Array
    bias: Int64Array
    input_zero_point: int
    requantization: Requantization

    @cached_property
    def range(self) -> AccumulatorRange:
        return accumulator_range(self.weights.T.astype(np.int64), self.bias, self.input_zero_point)


@dataclass(frozen=True, eq=False)
class ConvDepthwise(OfImage, ByContent):
    """CONV_2D and the DEPTHWISE_CONV_2D that alone reads its output; that output lies nowhere as a whole."""

    conv: Conv
    depthwise: Depthwise

    @property
    def shape(self) -> Image:
        return self.conv.shape

    @property
    def output(self) -> Image:
        return self.depthwise.output

    @property
    def macs(self) -> int:
        return self.conv.macs + self.depthwise.macs

    @property
    def operands(self) -> Operands:
        conv, depthwise = self.conv, self.depthwise
        outputs = whole(self.output)
        between = axes(outputs, depthwise.shape, depthwise.window)
        rows, columns = axes(between, conv.shape, conv.window)
        read = len(rows) * len(columns) * conv.shape.channels
        weights = used(conv.weights.size, between, conv.shape, conv.window)
        weights += used(depthwise.weights.size, outputs, depthwise.shape, depthwise.window)
        return Operands((read,), self.output.elements, weights)


class Part(NamedTuple):
    """A layer of a chain; ``reads``: tensors of the chain, 0 its input and k the output of part k - 1."""

    layer: "Layer"
    reads: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LayerChain(OfImage, ByContent):
    """Layers of images computed depth first, a band each in turn; ``images`` are those of its tensors. What lies
    between its input and the last part's output lies nowhere as a whole; nor does its input, if that comes ``by_rows``.
    """

    parts: tuple[Part, ...]
    images: tuple[Image, ...]
    by_rows: bool = False

    @property
    def shape(self) -> Image:
        return self.images[0]

    @property
    def output(self) -> Image:
        return self.images[-1]

    @property
    def operands(self) -> Operands:
        last, weights = len(self.parts), 0
        wanted = {last: ({*range(self.output.height)}, {*range(self.output.width)})}
        for number, part in reversed([*enumerate(self.parts)]):
            rows, columns = wanted.get(number + 1, (set(), set()))
            inner = part.layer
            if isinstance(inner, Convolving):
                weights += used(inner.weights.size, (rows, columns), inner.shape, inner.window)
            elif isinstance(inner, Dense):
                weights += inner.weights.size
            for tensor in part.reads:
                image = self.images[tensor]
                read: Outputs = rows, columns
                if isinstance(inner, Sliding):
                    read = axes((sorted(rows), sorted(columns)), image, inner.window)
                elif isinstance(inner, Mean | Dense):
                    read = whole(image)
                known = wanted.setdefault(tensor, (set(), set()))
                known[0].update(read[0])
                known[1].update(read[1])
        size = len(wanted[0][0]) * len(wanted[0][1]) * self.shape.channels
        return Operands((size,), self.output.elements, weights)


class PoolKind(StrEnum):
    AVERAGE = "average"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Pool(Sliding):
    """AVERAGE_POOL_2D (over the part of the window inside the image), MAX_POOL_2D, the least.

    Ties of a mean go away from zero, or up.
    """

    kind: PoolKind
    shape: Image
    output: Image
    window: Window
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX
    ties_up: bool = False


@dataclass(frozen=True, eq=False)
class Mean(OverAxes, ByContent):
    """MEAN and SUM over ``axes``: the sum of (x - input_zero_point), requantised (one channel)."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    input_zero_point: int
    requantization: Requantization


@dataclass(frozen=True)
class Extreme(OverAxes):
    """REDUCE_MAX and REDUCE_MIN: the greatest or the least element along ``axes``, clamped."""

    kind: PoolKind
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX


@dataclass(frozen=True)
class ArgExtreme(Layer):
    """ARG_MAX and ARG_MIN: where along the middle axis of ``shape`` the first greatest or least element lies, in
    integers of ``size`` bytes."""

    kind: PoolKind
    shape: tuple[int, int, int]
    size: int

    @property
    def outputs(self) -> int:
        return self.shape[0] * self.shape[2]

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand(self.shape),)

    @property
    def gives(self) -> Operand:
        return Operand((self.outputs,), f"int{8 * self.size}")


class MatrixSteps(NamedTuple):
    """Elements from one row or column of an operand's matrix to the next, and along the sum; ``start`` is the C text of
    where a batch's matrix starts."""

    outer: int
    inner: int
    start: str


@dataclass(frozen=True)
class MatMul(Layer):
    """BATCH_MATMUL: sums of (a - za) (b - zb) of [..., M, K] and [..., K, N], in memory transposed or not, batches
    broadcast; rescaled by ``result``.
    """

    first_shape: tuple[int, ...]
    second_shape: tuple[int, ...]
    transposed: tuple[bool, bool]
    first_zero_point: int
    second_zero_point: int
    zero_point: int
    result: Rescale

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.broadcast_shapes(self.first_shape[:-2], self.second_shape[:-2]))

    @property
    def size(self) -> tuple[int, int, int]:
        """M, K and N."""
        m, k = self.first_shape[-2:][:: -1 if self.transposed[0] else 1]
        return m, k, self.second_shape[-2 if self.transposed[1] else -1]

    @property
    def takes(self) -> tuple[Operand, ...]:
        return Operand(self.first_shape), Operand(self.second_shape)

    @property
    def gives(self) -> Operand:
        rows, _, columns = self.size
        return Operand((*self.batches, rows, columns))

    def steps(self, position: int) -> MatrixSteps:
        """How an operand is walked; the second one by columns."""
        shape = (self.first_shape, self.second_shape)[position]
        by_rows = self.transposed[position] == (position == 1)
        padded = (1,) * (len(self.batches) + 2 - len(shape)) + shape
        steps = [math.prod(padded[axis + 1 :]) if size > 1 else 0 for axis, size in enumerate(padded[:-2])]
        start = "".join(f" + i{axis} * {step}" for axis, step in enumerate(steps) if step)
        return MatrixSteps(shape[-1], 1, start) if by_rows else MatrixSteps(1, shape[-1], start)


@dataclass(frozen=True)
class Softmax(OfRows):
    """SOFTMAX along the last axis, as TFLite's reference does it in fixed point, in ``output_bits`` (8 or 16).

    Differences to the row's greatest element, below ``least_difference`` taken as exp(x) = 0, are rescaled by
    ``multiplier`` * 2^(left_shift - 31) to Q5.26.
    """

    rows: int
    depth: int
    multiplier: int
    left_shift: int
    least_difference: int
    output_bits: int = 8

    @property
    def gives(self) -> Operand:
        return Operand((self.rows, self.depth), f"int{self.output_bits}")

    @property
    def output_bounds(self) -> tuple[int, int]:
        """The outputs that mean 0 and nearly 1."""
        return -(1 << (self.output_bits - 1)), (1 << (self.output_bits - 1)) - 1

    @cached_property
    def exponentials(self) -> Int64Array:
        """exp of the differences 0, -1, ... -255 in Q0.31."""
        return exponentials(self.multiplier, self.left_shift, self.least_difference)


@dataclass(frozen=True)
class L2Norm(OfRows):
    """L2_NORMALIZATION of rows, in steps of 1/128: the inverse root of a row's squares in fixed point."""

    rows: int
    depth: int
    input_zero_point: int


@dataclass(frozen=True, eq=False)
class Lookup(OfElements, ByContent):
    """out = table[in + 128], element by element: every unary int8 operator."""

    elements: int
    table: Int8Array


@dataclass(frozen=True, eq=False)
class FloatLookup(OfElements, ByContent):
    """out = table[in + 128] with a table of float32: what floats that an int8 decides come to."""

    target_type = "float32"

    elements: int
    table: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quantize(OfElements):
    """float32 to int8: clamp(zero_point + round(x / scale)), ties away from zero, or to even."""

    source_type = "float32"

    elements: int
    scale: float
    zero_point: int
    even: bool = False

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs; the zero point of what is no number."""
        return fixedpoint.quantized(x, self.scale, self.zero_point, even=self.even)


@dataclass(frozen=True)
class Dequantize(OfElements):
    """int8 to float32: scale * (x - zero_point)."""

    target_type = "float32"

    elements: int
    scale: float
    zero_point: int
