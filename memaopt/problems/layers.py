"""WHAT a layer computes: quantised layers as plain frozen data, one class for each kind.

Images are NHWC with N = 1 (a batch is a loop over calls), ``shape`` is (height, width, channels), and arrays
hold int8 weights and int64 everything else. Nothing here knows how a layer is computed. Layers are equal, and hash, by
content.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.problems.content import ByContent
from memaopt.problems.step_functions import (
    INT8_MAX,
    INT8_MIN,
    AccumulatorRange,
    Requantization,
    Rescale,
    accumulator_range,
)

__all__ = [
    "RESIZE_UNIT",
    "ArgExtreme",
    "Binary",
    "BinaryKind",
    "Conv",
    "ConvDepthwise",
    "Depthwise",
    "Dequantize",
    "Extreme",
    "FloatLookup",
    "FullyConnected",
    "Image",
    "L2Norm",
    "Layer",
    "Lookup",
    "MatMul",
    "MatrixSteps",
    "Mean",
    "Movement",
    "Padding",
    "Pair",
    "Piece",
    "Pool",
    "PoolKind",
    "Quantize",
    "Requantization",
    "Rescale",
    "Resize",
    "Softmax",
    "Window",
]  # fmt: skip

Int8Array = npt.NDArray[np.int8]


class Image(NamedTuple):
    """Height, width and channels of one NHWC activation."""

    height: int
    width: int
    channels: int

    @property
    def elements(self) -> int:
        return self.height * self.width * self.channels

    @property
    def positions(self) -> int:
        return self.height * self.width


class Pair(NamedTuple):
    """Rows and columns of a kernel, stride or dilation."""

    height: int
    width: int


class Padding(NamedTuple):
    """Rows above and columns to the left of the image; what is needed below and to the right follows."""

    top: int = 0
    left: int = 0


_ONE = Pair(1, 1)
_NO_PADDING = Padding()


@dataclass(frozen=True)
class Window:
    """A kernel sliding over an image."""

    kernel: Pair
    stride: Pair = _ONE
    dilation: Pair = _ONE
    padding: Padding = _NO_PADDING

    def describe(self) -> str:
        """For head comments."""
        text = f"kernel {self.kernel.height}x{self.kernel.width}, stride {self.stride.height}x{self.stride.width}"
        if self.dilation != _ONE:
            text += f", dilation {self.dilation.height}x{self.dilation.width}"
        return f"{text}, padding {self.padding.top} above and {self.padding.left} on the left"

    def taps(self, image: Image, output: Image) -> int:
        """(output position, kernel tap) pairs that fall inside the image, one channel."""
        rows, columns = (
            _inside(size, outputs, kernel, stride, dilation, before)
            for size, outputs, kernel, stride, dilation, before in zip(
                image[:2], output[:2], self.kernel, self.stride, self.dilation, self.padding, strict=True
            )
        )
        return rows * columns

    def rows_inside(self, image: Image, output: Image) -> int:
        """(output row, kernel row) pairs that fall inside the image."""
        (height, top), kernel = (image.height, self.padding.top), self.kernel.height
        return _inside(height, output.height, kernel, self.stride.height, self.dilation.height, top)


def _inside(size: int, outputs: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    at = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None, :] * dilation - before
    return int(np.count_nonzero((at >= 0) & (at < size)))


@dataclass(frozen=True, eq=False)
class Conv(ByContent):
    """CONV_2D: ``weights`` are OHWI. With ``groups`` > 1, I is the input's channels / groups."""

    shape: Image
    output: Image
    weights: Int8Array
    bias: Int64Array
    window: Window
    input_zero_point: int
    requantization: Requantization
    groups: int = 1

    @property
    def macs(self) -> int:
        return self.output.positions * self.weights.size

    @cached_property
    def range(self) -> AccumulatorRange:
        flat = self.weights.reshape(len(self.weights), -1).T.astype(np.int64)
        return accumulator_range(flat, self.bias, self.input_zero_point)


@dataclass(frozen=True, eq=False)
class Depthwise(ByContent):
    """DEPTHWISE_CONV_2D: ``weights`` are HWO; output channel o reads input channel o // (O / C)."""

    shape: Image
    output: Image
    weights: Int8Array
    bias: Int64Array
    window: Window
    input_zero_point: int
    requantization: Requantization

    @property
    def multiplier(self) -> int:
        """Output channels for each input channel."""
        return self.output.channels // self.shape.channels

    @property
    def macs(self) -> int:
        return self.output.positions * self.weights.size

    @cached_property
    def range(self) -> AccumulatorRange:
        flat = self.weights.reshape(-1, self.output.channels).astype(np.int64)
        return accumulator_range(flat, self.bias, self.input_zero_point)


