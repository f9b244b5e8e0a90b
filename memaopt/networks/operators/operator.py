"""The operators of a network: one small frozen class for each kind, with its attributes resolved.

Indices in ``inputs`` and ``outputs`` point into the graph's tensors. Only data are inputs: axes, paddings,
permutations and the like are attributes here, whatever tensors held them in the file. Windows carry explicit
padding, so SAME and VALID exist only in the file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Activation(StrEnum):
    """The fused activations that TFLite's quantised kernels implement, as a clamp of the output."""

    NONE = "none"
    RELU = "relu"
    RELU_N1_TO_1 = "relu_n1_to_1"
    RELU6 = "relu6"


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


ONE = Size2D(1, 1)


class Operator(BaseModel):
    """One node. ``location`` is its place in the file's execution order, for messages and reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = ""
    arity: ClassVar[tuple[int, int]] = (1, 1)
    """The least and the most inputs."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    location: int = Field(default=0, ge=0)

    @property
    def input(self) -> int:
        return self.inputs[0]

    @property
    def output(self) -> int:
        return self.outputs[0]


def _int8_table(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) != 256 or not -128 <= min(values) <= max(values) <= 127:
        raise ValueError("a table has 256 values of int8")
    return values


class Bounded(Operator):
    """An operator that clamps its int8 outputs. ``bounds``, where given, stand in place of any fused activation:
    no file has them, they come from operators that were folded into this one.
    """

    bounds: Bounds | None = None

    @field_validator("bounds")
    @classmethod
    def _check_bounds(cls, bounds: Bounds | None) -> Bounds | None:
        if bounds is not None and not -128 <= bounds.minimum <= bounds.maximum <= 127:
            raise ValueError(f"bounds {list(bounds)} are no range of int8")
        return bounds


class _Weighted(Bounded):
    """An operator with constant weights and, optionally, a bias: inputs are (input, weights[, bias])."""

    arity: ClassVar[tuple[int, int]] = (2, 3)
    activation: Activation = Activation.NONE

    @property
    def weights(self) -> int:
        return self.inputs[1]

    @property
    def bias(self) -> int | None:
        return self.inputs[2] if len(self.inputs) == 3 else None


class Conv2D(_Weighted):
    """Input NHWC, weights OHWI. A channel count I below the input's means groups = C / I."""

    kind: ClassVar[str] = "CONV_2D"
    stride: Size2D = ONE
    dilation: Size2D = ONE
    padding: Padding2D = Padding2D()


class DepthwiseConv2D(_Weighted):
    """Input NHWC, weights 1HWO, O = C * depth multiplier; output channel o reads input channel o // multiplier."""

    kind: ClassVar[str] = "DEPTHWISE_CONV_2D"
    stride: Size2D = ONE
    dilation: Size2D = ONE
    padding: Padding2D = Padding2D()


class FullyConnected(_Weighted):
    """Input [batch..., K] flattened to rows of K, weights [M, K]."""

    kind: ClassVar[str] = "FULLY_CONNECTED"


class _Pool(Bounded):
    kernel: Size2D
    stride: Size2D = ONE
    padding: Padding2D = Padding2D()
    activation: Activation = Activation.NONE


class AveragePool2D(_Pool):
    """The mean over the part of the window that lies inside the image; no rescaling."""

    kind: ClassVar[str] = "AVERAGE_POOL_2D"


class MaxPool2D(_Pool):
    kind: ClassVar[str] = "MAX_POOL_2D"


class _Binary(Bounded):
    """Two inputs, broadcast against each other as numpy does."""

    arity: ClassVar[tuple[int, int]] = (2, 2)
    activation: Activation = Activation.NONE


class _Sum(_Binary):
    """``table``, where there is one, has the outputs of the clamped sums -128 to 127. No file has it; ``then`` names
    the operators that it stands for, and ``sum`` is the tensor whose quantisation the sums have."""

    table: tuple[int, ...] = ()
    then: str = ""
    sum: int | None = None

    @field_validator("table")
    @classmethod
    def _check_table(cls, table: tuple[int, ...]) -> tuple[int, ...]:
        return _int8_table(table) if table else table


