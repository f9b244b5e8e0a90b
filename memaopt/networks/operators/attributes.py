"""The values that operators' attributes take."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Activation(StrEnum):
    """The fused activations that TFLite's quantised kernels implement, as a clamp of the output."""

    NONE = "none"
    RELU = "relu"
    RELU_N1_TO_1 = "relu_n1_to_1"
    RELU6 = "relu6"


class Rounding(StrEnum):
    """How accumulators become outputs: as TFLite's kernel of the operator does it; by ONNX's one float32 factor, to the
    nearest in double (fixedpoint.requantize_in_double), or as onnxruntime does (fixedpoint.requantize_to_even)."""

    TFLITE = "tflite"
    NEAREST = "nearest"
    EVEN = "even"


class Size2D(NamedTuple):
    """Rows and columns of a stride, dilation or kernel."""

    height: int
    width: int


class Padding2D(NamedTuple):
    """Rows and columns of padding on each side of an image. Padded elements equal the input's zero point."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


class Bounds(NamedTuple):
    """The least and the greatest int8 output that a clamp leaves."""

    minimum: int
    maximum: int


class Slice(NamedTuple):
    """Elements start, start + step, ... of one axis, ``length`` of them."""

    start: int
    step: int
    length: int


ONE = Size2D(1, 1)
EVERY_BYTE = Bounds(-128, 127)
"""What an output without a clamp can be."""
