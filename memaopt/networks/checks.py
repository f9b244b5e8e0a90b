"""What makes a graph a network that memaopt understands: types, shapes, quantisation and size.

The reader calls :func:`check`; so should whoever builds or rewrites a graph. After it, shapes agree with the
operators' attributes and no kernel's arithmetic overflows.
"""

from __future__ import annotations

import math

import numpy as np

from memaopt.errors import UnsupportedModelError
from memaopt.networks import limits, quantization, shapes
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator

_MOVES_ANY = (ops.Reshape,)
"""Operators that move bytes of int8 or float32 alike; all others work on int8."""
_NEEDS_NO_SCALE = (ops.Reshape, ops.Transpose, ops.StridedSlice, ops.ResizeNearestNeighbor, ops.Lookup)
_SAME_QUANTIZATION = (ops.Concatenation, ops.ExpandDims)
_WEIGHTED = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)
_MAX_PADDED_ELEMENTS = 4 * limits.MAX_TENSOR_BYTES
_MAX_ATTRIBUTE = (1 << 15) - 1


def check(graph: Graph) -> None:
    """Raise UnsupportedModelError, naming the operator, for the first thing that is not supported."""
    _check_sizes(graph)
    _check_ends(graph)
    work = weights = 0
    for op in graph.operators:
        weights += sum(graph.tensors[i].nbytes for i in op.inputs if graph.tensors[i].is_constant)
        if weights > limits.MAX_WEIGHTS_READ:
            raise UnsupportedModelError(
                f"{graph.place(op)}: {weights:,} bytes of constants so far; at most {limits.MAX_WEIGHTS_READ:,} are "
                "supported"
            )
        _check_types(graph, op)
        _check_quantization(graph, op)
        work += _check_window(graph, op)
        expected, output = shapes.output_shape(graph, op), graph.output_of(op)
        if min(expected, default=1) < 1:
            raise UnsupportedModelError(f"{graph.place(op)}: the output would be {list(expected)}")
        if expected != output.shape:
            raise UnsupportedModelError(
                f"{graph.place(op)}: the output is {list(output.shape)} in the file but {list(expected)} by its inputs"
            )
        quantization.check(graph, op)
        _check_details(graph, op)
        work += shapes.macs(graph, op)
        if work > limits.MAX_MACS:
            raise UnsupportedModelError(
                f"{graph.place(op)}: {work:,} multiply-accumulates so far; at most {limits.MAX_MACS:,} are supported"
            )


def _check_ends(graph: Graph) -> None:
    """An end that no operator touches is seen by no other check."""
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype not in (DType.INT8, DType.FLOAT32):
            raise UnsupportedModelError(
                f"tensor {tensor.name!r} is an input or output of type {tensor.dtype}; int8 and float32 are supported"
            )


def _check_sizes(graph: Graph) -> None:
    used = {*graph.activations, *graph.outputs, *graph.constants}
    for index in used:
        tensor = graph.tensors[index]
        if len(tensor.shape) > limits.MAX_RANK or any(size < 1 for size in tensor.shape):
            raise UnsupportedModelError(
                f"tensor {tensor.name!r} has the shape {list(tensor.shape)}; at most {limits.MAX_RANK} dimensions, "
                "each of 1 or more, are supported"
            )
        if tensor.nbytes > limits.MAX_TENSOR_BYTES:
            raise UnsupportedModelError(
                f"tensor {tensor.name!r} takes {tensor.nbytes:,} bytes; "
                f"at most {limits.MAX_TENSOR_BYTES:,} are supported"
            )
    total = sum(graph.tensors[index].nbytes for index in graph.activations)
    if total > limits.MAX_ACTIVATION_BYTES:
        raise UnsupportedModelError(
            f"all activations take {total:,} bytes; at most {limits.MAX_ACTIVATION_BYTES:,} are supported"
        )


def _expect(graph: Graph, op: Operator, tensor: Tensor, role: str, *allowed: DType) -> None:
    if tensor.dtype not in allowed:
        raise UnsupportedModelError(
            f"{graph.place(op)}: {role} {tensor.name!r} is {tensor.dtype}; {' or '.join(allowed)} is supported"
        )


def _check_types(graph: Graph, op: Operator) -> None:
    output = graph.output_of(op)
    match op:
        case ops.Quantize():
            _expect(graph, op, graph.tensor_of(op), "input", DType.FLOAT32, DType.INT8)
            _expect(graph, op, output, "output", DType.INT8)
        case ops.Dequantize():
            _expect(graph, op, graph.tensor_of(op), "input", DType.INT8)
            _expect(graph, op, output, "output", DType.FLOAT32)
        case ops.Conv2D() | ops.DepthwiseConv2D() | ops.FullyConnected():
            _expect(graph, op, graph.tensor_of(op), "input", DType.INT8)
            _expect(graph, op, graph.tensors[op.weights], "weights", DType.INT8)
            _expect(graph, op, output, "output", DType.INT8)
            if op.bias is not None:
                _expect(graph, op, graph.tensors[op.bias], "bias", DType.INT32)
        case _:
            allowed = (DType.INT8, DType.FLOAT32) if isinstance(op, _MOVES_ANY) else (DType.INT8,)
            for index in op.inputs:
                _expect(graph, op, graph.tensors[index], "input", *allowed)
            _expect(graph, op, output, "output", graph.tensor_of(op).dtype)