@dataclass(frozen=True, eq=False)
class FullyConnected(ByContent):
    """FULLY_CONNECTED: ``rows`` inputs of K elements, ``weights`` [M, K]."""

    rows: int
    weights: Int8Array
    bias: Int64Array
    input_zero_point: int
    requantization: Requantization

    @property
    def macs(self) -> int:
        return self.rows * self.weights.size

    @cached_property
    def range(self) -> AccumulatorRange:
        return accumulator_range(self.weights.T.astype(np.int64), self.bias, self.input_zero_point)


@dataclass(frozen=True, eq=False)
class ConvDepthwise(ByContent):
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


class PoolKind(StrEnum):
    AVERAGE = "average"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Pool:
    """AVERAGE_POOL_2D (over the part of the window inside the image, ties away from zero), MAX_POOL_2D, the least."""

    kind: PoolKind
    shape: Image
    output: Image
    window: Window
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX


@dataclass(frozen=True, eq=False)
class Mean(ByContent):
    """MEAN and SUM over ``axes``: the sum of (x - input_zero_point), requantised (one channel)."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    input_zero_point: int
    requantization: Requantization

    @property
    def count(self) -> int:
        """Elements that one output averages."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Extreme:
    """REDUCE_MAX and REDUCE_MIN: the greatest or the least element along ``axes``, clamped."""

    kind: PoolKind
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    minimum: int = INT8_MIN
    maximum: int = INT8_MAX

    @property
    def count(self) -> int:
        """Elements that one output is of."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class ArgExtreme:
    """ARG_MAX and ARG_MIN: where along the middle axis of ``shape`` the first greatest or least element lies, in
    integers of ``size`` bytes."""

    kind: PoolKind
    shape: tuple[int, int, int]
    size: int

    @property
    def outputs(self) -> int:
        return self.shape[0] * self.shape[2]


RESIZE_UNIT = 1 << 10
"""Parts of a position that RESIZE_BILINEAR counts in."""


class Neighbours(NamedTuple):
    """For each output index along an axis: the input's before and behind, and how far behind the first, in parts."""

    lower: Int64Array
    upper: Int64Array
    part: Int64Array