class Add(_Sum):
    kind: ClassVar[str] = "ADD"


class Sub(_Sum):
    kind: ClassVar[str] = "SUB"


class Mul(_Binary):
    kind: ClassVar[str] = "MUL"


class Mean(Bounded):
    """The mean over ``axes`` (sorted, not negative)."""

    kind: ClassVar[str] = "MEAN"
    axes: tuple[int, ...]


class Pad(Operator):
    """Constant padding with the output's zero point: (before, after) for each dimension."""

    kind: ClassVar[str] = "PAD"
    paddings: tuple[tuple[int, int], ...]


class Concatenation(Operator):
    kind: ClassVar[str] = "CONCATENATION"
    arity: ClassVar[tuple[int, int]] = (1, 256)
    axis: int = Field(ge=0)


class Reshape(Operator):
    """The output tensor's shape says it all; elements keep their order."""

    kind: ClassVar[str] = "RESHAPE"


class Squeeze(Reshape):
    kind: ClassVar[str] = "SQUEEZE"


class ExpandDims(Reshape):
    kind: ClassVar[str] = "EXPAND_DIMS"


class Transpose(Operator):
    """output.shape[i] = input.shape[permutation[i]]."""

    kind: ClassVar[str] = "TRANSPOSE"
    permutation: tuple[int, ...]


class Slice(NamedTuple):
    """Elements start, start + step, ... of one axis, ``length`` of them."""

    start: int
    step: int
    length: int


class StridedSlice(Operator):
    """One slice for each input dimension; masks are resolved, axes are added and dropped by the output's shape."""

    kind: ClassVar[str] = "STRIDED_SLICE"
    slices: tuple[Slice, ...]


class ResizeNearestNeighbor(Operator):
    kind: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    align_corners: bool = False
    half_pixel_centers: bool = False


class Softmax(Operator):
    """Along the last axis."""

    kind: ClassVar[str] = "SOFTMAX"
    beta: float = 1.0


class Logistic(Operator):
    kind: ClassVar[str] = "LOGISTIC"


class Tanh(Operator):
    kind: ClassVar[str] = "TANH"


class HardSwish(Operator):
    kind: ClassVar[str] = "HARD_SWISH"


class LeakyRelu(Operator):
    kind: ClassVar[str] = "LEAKY_RELU"
    alpha: float


class Relu(Operator):
    kind: ClassVar[str] = "RELU"


class Relu6(Operator):
    kind: ClassVar[str] = "RELU6"


class Quantize(Operator):
    """float32 to int8, or int8 to int8 with another scale and zero point."""

    kind: ClassVar[str] = "QUANTIZE"


class Lookup(Operator):
    """Each element by a table: ``values`` are the outputs of the inputs -128 to 127. No file has it; ``of`` names
    the operators that it stands for.
    """

    kind: ClassVar[str] = "LOOKUP"
    values: tuple[int, ...]
    of: str = ""

    @field_validator("values")
    @classmethod
    def _check_values(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return _int8_table(values)


class Dequantize(Operator):
    """int8 to float32."""

    kind: ClassVar[str] = "DEQUANTIZE"


OPERATORS: dict[str, type[Operator]] = {
    cls.kind: cls
    for cls in (
        Conv2D,
        DepthwiseConv2D,
        FullyConnected,
        Add,
        Mul,
        Sub,
        AveragePool2D,
        MaxPool2D,
        Mean,
        Pad,
        Concatenation,
        Reshape,
        Transpose,
        Squeeze,
        ExpandDims,
        Softmax,
        Logistic,
        Tanh,
        HardSwish,
        LeakyRelu,
        Relu,
        Relu6,
        Quantize,
        Dequantize,
        ResizeNearestNeighbor,
        StridedSlice,
    )
}
"""Every operator of a file that is supported, by its TFLite name."""

UNARY = (Relu, Relu6, LeakyRelu, HardSwish, Tanh, Logistic, Quantize, Lookup)
"""Operators on one tensor of any shape whose output element i depends on element i, and nothing else."""

ELEMENTWISE = (Add, Sub, Mul, *UNARY)
"""Operators whose output element i depends on element i of each input of the same shape, and nothing else."""
