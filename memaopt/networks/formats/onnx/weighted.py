"""Conv, Gemm, MatMul and their QLinear forms: accumulators of int32, rounded once by one float32 factor, ties to even.

onnxruntime's integer kernels round the product to float32 first, which no sequence of a few integer instructions does;
to the nearest is what those do. Both are compared over all accumulators while the file is read (:func:`rounded`).
A bias of floats, or of another scale than that of the products, is rounded to it, so that an output may be a step off.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, channels_last, natural
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Constant, Held, Integers, Pending, Reals, Shape, Target, Value
from memaopt.networks.formats.onnx.windows import PaddedWindow, window_of
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Bounds, Rounding
from memaopt.networks.operators.batch_matmul import BatchMatmul

Bias = Integers | Constant | None
_INT32 = (1 << 31) - 1
_RARE = 10_000
_SPAN = 128 * 2.0**-22  # steps that a float32 product may be off, as an accumulator that is no float32 is
_MOST_REACH = 64


class WeightedKernel(NamedTuple):
    """An operator with weights, the order that it has ONNX's axes of weights in, and its other attributes."""

    op: type[ops.Weighted]
    order: tuple[int, ...]
    attributes: dict[str, Any]


def conv(node: OnnxNode, building: Building) -> Value:
    x, weights = node.linear(0), node.weights(1)
    bias = node.value(2) if node.has(2) else None
    if weights.integers.ndim == 3 and len(x.shape) == 3:
        return _of_lines(node, building, x, weights, bias)
    if weights.integers.ndim != 4 or len(x.shape) != 4:
        raise node.refuse(
            f"weights {list(weights.integers.shape)} of an input {list(x.shape)}; 1D and 2D are supported"
        )
    window = window_of(node, x.shape[2:], weights.integers.shape[2:])
    return _conv(node, building, x, weights, bias, window)