@dataclass(frozen=True)
class Resize:
    """RESIZE_BILINEAR: ``step`` parts of an input's row and column from one output's to the next, from 0 or, with
    ``half_pixels``, from the middle of the first output's; ties away from zero.
    """

    shape: Image
    output: Image
    step: Pair
    half_pixels: bool

    def positions(self, axis: int) -> Neighbours:
        """Where outputs lie along rows (0) or columns (1). C's divisions truncate."""
        at = np.arange(self.output[axis], dtype=np.int64) * self.step[axis]
        if self.half_pixels:
            at += self.step[axis] // 2 - RESIZE_UNIT // 2
        lower = np.maximum(at, 0) // RESIZE_UNIT
        above = at + RESIZE_UNIT - 1
        upper = np.minimum(np.sign(above) * (np.abs(above) // RESIZE_UNIT), self.shape[axis] - 1)
        return Neighbours(lower, upper, at - lower * RESIZE_UNIT)

    def apply(self, images: npt.ArrayLike) -> Int64Array:
        """The outputs of images [batch, height, width, channels]."""
        x = np.asarray(images, np.int64)
        rows, columns = self.positions(0), self.positions(1)
        below, behind = rows.part[:, None, None], columns.part[:, None]
        lines = x[:, rows.lower] * (RESIZE_UNIT - below) + x[:, rows.upper] * below
        total = lines[:, :, columns.lower] * (RESIZE_UNIT - behind) + lines[:, :, columns.upper] * behind
        half = RESIZE_UNIT * RESIZE_UNIT // 2
        rounded: Int64Array = np.sign(total) * ((np.abs(total) + half) // RESIZE_UNIT**2)
        return rounded


class MatrixSteps(NamedTuple):
    """Elements from one row or column of an operand's matrix to the next, and along the sum; ``start`` is the C text of
    where a batch's matrix starts."""

    outer: int
    inner: int
    start: str


@dataclass(frozen=True)
class MatMul:
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

    def steps(self, position: int) -> MatrixSteps:
        """How an operand is walked; the second one by columns."""
        shape = (self.first_shape, self.second_shape)[position]
        by_rows = self.transposed[position] == (position == 1)
        padded = (1,) * (len(self.batches) + 2 - len(shape)) + shape
        steps = [math.prod(padded[axis + 1 :]) if size > 1 else 0 for axis, size in enumerate(padded[:-2])]
        start = "".join(f" + i{axis} * {step}" for axis, step in enumerate(steps) if step)
        return MatrixSteps(shape[-1], 1, start) if by_rows else MatrixSteps(1, shape[-1], start)


@dataclass(frozen=True)
class Softmax:
    """SOFTMAX along the last axis, as TFLite's reference does it in fixed point.

    Differences to the row's greatest element, below ``least_difference`` taken as exp(x) = 0, are rescaled by
    ``multiplier`` * 2^(left_shift - 31) to Q5.26.
    """

    rows: int
    depth: int
    multiplier: int
    left_shift: int
    least_difference: int

    @cached_property
    def exponentials(self) -> Int64Array:
        """exp of the differences 0, -1, ... -255 in Q0.31."""
        difference = -np.arange(256, dtype=np.int64)
        counted = difference >= self.least_difference
        kept = np.where(counted, difference, 0)
        scaled = fixedpoint.saturating_rounding_doubling_high_mul(kept << self.left_shift, self.multiplier)
        return np.where(counted, fixedpoint.exp_on_negative_values(scaled), 0)


@dataclass(frozen=True)
class L2Norm:
    """L2_NORMALIZATION of rows, in steps of 1/128: the inverse root of a row's squares in fixed point."""

    rows: int
    depth: int
    input_zero_point: int


@dataclass(frozen=True, eq=False)
class Lookup(ByContent):
    """out = table[in + 128], element by element: every unary int8 operator."""

    elements: int
    table: Int8Array


@dataclass(frozen=True, eq=False)
class FloatLookup(ByContent):
    """out = table[in + 128] with a table of float32: what floats that an int8 decides come to."""

    elements: int
    table: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Piece(ByContent):
    """A box of elements moved from one input to the output: for each index of ``shape``,
    output[output_offset + sum(output_tables[d][i_d])] = input[input_offset + sum(input_tables[d][i_d])].
    """

    source: int
    shape: tuple[int, ...]
    input_tables: tuple[Int64Array, ...]
    output_tables: tuple[Int64Array, ...]
    input_offset: int = 0
    output_offset: int = 0

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def without_ones(self) -> "Piece":
        """The same elements without the axes of size 1: what their tables add is in the offsets."""
        kept = [d for d, size in enumerate(self.shape) if size != 1]
        fixed = [d for d, size in enumerate(self.shape) if size == 1]
        return Piece(
            self.source,
            tuple(self.shape[d] for d in kept),
            tuple(self.input_tables[d] for d in kept),
            tuple(self.output_tables[d] for d in kept),
            self.input_offset + sum(int(self.input_tables[d][0]) for d in fixed),
            self.output_offset + sum(int(self.output_tables[d][0]) for d in fixed),
        )


@dataclass(frozen=True, eq=False)
class Movement(ByContent):
    """Operators that only move elements. What no piece writes (padding) becomes ``fill``."""

    what: str
    elements: int
    pieces: tuple[Piece, ...] = field(default_factory=tuple)
    fill: int = 0

    @property
    def sources(self) -> int:
        return 1 + max((piece.source for piece in self.pieces), default=0)


@dataclass(frozen=True)
class Quantize:
    """float32 to int8: clamp(zero_point + round(x / scale)), ties away from zero."""

    elements: int
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Dequantize:
    """int8 to float32: scale * (x - zero_point)."""

    elements: int
    scale: float
    zero_point: int


Layer = (
    Conv
    | Depthwise
    | ConvDepthwise
    | FullyConnected
    | Binary
    | Pool
    | Mean
    | Extreme
    | ArgExtreme
    | Softmax
    | L2Norm
    | Lookup
    | FloatLookup
    | Movement
    | Resize
    | MatMul
    | Quantize
    | Dequantize
)


def box(
    source: int,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    *,
    shape: tuple[int, ...],
    input_start: tuple[int, ...] | None = None,
    input_step: tuple[int, ...] | None = None,
    output_start: tuple[int, ...] | None = None,
    permutation: tuple[int, ...] | None = None,
) -> Piece:
    """The piece that moves a box of ``shape`` between two tensors of equal rank.

    Output index o_d = output_start[d] + i_d reads input index input_start[p] + i_d * input_step[p] of the input
    axis p = permutation[d] (d itself by default).
    """
    rank = len(shape)
    axes = permutation or tuple(range(rank))
    start, step = input_start or (0,) * rank, input_step or (1,) * rank
    to = output_start or (0,) * rank
    input_strides = [math.prod(input_shape[d + 1 :]) for d in range(rank)]
    output_strides = [math.prod(output_shape[d + 1 :]) for d in range(rank)]
    return Piece(
        source,
        shape,
        tuple(np.arange(shape[d], dtype=np.int64) * step[axes[d]] * input_strides[axes[d]] for d in range(rank)),
        tuple(np.arange(shape[d], dtype=np.int64) * output_strides[d] for d in range(rank)),
        sum(s * stride for s, stride in zip(start, input_strides, strict=True)),
        sum(s * stride for s, stride in zip(to, output_strides, strict=True)),
    )
