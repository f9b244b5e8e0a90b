"""From the file's operators to ours: options and constant operands become attributes.

Shapes, types and quantisation are checked afterwards, on the graph; here only what is needed to read safely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from memaopt.errors import UnsupportedModelError
from memaopt.networks import shapes
from memaopt.networks.formats.tflite.schema import names
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Activation, Operator, Padding2D, Size2D, Slice

_MAX_INTEGERS = 64


@dataclass(frozen=True)
class Source:
    """One operator of the file, with what is needed to convert it."""

    kind: str
    location: int
    place: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: list[Tensor]
    module: ModuleType
    accessor: Any

    def refuse(self, problem: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"{self.place}: {problem}")

    def expect(self, least: int, most: int) -> None:
        """Raise unless there are that many inputs, and one output."""
        if not least <= len(self.inputs) <= most or len(self.outputs) != 1:
            count = str(least) if least == most else f"{least} to {most}"
            raise self.refuse(
                f"{len(self.inputs)} inputs and {len(self.outputs)} outputs; {count} and one are supported"
            )

    def tensor(self, position: int) -> Tensor:
        """The tensor of a required input."""
        index = self.inputs[position]
        if index < 0:
            raise self.refuse(f"input {position} is missing")
        return self.tensors[index]

    def options(self, name: str) -> Any:
        """The accessor of the options table, or None if the file has none."""
        kind, expected = self.accessor.BuiltinOptionsType(), getattr(self.module.BuiltinOptions, name)
        table = self.accessor.BuiltinOptions()
        if kind == 0 or table is None:
            return None
        if kind != expected:
            found = names(self.module.BuiltinOptions).get(kind, f"type {kind}")
            raise self.refuse(f"its options are {found}, not {name}")
        options = getattr(self.module, name)()
        options.Init(table.Bytes, table.Pos)
        return options

    def required(self, name: str) -> Any:
        """The accessor of options that have no usable defaults."""
        options = self.options(name)
        if options is None:
            raise self.refuse(f"its {name} are missing")
        return options

    def integers(self, position: int, role: str) -> tuple[int, ...]:
        """The elements of a small constant integer tensor."""
        tensor = self.tensor(position)
        if tensor.data is None or tensor.dtype not in (DType.INT32, DType.INT64):
            raise self.refuse(f"{role} {tensor.name!r} is computed or not an integer; a constant is supported")
        if tensor.elements > _MAX_INTEGERS:
            raise self.refuse(f"{role} has {tensor.elements} elements; up to {_MAX_INTEGERS} are supported")
        return tuple(int(i) for i in tensor.data.reshape(-1))

    def activation(self, options: Any) -> Activation:
        """The fused activation, none if the file has no options."""
        if options is None:
            return Activation.NONE
        value = options.FusedActivationFunction()
        name = names(self.module.ActivationFunctionType).get(value, f"number {value}")
        try:
            return Activation(name.lower())
        except ValueError:
            allowed = ", ".join(a.name for a in Activation)
            raise self.refuse(f"fused activation {name}; {allowed} are supported") from None

    def common(self, inputs: tuple[int, ...] | None = None) -> dict[str, Any]:
        """The attributes that every operator has; only the first input is data unless said otherwise."""
        used = self.inputs[:1] if inputs is None else inputs
        for position, index in enumerate(used):
            if index < 0:
                raise self.refuse(f"input {position} is missing")
        return {"inputs": used, "outputs": self.outputs, "location": self.location}


def convert(source: Source) -> Operator:
    """The operator of the graph; UnsupportedModelError for an attribute that is not supported."""
    if any(index < 0 for index in source.outputs):
        raise source.refuse("an output is missing")
    return _CONVERTERS[source.kind](source)


def _weighted(source: Source) -> dict[str, Any]:
    source.expect(2, 3)
    inputs = source.inputs if source.inputs[-1] >= 0 else source.inputs[:-1]
    source.tensor(1)
    return source.common(inputs)


def _padding(source: Source, options: Any, kernel: Size2D, stride: Size2D, dilation: Size2D) -> Padding2D:
    shape = source.tensor(0).shape
    shapes.rank(source.place, shape, 4)
    if min(*kernel, *stride, *dilation) < 1:
        raise source.refuse(f"kernel {list(kernel)}, stride {list(stride)}, dilation {list(dilation)} must be positive")
    if options.Padding() == source.module.Padding.VALID:
        return Padding2D()
    if options.Padding() == source.module.Padding.SAME:
        return shapes.same_padding(shape[1], shape[2], kernel, stride, dilation)
    raise source.refuse(f"padding {options.Padding()}; SAME and VALID are supported")


def _convolution(source: Source, cls: type[ops.Conv2D] | type[ops.DepthwiseConv2D], name: str) -> Operator:
    common = _weighted(source)
    options = source.required(name)
    weights = source.tensor(1).shape
    shapes.rank(source.place, weights, 4)
    stride = Size2D(options.StrideH(), options.StrideW())
    dilation = Size2D(options.DilationHFactor(), options.DilationWFactor())
    padding = _padding(source, options, Size2D(weights[1], weights[2]), stride, dilation)
    activation = source.activation(options)
    return cls(**common, stride=stride, dilation=dilation, padding=padding, activation=activation)


def _fully_connected(source: Source) -> Operator:
    common = _weighted(source)
    options = source.options("FullyConnectedOptions")
    if options is not None and options.WeightsFormat() != 0:
        raise source.refuse("shuffled weights; the default format is supported")
    return ops.FullyConnected(**common, activation=source.activation(options))


def _pool(source: Source, cls: type[ops.AveragePool2D] | type[ops.MaxPool2D]) -> Operator:
    source.expect(1, 1)
    options = source.required("Pool2DOptions")
    kernel = Size2D(options.FilterHeight(), options.FilterWidth())
    stride = Size2D(options.StrideH(), options.StrideW())
    padding = _padding(source, options, kernel, stride, ops.ONE)
    activation = source.activation(options)
    return cls(**source.common(), kernel=kernel, stride=stride, padding=padding, activation=activation)


def _binary(source: Source, cls: type[ops.Add] | type[ops.Sub] | type[ops.Mul], name: str) -> Operator:
    source.expect(2, 2)
    return cls(**source.common(source.inputs), activation=source.activation(source.options(name)))


def _mean(source: Source) -> Operator:
    source.expect(2, 2)
    dimensions = len(source.tensor(0).shape)
    axes = source.integers(1, "axes")
    if any(not -dimensions <= axis < dimensions for axis in axes):
        raise source.refuse(f"axes {list(axes)} of {dimensions} dimensions")
    return ops.Mean(**source.common(), axes=tuple(sorted({axis % dimensions for axis in axes})))


def _pad(source: Source) -> Operator:
    source.expect(2, 2)
    flat = source.integers(1, "paddings")
    dimensions = len(source.tensor(0).shape)
    if source.tensor(1).shape != (dimensions, 2) or any(not 0 <= value < 1 << 31 for value in flat):
        raise source.refuse(
            f"paddings {list(flat)}; two numbers, 0 or more, for each of {dimensions} dimensions are supported"
        )
    return ops.Pad(**source.common(), paddings=tuple(zip(flat[::2], flat[1::2], strict=True)))


def _concatenation(source: Source) -> Operator:
    source.expect(1, ops.Concatenation.arity[1])
    options = source.required("ConcatenationOptions")
    if source.activation(options) is not Activation.NONE:
        raise source.refuse("a fused activation; none is supported, as in TFLite")
    dimensions = len(source.tensor(0).shape)
    axis = options.Axis()
    if not -dimensions <= axis < dimensions:
        raise source.refuse(f"axis {axis} of {dimensions} dimensions")
    return ops.Concatenation(**source.common(source.inputs), axis=axis % dimensions)


def _reshape(source: Source) -> Operator:
    # The shape operand or option is not read: the output tensor has the shape, and checks compare sizes.
    source.expect(1, 2)
    return ops.Reshape(**source.common())


def _squeeze(source: Source) -> Operator:
    source.expect(1, 1)
    options = source.options("SqueezeOptions")
    given = [] if options is None else [options.SqueezeDims(i) for i in range(options.SqueezeDimsLength())]
    shape, output = source.tensor(0).shape, source.tensors[source.outputs[0]].shape
    axes = {axis % len(shape) for axis in given} if shape else set()
    expected = tuple(n for axis, n in enumerate(shape) if (axis not in axes if given else n != 1))
    if output != expected:
        raise source.refuse(f"squeezing {given or 'all axes'} of {list(shape)} does not give {list(output)}")
    return ops.Squeeze(**source.common())


def _expand_dims(source: Source) -> Operator:
    source.expect(2, 2)
    return ops.ExpandDims(**source.common())


def _transpose(source: Source) -> Operator:
    source.expect(2, 2)
    permutation = source.integers(1, "permutation")
    dimensions = len(source.tensor(0).shape)
    if any(not -dimensions <= axis < dimensions for axis in permutation):
        raise source.refuse(f"permutation {list(permutation)} of {dimensions} dimensions")
    return ops.Transpose(**source.common(), permutation=tuple(axis % dimensions for axis in permutation))


def _resize(source: Source) -> Operator:
    source.expect(2, 2)
    options = source.options("ResizeNearestNeighborOptions")
    size = source.integers(1, "size")
    if size != source.tensors[source.outputs[0]].shape[1:3]:
        raise source.refuse(f"size {list(size)} is not that of the output")
    align = options is not None and bool(options.AlignCorners())
    half = options is not None and bool(options.HalfPixelCenters())
    return ops.ResizeNearestNeighbor(**source.common(), align_corners=align, half_pixel_centers=half)


def _softmax(source: Source) -> Operator:
    source.expect(1, 1)
    return ops.Softmax(**source.common(), beta=source.required("SoftmaxOptions").Beta())


def _leaky_relu(source: Source) -> Operator:
    source.expect(1, 1)
    return ops.LeakyRelu(**source.common(), alpha=source.required("LeakyReluOptions").Alpha())


def _strided_slice(source: Source) -> Operator:
    source.expect(4, 4)
    options = source.options("StridedSliceOptions")
    shape = source.tensor(0).shape
    begin, end, strides = (source.integers(i, role) for i, role in ((1, "begin"), (2, "end"), (3, "strides")))
    if not len(begin) == len(end) == len(strides) <= 31 or 0 in strides:
        raise source.refuse(f"begin {list(begin)}, end {list(end)}, strides {list(strides)} do not go together")
    fields = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")
    masks = [0 if options is None else getattr(options, field)() for field in fields]
    if options is not None and options.Offset():
        raise source.refuse("end given as an offset; absolute ends are supported")
    return ops.StridedSlice(**source.common(), slices=_slices(source, shape, begin, end, strides, masks))


def _slices(
    source: Source,
    shape: tuple[int, ...],
    begin: tuple[int, ...],
    end: tuple[int, ...],
    strides: tuple[int, ...],
    masks: list[int],
) -> tuple[Slice, ...]:
    """Resolve the masks to one slice for each input dimension (new axes only show in the output's shape)."""
    begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_mask = masks
    entries = range(len(begin))
    ellipses = [i for i in entries if ellipsis_mask >> i & 1]
    if len(ellipses) > 1:
        raise source.refuse("more than one ellipsis; one is supported")
    named = [i for i in entries if i not in ellipses and not new_axis_mask >> i & 1]
    if len(named) > len(shape):
        raise source.refuse(f"{len(named)} slices of {len(shape)} dimensions")
    before = named if not ellipses else [i for i in named if i < ellipses[0]]
    after = [i for i in named if i not in before]
    order: list[int | None] = [*before, *[None] * (len(shape) - len(named)), *after]
    slices = []
    for size, i in zip(shape, order, strict=True):
        if i is None:
            slices.append(Slice(0, 1, size))
            continue
        step = strides[i]
        low, high = (0, size) if step > 0 else (-1, size - 1)
        start = begin[i] + size if begin[i] < 0 else begin[i]
        start = min(max(start, low), high)
        if begin_mask >> i & 1:
            start = 0 if step > 0 else size - 1
        stop = end[i] + size if end[i] < 0 else end[i]
        stop = min(max(stop, low), high)
        if end_mask >> i & 1:
            stop = size if step > 0 else -1
        if shrink_mask >> i & 1:
            if step < 0:
                raise source.refuse("a dropped axis with a negative stride; a positive one is supported")
            stop, step = start + 1, 1
        slices.append(Slice(start, step, len(range(start, stop, step)) if 0 <= start < size else 0))
    if any(s.length == 0 for s in slices):
        raise source.refuse("a slice is empty")
    return tuple(slices)


def _unary(cls: type[Operator]) -> Callable[[Source], Operator]:
    def convert_unary(source: Source) -> Operator:
        source.expect(1, 1)
        return cls(**source.common())

    return convert_unary


_CONVERTERS: dict[str, Callable[[Source], Operator]] = {
    "CONV_2D": lambda s: _convolution(s, ops.Conv2D, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": lambda s: _convolution(s, ops.DepthwiseConv2D, "DepthwiseConv2DOptions"),
    "FULLY_CONNECTED": _fully_connected,
    "ADD": lambda s: _binary(s, ops.Add, "AddOptions"),
    "SUB": lambda s: _binary(s, ops.Sub, "SubOptions"),
    "MUL": lambda s: _binary(s, ops.Mul, "MulOptions"),
    "AVERAGE_POOL_2D": lambda s: _pool(s, ops.AveragePool2D),
    "MAX_POOL_2D": lambda s: _pool(s, ops.MaxPool2D),
    "MEAN": _mean,
    "PAD": _pad,
    "CONCATENATION": _concatenation,
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "TRANSPOSE": _transpose,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "STRIDED_SLICE": _strided_slice,
    "SOFTMAX": _softmax,
    "LEAKY_RELU": _leaky_relu,
    **{
        cls.kind: _unary(cls)
        for cls in (ops.Logistic, ops.Tanh, ops.HardSwish, ops.Relu, ops.Relu6, ops.Quantize, ops.Dequantize)
    },
}
