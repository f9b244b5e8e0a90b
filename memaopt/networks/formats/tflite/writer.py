"""Writes a graph as a real ``.tflite`` file, with equal bytes for equal graphs.

What memaopt keeps as attributes (axes, paddings, permutations) becomes constant operands again, and explicit
padding becomes SAME or VALID; a window padded otherwise has no such file and raises InputError.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError
from memaopt.networks import shapes
from memaopt.networks.formats.tflite.schema import IDENTIFIER, VERSION, schema
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator, Padding2D

_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "ADD": 2, "SUB": 2, "MUL": 2,
    "AVERAGE_POOL_2D": 2, "MAX_POOL_2D": 2, "MEAN": 2, "PAD": 2, "CONCATENATION": 2, "TRANSPOSE": 2,
    "SOFTMAX": 2, "LOGISTIC": 2, "TANH": 2, "LEAKY_RELU": 2, "RELU": 2, "RELU6": 2, "QUANTIZE": 2,
    "DEQUANTIZE": 2, "RESIZE_NEAREST_NEIGHBOR": 3, "STRIDED_SLICE": 2,
}  # fmt: skip
"""The versions in which the operators learned int8; 1 for the others."""


def write(graph: Graph) -> bytes:
    """The bytes of a ``.tflite`` file. Tensor indices stay; constants that attributes need come after them."""
    module = schema()
    return _Writer(module, graph).bytes()


class _Writer:
    def __init__(self, module: ModuleType, graph: Graph) -> None:
        self.module = module
        self.graph = graph
        self.tensors = list(graph.tensors)
        self.codes: list[str] = []

    def bytes(self) -> bytes:
        try:
            import flatbuffers
        except ImportError as error:
            raise MissingToolError("writing .tflite files needs flatbuffers: pip install 'memaopt[tflite]'") from error
        module = self.module
        subgraph = module.SubGraphT()
        subgraph.name = "main"
        subgraph.operators = [self._operator(op) for op in self.graph.operators]
        subgraph.tensors = [self._tensor(tensor, i + 1) for i, tensor in enumerate(self.tensors)]
        subgraph.inputs, subgraph.outputs = list(self.graph.inputs), list(self.graph.outputs)
        model = module.ModelT()
        model.version = VERSION
        model.description = "memaopt"
        model.operatorCodes = [self._code(kind) for kind in self.codes]
        model.subgraphs = [subgraph]
        model.buffers = [module.BufferT(), *(self._buffer(tensor) for tensor in self.tensors)]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _code(self, kind: str) -> Any:
        code = self.module.OperatorCodeT()
        code.builtinCode = getattr(self.module.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = _VERSIONS.get(kind, 1)
        return code

    def _buffer(self, tensor: Tensor) -> Any:
        buffer = self.module.BufferT()
        if tensor.data is not None:
            raw = np.ascontiguousarray(tensor.data, tensor.dtype.numpy).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
        return buffer

    def _tensor(self, tensor: Tensor, buffer: int) -> Any:
        table = self.module.TensorT()
        table.name = tensor.name
        table.shape = np.array(tensor.shape, np.int32)
        table.type = getattr(self.module.TensorType, tensor.dtype.name)
        table.buffer = buffer
        if len(tensor.scales):
            quantization = self.module.QuantizationParametersT()
            quantization.scale = tensor.scales
            quantization.zeroPoint = tensor.zero_points
            quantization.quantizedDimension = tensor.quantized_dimension
            table.quantization = quantization
        return table

    def _constant(self, name: str, values: npt.ArrayLike) -> int:
        data = np.array(values, np.int32)
        self.tensors.append(Tensor(name, data.shape, DType.INT32, data=data))
        return len(self.tensors) - 1

    def _operator(self, op: Operator) -> Any:
        through_table = isinstance(op, ops.Lookup) or (isinstance(op, ops.Add | ops.Sub) and op.table)
        if through_table or (isinstance(op, ops.Bounded) and op.bounds is not None):
            raise InputError(
                f"{self.graph.place(op)}: .tflite has no form for operators that were fused into one; write the "
                "network before it is simplified"
            )
        if op.kind not in self.codes:
            self.codes.append(op.kind)
        table = self.module.OperatorT()
        table.opcodeIndex = self.codes.index(op.kind)
        table.inputs = [*op.inputs, *self._operands(op)]
        table.outputs = list(op.outputs)
        options = self._options(op)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            table.builtinOptionsType = getattr(self.module.BuiltinOptions, name)
            table.builtinOptions = options
        return table

    def _operands(self, op: Operator) -> list[int]:
        """The constant operands that hold an operator's attributes."""
        name, output = f"{op.kind.lower()}_{op.location}", self.graph.output_of(op)
        match op:
            case ops.Mean():
                return [self._constant(f"{name}/axes", op.axes)]
            case ops.Pad():
                return [self._constant(f"{name}/paddings", op.paddings)]
            case ops.Transpose():
                return [self._constant(f"{name}/permutation", op.permutation)]
            case ops.Squeeze():
                return []
            case ops.ExpandDims():
                shape = self.graph.tensor_of(op).shape
                fits = [i for i in range(len(output.shape)) if output.shape[:i] + output.shape[i + 1 :] == shape]
                if not fits or output.shape[fits[0]] != 1:
                    raise InputError(f"{self.graph.place(op)}: no new axis makes {list(output.shape)} of {list(shape)}")
                return [self._constant(f"{name}/axis", fits[0])]
            case ops.Reshape():
                return [self._constant(f"{name}/shape", output.shape)]
            case ops.ResizeNearestNeighbor():
                return [self._constant(f"{name}/size", output.shape[1:3])]
            case ops.StridedSlice():
                begin = [s.start for s in op.slices]
                # an end below 0 means "counted from the end", so a slice that runs to index 0 ends at -size - 1
                sizes = self.graph.tensor_of(op).shape
                strides = [s.step if s.length > 1 else 1 for s in op.slices]
                ends = [s.start + step * s.length for s, step in zip(op.slices, strides, strict=True)]
                end = [e if e >= 0 else e - size for e, size in zip(ends, sizes, strict=True)]
                roles = (("begin", begin), ("end", end), ("strides", strides))
                return [self._constant(f"{name}/{role}", values) for role, values in roles]
            case _:
                return []

    def _options(self, op: Operator) -> Any:
        module = self.module
        match op:
            case ops.Conv2D() | ops.DepthwiseConv2D():
                depthwise = isinstance(op, ops.DepthwiseConv2D)
                options = module.DepthwiseConv2DOptionsT() if depthwise else module.Conv2DOptionsT()
                if depthwise:
                    options.depthMultiplier = self.graph.output_of(op).shape[3] // self.graph.tensor_of(op).shape[3]
                options.dilationHFactor, options.dilationWFactor = op.dilation
                self._window(op, options)
            case ops.AveragePool2D() | ops.MaxPool2D():
                options = module.Pool2DOptionsT()
                options.filterHeight, options.filterWidth = op.kernel
                self._window(op, options)
            case ops.FullyConnected():
                options = module.FullyConnectedOptionsT()
                shape, output = self.graph.tensor_of(op).shape, self.graph.output_of(op).shape
                options.keepNumDims = len(output) == len(shape) and shape[:-1] == output[:-1]
            case ops.Add():
                options = module.AddOptionsT()
            case ops.Sub():
                options = module.SubOptionsT()
            case ops.Mul():
                options = module.MulOptionsT()
            case ops.Mean():
                options = module.ReducerOptionsT()
                options.keepDims = len(self.graph.output_of(op).shape) == len(self.graph.tensor_of(op).shape)
            case ops.Concatenation():
                options = module.ConcatenationOptionsT()
                options.axis = op.axis
            case ops.Squeeze():
                options = module.SqueezeOptionsT()
                options.squeezeDims = self._squeezed(op)
            case ops.ResizeNearestNeighbor():
                options = module.ResizeNearestNeighborOptionsT()
                options.alignCorners, options.halfPixelCenters = op.align_corners, op.half_pixel_centers
            case ops.Softmax():
                options = module.SoftmaxOptionsT()
                options.beta = op.beta
            case ops.LeakyRelu():
                options = module.LeakyReluOptionsT()
                options.alpha = op.alpha
            case ops.StridedSlice():
                options = module.StridedSliceOptionsT()
                options.shrinkAxisMask = self._dropped(op)
            case _:
                return None
        activation = getattr(op, "activation", None)
        if activation is not None:
            options.fusedActivationFunction = getattr(module.ActivationFunctionType, activation.name)
        return options

    def _window(self, op: ops.Conv2D | ops.DepthwiseConv2D | ops.AveragePool2D | ops.MaxPool2D, options: Any) -> None:
        window = shapes.window_of(self.graph, op)
        options.strideH, options.strideW = window.stride
        _, height, width, _ = self.graph.tensor_of(op).shape
        same = shapes.same_padding(height, width, window.kernel, window.stride, window.dilation)
        if window.padding == Padding2D():
            options.padding = self.module.Padding.VALID
        elif window.padding == same:
            options.padding = self.module.Padding.SAME
        else:
            raise InputError(
                f"{self.graph.place(op)}: padding {list(window.padding)} is neither SAME nor VALID, so .tflite has no "
                "form for it; write the network before it is simplified"
            )

    def _squeezed(self, op: ops.Squeeze) -> list[int]:
        """The axes of 1 whose removal gives the output's shape, first ones first."""
        shape, output = self.graph.tensor_of(op).shape, self.graph.output_of(op).shape
        if shape == output and 1 in shape:  # no axes would mean all of them
            raise InputError(f"{self.graph.place(op)}: no axis is dropped, so .tflite has no form for it")
        remaining, axes = list(output), []
        for axis, size in enumerate(shape):
            if remaining and remaining[0] == size:
                remaining.pop(0)
            else:
                axes.append(axis)
        return axes

    def _dropped(self, op: ops.StridedSlice) -> int:
        """The mask of axes that the output's shape does not have any more."""
        lengths, output = [s.length for s in op.slices], list(self.graph.output_of(op).shape)
        mask = 0
        for axis, length in enumerate(lengths):
            if output and output[0] == length and len(output) <= len(lengths) - axis:
                output.pop(0)
            else:
                mask |= 1 << axis
        if output or any(length > 1 and mask >> axis & 1 for axis, length in enumerate(lengths)):
            raise InputError(f"{self.graph.place(op)}: {lengths} with axes of 1 dropped is not the output's shape")
        return mask