def _check_quantization(graph: Graph, op: Operator) -> None:
    """One scale for each int8 operand whose scale counts; weights symmetric, one scale or one for each channel."""
    where = graph.place(op)
    operands = (op.input,) if isinstance(op, _WEIGHTED) else op.inputs
    if not isinstance(op, _NEEDS_NO_SCALE):
        for index in (*operands, op.output):
            tensor = graph.tensors[index]
            if tensor.dtype is not DType.INT8:
                continue
            if len(tensor.scales) != 1:
                raise UnsupportedModelError(
                    f"{where}: tensor {tensor.name!r} has {len(tensor.scales)} scales; activations need exactly one"
                )
            if not quantization.INT8_MIN <= tensor.zero_point <= quantization.INT8_MAX:
                raise UnsupportedModelError(f"{where}: zero point {tensor.zero_point} of {tensor.name!r} is not int8")
    for tensor in (graph.tensors[i] for i in (*op.inputs, op.output)):
        if tensor.dtype is DType.INT8 and not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
            raise UnsupportedModelError(f"{where}: a scale of {tensor.name!r} is not a positive number")
    if isinstance(op, _SAME_QUANTIZATION):
        for index in op.inputs:
            if not graph.tensors[index].same_quantization(graph.output_of(op)):
                raise UnsupportedModelError(
                    f"{where}: input {graph.tensors[index].name!r} and the output have different quantisation; "
                    "equal ones are supported, as in TFLite"
                )
    if isinstance(op, _WEIGHTED):
        _check_weights(graph, op)


def _check_weights(graph: Graph, op: ops.Conv2D | ops.DepthwiseConv2D | ops.FullyConnected) -> None:
    where = graph.place(op)
    weights = graph.tensors[op.weights]
    if not weights.is_constant:
        raise UnsupportedModelError(f"{where}: weights {weights.name!r} are computed; constant ones are supported")
    shapes.rank(where, weights.shape, 2 if isinstance(op, ops.FullyConnected) else 4)
    axis = 3 if isinstance(op, ops.DepthwiseConv2D) else 0
    channels = weights.shape[axis]
    if len(weights.scales) not in (1, channels) or (weights.is_per_channel and weights.quantized_dimension != axis):
        raise UnsupportedModelError(
            f"{where}: weights have {len(weights.scales)} scales on axis {weights.quantized_dimension}; "
            f"one, or {channels} on axis {axis}, are supported"
        )
    if weights.zero_points.any():
        raise UnsupportedModelError(f"{where}: weights have a zero point other than 0, the only one supported")
    if op.bias is not None:
        bias = graph.tensors[op.bias]
        if not bias.is_constant or bias.elements != channels:
            raise UnsupportedModelError(
                f"{where}: bias {bias.name!r} is {bias.describe()}; {channels} constants are supported"
            )


def _check_window(graph: Graph, op: Operator) -> int:
    """Checks a window's attributes; the work of a pool (elements compared or added)."""
    if not isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.AveragePool2D, ops.MaxPool2D)):
        return 0
    where = graph.place(op)
    shape = graph.tensor_of(op).shape
    shapes.rank(where, shape, 4)
    window = shapes.window_of(graph, op)
    for name, values, least in (
        ("kernel", window.kernel, 1),
        ("stride", window.stride, 1),
        ("dilation", window.dilation, 1),
        ("padding", window.padding, 0),
    ):
        if min(values) < least or max(values) > _MAX_ATTRIBUTE:
            raise UnsupportedModelError(f"{where}: {name} {list(values)}; {least} to {_MAX_ATTRIBUTE} is supported")
    padding = window.padding
    padded = (shape[1] + padding.top + padding.bottom) * (shape[2] + padding.left + padding.right)
    if shape[0] * padded * shape[3] > _MAX_PADDED_ELEMENTS:
        raise UnsupportedModelError(
            f"{where}: the padded input has {shape[0] * padded * shape[3]:,} elements; "
            f"at most {_MAX_PADDED_ELEMENTS:,} are supported"
        )
    if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D)):
        return 0
    if any(x >= k for x, k in zip(padding, (window.kernel[0],) * 2 + (window.kernel[1],) * 2, strict=True)):
        raise UnsupportedModelError(f"{where}: padding {list(padding)} leaves a window {list(window.kernel)} empty")
    return graph.output_of(op).elements * math.prod(window.kernel)


def _check_details(graph: Graph, op: Operator) -> None:
    """What single kernels demand of their quantisation."""
    where, output = graph.place(op), graph.output_of(op)
    match op:
        case ops.Softmax():
            if output.zero_point != -128 or abs(float(output.scale) * 256 - 1) > 0.001:
                raise UnsupportedModelError(
                    f"{where}: output scale {output.scale:g}, zero point {output.zero_point}; "
                    "1/256 and -128 are supported, as in TFLite"
                )
            if graph.tensor_of(op).shape[-1:] == () or graph.tensor_of(op).shape[-1] > 4095:
                raise UnsupportedModelError(
                    f"{where}: a last axis of 1 to 4095 is supported, not {list(graph.tensor_of(op).shape)}"
                )
        case ops.Logistic() if output.scale != np.float32(1 / 256):
            raise UnsupportedModelError(f"{where}: output scale {output.scale:g}; 1/256 is supported, as in TFLite")
        case ops.Pad() if min((min(pair) for pair in op.paddings), default=0) < 0:
            raise UnsupportedModelError(f"{where}: negative padding; 0 or more is supported")
        case _:
            pass