def _conv(
    node: OnnxNode, building: Building, x: Reals, weights: Integers, bias: Value | None, window: PaddedWindow
) -> Pending:
    group, outputs = node.get("group", 1), weights.integers.shape[0]
    if weights.integers.shape[1] * group != x.shape[1] or outputs % group:
        raise node.refuse(f"weights {list(weights.integers.shape)} in {group} groups of an input {list(x.shape)}")
    depthwise = group == x.shape[1] and group > 1
    attributes = {"stride": window.stride, "dilation": window.dilation, "padding": window.padding}
    if depthwise:
        kernel = WeightedKernel(ops.DepthwiseConv2D, (1, 2, 3, 0), attributes)
    else:
        kernel = WeightedKernel(ops.Conv2D, (0, 2, 3, 1), attributes)
    shape = (x.shape[0], outputs, *window.output)

    def emit(bias: Bias, target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        image = building.laid(building.linear(x), channels_last(4))
        place = (shape, channels_last(4))
        return weighted(node, building, kernel, (image, weights, bias), place, target, bounds)

    return pending(node, shape, emit, bias, outputs)


def _of_lines(node: OnnxNode, building: Building, x: Reals, weights: Integers, bias: Value | None) -> Pending:
    """A convolution of NCL, as one of images of one row."""
    window = window_of(node, (1, x.shape[2]), (1, weights.integers.shape[2]))
    integers = weights.integers[:, :, None]
    image = dataclasses.replace(weights, integers=integers)
    given = building.linear(x)
    assert x.meaning is not None
    rows = building.reshaped(given, (*x.shape[:2], 1, x.shape[2]))
    inner = _conv(node, building, building.dequantised(rows, x.meaning), image, bias, window)
    shape = (*inner.shape[:2], inner.shape[3])
    return inner.moved(shape, lambda held: building.reshaped(held, shape))


def gemm(node: OnnxNode, building: Building) -> Value:
    node.only(alpha=1.0, beta=1.0, transA=0)
    weights = node.weights(1)
    if weights.integers.ndim != 2:
        raise node.refuse(f"weights {list(weights.integers.shape)}; a matrix is supported")
    if not node.get("transB", 0):
        weights = turned(weights, (1, 0))
    return _product(node, building, node.linear(0), weights, node.value(2) if node.has(2) else None)


def matmul(node: OnnxNode, building: Building) -> Value:
    if not isinstance(node.value(1), Integers):
        return _of_two(node, building)
    weights = node.weights(1)
    if weights.integers.ndim != 2:
        raise node.refuse(f"weights {list(weights.integers.shape)}; a matrix is supported")
    return _product(node, building, node.linear(0), turned(weights, (1, 0)), None)


def _product(node: OnnxNode, building: Building, x: Reals, weights: Integers, bias: Value | None) -> Pending:
    """``weights``: [outputs, inputs]."""
    outputs, depth = weights.integers.shape
    if x.shape[-1:] != (depth,):
        raise node.refuse(f"weights of {depth} inputs for an input {list(x.shape)}")
    shape = (*x.shape[:-1], outputs)

    def emit(bias: Bias, target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        rows, used = _rows(building, building.linear(x), weights)
        place = (shape, natural(len(shape)))
        kernel = WeightedKernel(ops.FullyConnected, (0, 1), {})
        return weighted(node, building, kernel, (rows, used, bias), place, target, bounds)

    return pending(node, shape, emit, bias, outputs)


def _rows(building: Building, x: Held, weights: Integers) -> tuple[Held, Integers]:
    """The input as it lies, if it is an image flattened, with the weights' columns in that order."""
    flat = x.is_reshaped and len(x.shape) == 2 and x.axes[0] == 0 and x.shape[0] == x.before[0]
    if not flat:
        return building.settled(x), weights
    order = np.arange(x.shape[1]).reshape(x.before[1:]).transpose([axis - 1 for axis in x.axes[1:]]).reshape(-1)
    lying = building.reshaped(
        dataclasses.replace(x, shape=x.physical, before=x.physical, axes=natural(len(x.axes))), x.shape
    )
    return lying, dataclasses.replace(weights, integers=weights.integers[:, order])


def _of_two(node: OnnxNode, building: Building) -> Pending:
    """A product of two activations."""
    first, second = node.linear(0), node.linear(1)
    try:
        batches = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    except ValueError:
        batches = None
    if batches is None or min(len(first.shape), len(second.shape)) < 2 or first.shape[-1] != second.shape[-2]:
        raise node.refuse(f"matrices {list(first.shape)} and {list(second.shape)} do not go together")
    shape = (*(int(n) for n in batches), first.shape[-2], second.shape[-1])

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        if bounds is not None:
            raise node.refuse("it is clamped without being quantised before that")
        held = [building.settled(building.linear(each)) for each in (first, second)]
        made = building.activation(shape, natural(len(shape)), target, node.outputs[0])
        building.add(BatchMatmul, (held[0].tensor, held[1].tensor), made)
        building.note(node, "at most one step apart: TFLite's fixed point rounds twice, ONNX once")
        return made

    return Pending(shape, emit)


def turned(weights: Integers, permutation: tuple[int, ...]) -> Integers:
    """Transposed constants."""
    axis = permutation.index(weights.axis) if weights.scales.size > 1 else 0
    return dataclasses.replace(weights, integers=weights.integers.transpose(permutation), axis=axis)


def pending(node: OnnxNode, shape: Shape, emit: Any, bias: Value | None, outputs: int) -> Pending:
    """What ``emit`` makes of a bias, a target and bounds, when they are known."""

    def biased(given: Integers | Constant) -> Pending:
        array = given.integers if isinstance(given, Integers) else given.array
        if array.size != outputs:
            raise node.refuse(f"a bias of {array.size} elements for {outputs} outputs")
        return Pending(shape, functools.partial(emit, given))

    if bias is None:
        return Pending(shape, functools.partial(emit, None), biased=biased)
    if not isinstance(bias, Integers | Constant):
        raise node.refuse("its bias is computed; a constant is supported")
    return biased(bias)


def weighted(
    node: OnnxNode,
    building: Building,
    kernel: WeightedKernel,
    operands: tuple[Held, Integers, Bias],
    place: tuple[Shape, tuple[int, ...]],
    target: Target,
    bounds: Bounds | None,
) -> Held:
    """The operator, whose output has a shape and lies with its axes in an order: ``place``."""
    x, weights, bias = operands
    centred = weights.centred.transpose(kernel.order)
    if weights.scales.size > 1 and weights.axis != 0:
        raise node.refuse(f"weights have scales on axis {weights.axis}; those of outputs are supported")
    wide = bool(centred.min(initial=0) < -128 or centred.max(initial=0) > 127)
    dtype, name = DType.INT16 if wide else DType.INT8, node.outputs[0]
    constant = building.constant(f"{name}/weights", centred, dtype, weights.scales, kernel.op.channel_axis)
    inputs = [x.tensor, constant]
    if bias is not None:
        with np.errstate(over="ignore"):  # infinity, which what checks scales refuses
            products = weights.scales.astype(np.float32) * building.tensors[x.tensor].scale
        steps = _steps(node, building, bias, products)
        inputs.append(building.constant(f"{name}/bias", steps, DType.INT32, products))
    made = building.activation(*place, target, name)
    building.add(kernel.op, tuple(inputs), made, rounding=Rounding.EVEN, wide=wide, bounds=bounds, **kernel.attributes)
    rounded(node, building)
    return made


def rounded(node: OnnxNode, building: Building) -> None:
    """How the operator that was added last rounds: to the nearest where that is what onnxruntime gives for all but one
    in ten thousand of its accumulators, which are counted; else as onnxruntime does."""
    even = building.operators[-1]
    assert isinstance(even, ops.Weighted)
    graph = Graph(node.kind, tuple(building.tensors), (even,), even.inputs[:1], even.outputs)
    nearest = even.model_copy(update={"rounding": Rounding.NEAREST})
    low, high = even.accumulator_range(graph).ends
    exact, near = even.rounded_once(graph), nearest.rounded_once(graph)
    reach = math.ceil(_SPAN / float(exact.real_scales.min(initial=1.0))) + 1
    if reach > _MOST_REACH:
        return
    # They differ only beside a tie.
    halves = np.arange(exact.minimum, exact.maximum)[:, None, None] + 0.5 - exact.zero_point
    ties = np.floor(halves / exact.real_scales).astype(np.int64)
    tried = np.sort(
        np.clip(ties + np.arange(-reach, reach + 2)[None, :, None], low, high).reshape(-1, len(low)), axis=0
    )
    once = np.concatenate([np.ones((1, len(low)), bool), tried[1:] != tried[:-1]])
    apart = np.abs(exact.apply(tried) - near.apply(tried)) * once
    count, total = int(np.count_nonzero(apart)), int((high - low + 1).sum())
    if apart.max(initial=0) > 1 or count * _RARE > total:
        return
    building.operators[-1] = nearest
    if count:
        where = "where onnxruntime's product is rounded to a float32 on or beyond a tie"
        building.note(node, f"one step apart at {count:,} of {total:,} accumulators, {where}")


def _steps(node: OnnxNode, building: Building, bias: Integers | Constant, products: Array) -> Array:
    """The bias in steps of the products' scale."""
    if isinstance(bias, Constant) and bias.array.dtype == np.int32:
        return bias.array.reshape(-1)
    if isinstance(bias, Integers) and bias.integers.dtype == np.int32 and not bias.zero_points.any():
        given = np.broadcast_to(bias.scales, products.shape if products.size > 1 else bias.scales.shape)
        if np.allclose(given, products, rtol=1e-5, atol=0.0):
            return bias.integers.reshape(-1)
    reals = (bias.reals if isinstance(bias, Integers) else bias.array).reshape(-1).astype(np.float64)
    steps = np.rint(reals / products.astype(np.float64))
    if not (np.abs(steps) <= _INT32).all():
        raise node.refuse("its bias is beyond 32 bits in steps of input scale * weights scale")
    building.note(node, "at most one step apart: its bias is rounded to input scale * weights scale")
    return steps.astype(np.int64)
