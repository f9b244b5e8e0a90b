"""Seeded single-operator networks with random attributes, shapes and quantisation, for tests of the front end."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators import Activation, Operator, Padding2D, Size2D, Slice
from memaopt.networks.operators.extreme import Extreme
from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.reduced_extreme import ReducedExtreme
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.unary import Unary
from memaopt.networks.operators.window import SlidingWindow, same_padding

Rng = np.random.Generator
Array = np.ndarray[Any, Any]


def activation(name: str, shape: tuple[int, ...], scale: float | None = None, zero_point: int = 0) -> Tensor:
    """An int8 activation."""
    if scale is None:
        return Tensor(name, shape, DType.INT8)
    return int8_tensor(name, shape, scale, zero_point)


def constant(name: str, data: Array, scales: Array | None = None, axis: int = 0) -> Tensor:
    dtype = DType(str(data.dtype))
    if scales is None:
        return Tensor(name, data.shape, dtype, data=data)
    return Tensor(name, data.shape, dtype, scales.astype(np.float32), np.zeros(len(scales), np.int64), axis, data)


def single(op: type[Operator], tensors: list[Tensor], inputs: int, **attributes: Any) -> Graph:
    """A network of one operator: the last tensor is its output, the first ``inputs`` are the network's inputs."""
    last = len(tensors) - 1
    node = op(inputs=tuple(range(last)), outputs=(last,), **attributes)
    return Graph(op.kind.lower(), tuple(tensors), (node,), tuple(range(inputs)), (last,))


def scale(rng: Rng, low: float = 0.002, high: float = 0.5) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def zero_point(rng: Rng) -> int:
    return int(rng.choice([-128, 127, 0, -1, int(rng.integers(-128, 128))]))


def fused(rng: Rng) -> Activation:
    return list(Activation)[rng.integers(4)]


def int8(rng: Rng, *shape: int) -> Array:
    """Random bytes, now and then extreme or constant ones."""
    style = rng.integers(5)
    if style == 0:
        return rng.choice(np.array([-128, 127, 0], np.int8), shape)
    if style == 1:
        return np.full(shape, rng.integers(-128, 128), np.int8)
    return rng.integers(-128, 128, shape).astype(np.int8)


def _window(rng: Rng, height: int, width: int, dilated: bool) -> tuple[Size2D, Size2D, Size2D, Padding2D]:
    """A kernel, stride, dilation and SAME or VALID padding that fit the image."""
    while True:
        kernel = Size2D(*rng.integers(1, 5, 2).tolist())
        stride = Size2D(*rng.integers(1, 4, 2).tolist())
        dilation = Size2D(*(rng.integers(1, 4, 2).tolist() if dilated and rng.integers(3) == 0 else (1, 1)))
        same = bool(rng.integers(2))
        padding = same_padding(height, width, kernel, stride, dilation) if same else Padding2D()
        if min(SlidingWindow(kernel, stride, dilation, padding).output(height, width)) > 0:
            return kernel, stride, dilation, padding


def _weights(rng: Rng, shape: tuple[int, ...], axis: int, depth: int, out: Tensor, x: Tensor) -> list[Tensor]:
    """Weights (per channel or not), maybe a bias, scaled so that outputs are neither all clamped nor all equal."""
    channels = shape[axis]
    data = np.maximum(int8(rng, *shape), -127).astype(np.int8)
    typical = float(out.scales[0]) * 60 / (float(x.scales[0]) * 74 * 74 * math.sqrt(depth))
    count = channels if channels > 1 and rng.integers(2) else 1
    scales = typical * np.exp(rng.uniform(-1, 1, count))
    tensors = [constant("weights", data, scales, axis)]
    bias = rng.normal(0, 3000, channels).astype(np.int32)
    tensors.append(constant("bias", bias, scales.astype(np.float32) * x.scales[0], 0))
    return tensors


def conv_2d(rng: Rng) -> Graph:
    n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 10, 10, 9]))
    groups = int(rng.choice([g for g in range(1, c + 1) if c % g == 0])) if rng.integers(4) == 0 else 1
    outputs = int(rng.integers(1, 5)) * groups
    kernel, stride, dilation, padding = _window(rng, h, w, dilated=True)
    rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(h, w)
    x = activation("x", (n, h, w, c), scale(rng), zero_point(rng))
    y = activation("y", (n, rows, columns, outputs), scale(rng), zero_point(rng))
    k = kernel.height * kernel.width * c // groups
    weights = _weights(rng, (outputs, *kernel, c // groups), 0, k, y, x)
    attributes = {"stride": stride, "dilation": dilation, "padding": padding, "activation": fused(rng)}
    return single(ops.Conv2D, [x, *weights, y], 1, **attributes)


def depthwise_conv_2d(rng: Rng) -> Graph:
    n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 10, 10, 7]))
    outputs = c * int(rng.integers(1, 4))
    kernel, stride, dilation, padding = _window(rng, h, w, dilated=True)
    rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(h, w)
    x = activation("x", (n, h, w, c), scale(rng), zero_point(rng))
    y = activation("y", (n, rows, columns, outputs), scale(rng), zero_point(rng))
    weights = _weights(rng, (1, *kernel, outputs), 3, kernel.height * kernel.width, y, x)
    if rng.integers(3) == 0:
        weights.pop()
    attributes = {"stride": stride, "dilation": dilation, "padding": padding, "activation": fused(rng)}
    return single(ops.DepthwiseConv2D, [x, *weights, y], 1, **attributes)


def fully_connected(rng: Rng) -> Graph:
    depth, units = (int(v) for v in rng.integers([1, 1], [50, 12]))
    shape = ((1, depth), (3, depth), (2, 3, depth))[rng.integers(3)]
    keep = len(shape) == 2 or bool(rng.integers(2))
    x = activation("x", shape, scale(rng), zero_point(rng))
    output = (*shape[:-1], units) if keep else (math.prod(shape) // depth, units)
    y = activation("y", output, scale(rng), zero_point(rng))
    weights = _weights(rng, (units, depth), 0, depth, y, x)
    if rng.integers(3) == 0:
        # powers of two put many accumulators on ties, where the direction of rounding shows
        x = activation("x", shape, 0.25, zero_point(rng))
        y = activation("y", output, 0.5, zero_point(rng))
        power = np.array([2.0 ** -rng.integers(0, 9)])
        weights = [constant("weights", weights[0].values, power), constant("bias", weights[1].values, power / 4)]
    if rng.integers(3) == 0:
        weights.pop()
    return single(ops.FullyConnected, [x, *weights, y], 1, activation=fused(rng))


def transpose_conv(rng: Rng) -> Graph:
    n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 7, 7, 6]))
    kernel, stride = Size2D(*rng.integers(1, 6, 2).tolist()), Size2D(*rng.integers(1, 4, 2).tolist())
    outputs = int(rng.integers(1, 5))
    same = bool(rng.integers(2))
    size = (h * stride.height, w * stride.width)
    if not same:
        size = ((h - 1) * stride.height + kernel.height, (w - 1) * stride.width + kernel.width)
    x = activation("x", (n, h, w, c), scale(rng), zero_point(rng))
    y = activation("y", (n, *size, outputs), scale(rng), zero_point(rng))
    weights = _weights(rng, (outputs, *kernel, c), 0, max(kernel.height * kernel.width * c // 2, 1), y, x)
    if rng.integers(2):
        weights.pop()
    return single(OPERATORS["TRANSPOSE_CONV"], [x, *weights, y], 1, stride=stride, same=same)


def _broadcast(rng: Rng, shape: tuple[int, ...]) -> tuple[int, ...]:
    style = rng.integers(4)
    if style == 0:
        return tuple(1 if rng.integers(2) else s for s in shape)
    if style == 1:
        return shape[rng.integers(len(shape)) :]
    return shape


def binary(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
        other = _broadcast(rng, shape)
        first, second = (shape, other) if rng.integers(2) else (other, shape)
        scales = scale(rng), scale(rng)
        a = activation("a", first, scales[0], zero_point(rng))
        b = activation("b", second, scales[1], zero_point(rng))
        if issubclass(op, Extreme):
            a, b = activation("a", first, scales[0], zero := zero_point(rng)), activation("b", second, scales[0], zero)
            return single(op, [a, b, activation("y", np.broadcast_shapes(shape, other), scales[0], zero)], 2)
        if op is OPERATORS["PRELU"]:
            a = activation("a", shape, scales[0], zero_point(rng))
            b = activation("b", other, scales[1], zero_point(rng))
            return single(op, [a, b, activation("y", shape, *_near(rng, scales[0]))], 2)
        if op is OPERATORS["SQUARED_DIFFERENCE"]:
            out = max(scales) ** 2 * float(np.exp(rng.uniform(-2, 5)))
            y = activation("y", np.broadcast_shapes(shape, other), max(out, max(scales) ** 2 / 4000), zero_point(rng))
            return single(op, [a, b, y], 2)
        if op is ops.Mul:
            out = scales[0] * scales[1] * float(np.exp(rng.uniform(0, 6)))
        else:
            out = max(scales) * float(np.exp(rng.uniform(-3, 2)))
        y = activation("y", np.broadcast_shapes(shape, other), out, zero_point(rng))
        return single(op, [a, b, y], 2, activation=fused(rng))

    return build


def pool(op: type[ops.AveragePool2D] | type[ops.MaxPool2D]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 12, 12, 6]))
        kernel, stride, dilation, padding = _window(rng, h, w, dilated=False)
        quantization = scale(rng), zero_point(rng)
        rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(h, w)
        x, y = activation("x", (n, h, w, c), *quantization), activation("y", (n, rows, columns, c), *quantization)
        return single(op, [x, y], 1, kernel=kernel, stride=stride, padding=padding, activation=fused(rng))

    return build


def mean(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
    axes = tuple(i for i in range(len(shape)) if rng.integers(2)) or (0,)
    keep = bool(rng.integers(2))
    output = tuple(1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes)
    s = scale(rng)
    x, y = activation("x", shape, s, zero_point(rng)), activation("y", output, s * scale(rng, 0.3, 3), zero_point(rng))
    return single(ops.Mean, [x, y], 1, axes=axes)


def reduction(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        graph = mean(rng)
        x, y = graph.tensors
        if issubclass(op, ReducedExtreme):
            y = dataclasses.replace(x, shape=y.shape)
        else:
            count = x.elements // y.elements
            y = activation("y", y.shape, float(x.scale) * count * scale(rng, 0.05, 1.5), zero_point(rng))
        return single(op, [x, y], 1, axes=graph.operators[0].axes)

    return build


def arg_extreme(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
        axis, dtype = int(rng.integers(len(shape))), (DType.INT32, DType.INT64)[rng.integers(2)]
        output = Tensor("y", (*shape[:axis], *shape[axis + 1 :]), dtype)
        return single(op, [activation("x", shape, scale(rng), zero_point(rng)), output], 1, axis=axis)

    return build


def pad(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    paddings = tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (len(shape), 2)))
    output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
    quantization = scale(rng), zero_point(rng)
    return single(
        ops.Pad, [activation("x", shape, *quantization), activation("y", output, *quantization)], 1, paddings=paddings
    )


def padv2(rng: Rng) -> Graph:
    graph = pad(rng)
    x, y = graph.tensors
    value = dataclasses.replace(constant("value", int8(rng, 1)), scales=x.scales, zero_points=x.zero_points)
    return single(OPERATORS["PADV2"], [x, value, y], 1, paddings=graph.operators[0].paddings)


def _shaped(op: type[Operator], x: Tensor, output: tuple[int, ...], **attributes: Any) -> Graph:
    """An operator that only moves elements."""
    return single(op, [x, dataclasses.replace(x, name="y", shape=output)], 1, **attributes)


def mirror_pad(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    mode = ("REFLECT", "SYMMETRIC")[rng.integers(2)]
    most = [size - (mode == "REFLECT") for size in shape]
    paddings = tuple((int(rng.integers(m + 1)), int(rng.integers(m + 1))) for m in most)
    output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
    x = activation("x", shape, scale(rng), zero_point(rng))
    return _shaped(OPERATORS["MIRROR_PAD"], x, output, paddings=paddings, mode=mode)


def tile(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 5, rng.integers(1, 5)).tolist())
    multiples = tuple(rng.integers(1, 4, len(shape)).tolist())
    x = activation("x", shape, scale(rng), zero_point(rng))
    output = tuple(s * m for s, m in zip(shape, multiples, strict=True))
    return _shaped(OPERATORS["TILE"], x, output, multiples=multiples)


def broadcast_to(rng: Rng) -> Graph:
    output = tuple(rng.integers(1, 5, rng.integers(1, 5)).tolist())
    shape = tuple(1 if rng.integers(2) else size for size in output)[int(rng.integers(len(output))) :]
    return _shaped(OPERATORS["BROADCAST_TO"], activation("x", shape, scale(rng), zero_point(rng)), output)


def reverse_v2(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    x = activation("x", shape, scale(rng), zero_point(rng))
    return _shaped(OPERATORS["REVERSE_V2"], x, shape, axes=(int(rng.integers(len(shape))),))


def blocks(rng: Rng, kind: str) -> Graph:
    n, h, w, c, block = (int(v) for v in rng.integers(1, [3, 5, 5, 5, 4]))
    small, large = (n, h, w, c * block**2), (n, h * block, w * block, c)
    x, y = (small, large) if kind == "DEPTH_TO_SPACE" else (large, small)
    return _shaped(OPERATORS[kind], activation("x", x, scale(rng), zero_point(rng)), y, block=block)


def batches(rng: Rng, kind: str) -> Graph:
    axes = int(rng.integers(1, 3))
    block, n, c = rng.integers(1, 4, axes), int(rng.integers(1, 3)), int(rng.integers(1, 5))
    inner = rng.integers(1, 5, axes)
    whole = inner * block
    edges = [(int(rng.integers(size)), 0) for size in whole]
    edges = [(a, int(rng.integers(size - a))) for (a, _), size in zip(edges, whole, strict=True)]
    space = (n, *(int(size - a - b) for size, (a, b) in zip(whole, edges, strict=True)), c)
    batch = (int(n * block.prod()), *inner.tolist(), c)
    x, y = (space, batch) if kind == "SPACE_TO_BATCH_ND" else (batch, space)
    more = {"block": tuple(block.tolist()), "edges": tuple(edges)}
    return _shaped(OPERATORS[kind], activation("x", x, scale(rng), zero_point(rng)), y, **more)


def concatenation(rng: Rng) -> Graph:
    shape = rng.integers(1, 6, rng.integers(1, 5)).tolist()
    axis, count = int(rng.integers(len(shape))), int(rng.integers(1, 5))
    quantization = scale(rng), zero_point(rng)
    parts = [[int(rng.integers(1, 5)) if i == axis else s for i, s in enumerate(shape)] for _ in range(count)]
    tensors = [activation(f"x{i}", tuple(part), *quantization) for i, part in enumerate(parts)]
    output = tuple(sum(p[axis] for p in parts) if i == axis else s for i, s in enumerate(shape))
    return single(ops.Concatenation, [*tensors, activation("y", output, *quantization)], count, axis=axis)


def pack(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(0, 4)).tolist())
    axis, count = int(rng.integers(len(shape) + 1)), int(rng.integers(1, 5))
    quantization = scale(rng), zero_point(rng)
    tensors = [activation(f"x{i}", shape, *quantization) for i in range(count)]
    output = (*shape[:axis], count, *shape[axis:])
    return single(ops.Pack, [*tensors, activation("y", output, *quantization)], count, axis=axis)


def gather(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
    axis, q = int(rng.integers(len(shape))), (scale(rng), zero_point(rng))
    own = tuple(rng.integers(1, 4, rng.integers(1, 3)).tolist())
    indices = tuple(rng.integers(0, shape[axis], math.prod(own)).tolist())
    tensors = [activation("x", shape, *q), activation("y", (*shape[:axis], *own, *shape[axis + 1 :]), *q)]
    return single(ops.Gather, tensors, 1, axis=axis, indices=indices)


def reshape(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    q = scale(rng), zero_point(rng)
    output = ((math.prod(shape),), (1, math.prod(shape)), tuple(reversed(shape)))[rng.integers(3)]
    return single(ops.Reshape, [activation("x", shape, *q), activation("y", output, *q)], 1)


def squeeze(rng: Rng) -> Graph:
    shape = (1, *rng.integers(2, 6, rng.integers(1, 4)).tolist(), 1)
    q = scale(rng), zero_point(rng)
    output = (shape[1:], shape[:-1], shape[1:-1])[rng.integers(3)]
    return single(ops.Squeeze, [activation("x", shape, *q), activation("y", output, *q)], 1)


def expand_dims(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    q = scale(rng), zero_point(rng)
    axis = int(rng.integers(len(shape) + 1))
    output = (*shape[:axis], 1, *shape[axis:])
    return single(ops.ExpandDims, [activation("x", shape, *q), activation("y", output, *q)], 1)


def transpose(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 6)).tolist())
    permutation = tuple(rng.permutation(len(shape)).tolist())
    q = scale(rng), zero_point(rng)
    output = tuple(shape[i] for i in permutation)
    return single(ops.Transpose, [activation("x", shape, *q), activation("y", output, *q)], 1, permutation=permutation)


def strided_slice(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 8, rng.integers(1, 5)).tolist())
    slices = []
    for size in shape:
        start = int(rng.integers(size))
        step = int(rng.choice([1, 1, 2, 3, -1, -2]))
        room = (size - start + step - 1) // step if step > 0 else (start - step) // -step
        slices.append(Slice(start, step, int(rng.integers(1, room + 1))))
    output = tuple(s.length for s in slices)
    if rng.integers(2):
        output = tuple(length for length in output if length > 1)
    q = scale(rng), zero_point(rng)
    return single(ops.StridedSlice, [activation("x", shape, *q), activation("y", output, *q)], 1, slices=tuple(slices))


def resize_nearest_neighbor(rng: Rng) -> Graph:
    n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 12, 12, 4]))
    rows, columns = (int(v) for v in rng.integers(1, 20, 2))
    q = scale(rng), zero_point(rng)
    tensors = [activation("x", (n, h, w, c), *q), activation("y", (n, rows, columns, c), *q)]
    style = rng.integers(3)
    return single(
        ops.ResizeNearestNeighbor, tensors, 1, align_corners=bool(style == 1), half_pixel_centers=bool(style == 2)
    )


def resize_bilinear(rng: Rng) -> Graph:
    graph = resize_nearest_neighbor(rng)
    (op,) = graph.operators
    more = {name: getattr(op, name) for name in ("align_corners", "half_pixel_centers")}
    return single(OPERATORS["RESIZE_BILINEAR"], list(graph.tensors), 1, **more)


def batch_matmul(rng: Rng) -> Graph:
    m, k, n = (int(v) for v in rng.integers(1, 8, 3))
    batches = tuple(rng.integers(1, 4, rng.integers(0, 3)).tolist())
    transposed = (bool(rng.integers(2)), bool(rng.integers(2)))
    shapes = [
        (*_broadcast(rng, batches), *(pair[::-1] if turned else pair)) if batches else pair[:: -1 if turned else 1]
        for pair, turned in zip(((m, k), (k, n)), transposed, strict=True)
    ]
    output = (*(int(b) for b in np.broadcast_shapes(*(s[:-2] for s in shapes))), m, n)
    a, b = (activation(name, s, scale(rng), zero_point(rng)) for name, s in zip("ab", shapes, strict=True))
    out = float(a.scale * b.scale) * math.sqrt(k) * float(np.exp(rng.uniform(1, 5)))
    if rng.integers(3) == 0:
        b = dataclasses.replace(b, data=int8(rng, *b.shape), zero_points=b.zero_points * int(rng.integers(2)))
    inputs = 1 if b.is_constant else 2
    tensors = [a, b, activation("y", output, out, zero_point(rng))]
    return single(OPERATORS["BATCH_MATMUL"], tensors, inputs, transposed=transposed)


def unary(
    op: type[Operator],
    output: Callable[[Rng, float], tuple[float, int]],
    *,
    greatest: float = 2.0,
    zero: Callable[[Rng], int] = zero_point,
    **attributes: Callable[[Rng], float],
) -> Callable[[Rng], Graph]:
    """An operator on one tensor; ``output`` gives the output's scale and zero point for the input's scale, which is at
    most ``greatest``; ``zero`` gives the input's zero point."""

    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
        s = scale(rng, 0.001, greatest)
        tensors = [activation("x", shape, s, zero(rng)), activation("y", shape, *output(rng, s))]
        return single(op, tensors, 1, **{name: value(rng) for name, value in attributes.items()})

    return build


def _near(rng: Rng, s: float) -> tuple[float, int]:
    return s * scale(rng, 0.2, 5), zero_point(rng)


def uint8(tensor: Tensor) -> Tensor:
    """The same as unsigned bytes: zero points are 128 above."""
    return dataclasses.replace(tensor, dtype=DType.UINT8, zero_points=tensor.zero_points + 128)


def quantize(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
    s = scale(rng)
    y = activation("y", shape, *_near(rng, s))
    if rng.integers(2):
        x = activation("x", shape, *((s, zero_point(rng)) if rng.integers(2) else (y.scale, y.zero_point)))
        return single(ops.Quantize, [[uint8(x), y], [x, uint8(y)], [uint8(x), uint8(y)]][rng.integers(3)], 1)
    if rng.integers(2):
        return single(ops.Quantize, [Tensor("x", shape, DType.FLOAT32), y], 1)
    return single(ops.Quantize, [activation("x", shape, s, zero_point(rng)), y], 1)


def dequantize(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
    tensors = [activation("x", shape, scale(rng), zero_point(rng)), Tensor("y", shape, DType.FLOAT32)]
    return single(ops.Dequantize, tensors, 1)


def island(op: type[Operator]) -> Callable[[Rng], Graph]:
    """DEQUANTIZE, an operator on floats or two of it, and QUANTIZE or floats at the end."""

    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
        more = {"alpha": 0.3} if op is ops.LeakyRelu else {}
        # Roots have no floats below 0.
        x = activation("x", shape, scale(rng, 0.002, 0.03), -128 if op.kind == "SQRT" else zero_point(rng))
        tensors = [x, *(Tensor(f"t{i}", shape, DType.FLOAT32) for i in range(1 + int(rng.integers(1, 3))))]
        made: list[Operator] = [ops.Dequantize(inputs=(0,), outputs=(1,))]
        made += [op(inputs=(i,), outputs=(i + 1,), location=i, **more) for i in range(1, len(tensors) - 1)]
        if rng.integers(3):
            tensors.append(activation("y", shape, scale(rng, 0.002, 0.1), zero_point(rng)))
            made.append(ops.Quantize(inputs=(len(tensors) - 2,), outputs=(len(tensors) - 1,), location=len(made)))
        return Graph(op.kind.lower(), tuple(tensors), tuple(made), (0,), (len(tensors) - 1,))

    return build


CASES: dict[str, Callable[[Rng], Graph]] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": fully_connected,
    "ADD": binary(ops.Add),
    "SUB": binary(ops.Sub),
    "MUL": binary(ops.Mul),
    "MINIMUM": binary(OPERATORS["MINIMUM"]),
    "MAXIMUM": binary(OPERATORS["MAXIMUM"]),
    "SQUARED_DIFFERENCE": binary(OPERATORS["SQUARED_DIFFERENCE"]),
    "PRELU": binary(OPERATORS["PRELU"]),
    "AVERAGE_POOL_2D": pool(ops.AveragePool2D),
    "MAX_POOL_2D": pool(ops.MaxPool2D),
    "MEAN": mean,
    "SUM": reduction(OPERATORS["SUM"]),
    "REDUCE_MAX": reduction(OPERATORS["REDUCE_MAX"]),
    "REDUCE_MIN": reduction(OPERATORS["REDUCE_MIN"]),
    "ARG_MAX": arg_extreme(OPERATORS["ARG_MAX"]),
    "ARG_MIN": arg_extreme(OPERATORS["ARG_MIN"]),
    "PAD": pad,
    "PADV2": padv2,
    "MIRROR_PAD": mirror_pad,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "REVERSE_V2": reverse_v2,
    **{k: functools.partial(blocks, kind=k) for k in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")},
    **{k: functools.partial(batches, kind=k) for k in ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")},
    "RESIZE_BILINEAR": resize_bilinear,
    "BATCH_MATMUL": batch_matmul,
    "CONCATENATION": concatenation,
    "PACK": pack,
    "GATHER": gather,
    "RESHAPE": reshape,
    "SQUEEZE": squeeze,
    "EXPAND_DIMS": expand_dims,
    "TRANSPOSE": transpose,
    "STRIDED_SLICE": strided_slice,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "SOFTMAX": unary(ops.Softmax, lambda _, __: (1 / 256, -128), beta=lambda rng: scale(rng, 0.3, 3)),
    "L2_NORMALIZATION": unary(OPERATORS["L2_NORMALIZATION"], lambda _, __: (1 / 128, 0)),
    "LOGISTIC": unary(ops.Logistic, lambda rng, _: (1 / 256, zero_point(rng))),
    "TANH": unary(ops.Tanh, lambda rng, _: (scale(rng, 0.003, 0.02), zero_point(rng))),
    "LEAKY_RELU": unary(ops.LeakyRelu, _near, alpha=lambda rng: float(rng.uniform(-1, 1.5))),
    "EXP": unary(OPERATORS["EXP"], lambda rng, _: (scale(rng, 0.01, 1), zero_point(rng)), greatest=0.06),
    "ELU": unary(OPERATORS["ELU"], _near),
    "GELU": unary(OPERATORS["GELU"], _near, approximate=lambda rng: bool(rng.integers(2))),
    "SQRT": unary(OPERATORS["SQRT"], lambda rng, _: (scale(rng, 0.01, 1), zero_point(rng)), zero=lambda _: -128),
    "RSQRT": unary(OPERATORS["RSQRT"], lambda rng, _: (scale(rng, 0.01, 1), zero_point(rng)), zero=lambda _: -128),
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
}
CASES |= {kind: island(cls) for kind, cls in OPERATORS.items() if issubclass(cls, FloatOnly)}
CASES |= {  # any other unary operator, without attributes
    kind: unary(cls, _near) for kind, cls in OPERATORS.items() if kind not in CASES and issubclass(cls, Unary)
}


PRODUCERS = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN",
    "TANH", "RESHAPE",
)  # fmt: skip
_UNARY = ("RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "TANH", "LOGISTIC", "QUANTIZE", "ADD", "SUB", "MUL")


def chain(rng: Rng) -> Graph:
    """Consecutive element-wise work: a random operator, then up to four that take each element by itself (unary ones,
    sums and products with one constant or of a tensor with itself), often without rescaling; now and then what lies
    between is an output of the network too."""
    while True:
        graph = CASES[PRODUCERS[rng.integers(len(PRODUCERS))]](rng)
        tensors, operators = list(graph.tensors), list(graph.operators)
        outputs, x = [], graph.outputs[0]
        for _ in range(int(rng.integers(1, 5))):
            if rng.integers(6) == 0:
                outputs.append(x)
            x = _follow(rng, tensors, operators, x)
        result = Graph("chain", tuple(tensors), tuple(operators), graph.inputs, (*outputs, x))
        try:
            checks.check(result)
        except UnsupportedModelError:
            continue  # a ratio of scales that the operator does not take
        return result


def _follow(rng: Rng, tensors: list[Tensor], operators: list[Operator], x: int) -> int:
    """Append an element-wise operator on the tensor ``x``; the index of its output."""
    kind = _UNARY[rng.integers(len(_UNARY))]
    before, attributes, arguments = tensors[x], {}, [x]
    s, z = float(before.scales[0]), int(before.zero_points[0])
    if kind == "LOGISTIC":
        s, z = 1 / 256, -128
    elif rng.integers(2):
        s, z = s if rng.integers(2) else s * scale(rng, 0.3, 3), zero_point(rng)
    if kind == "LEAKY_RELU":
        attributes["alpha"] = float(rng.uniform(0, 1))
    if kind in ("ADD", "SUB", "MUL"):
        attributes["activation"] = fused(rng)
        if rng.integers(3):
            shape = ((1,), (1,) * len(before.shape), before.shape)[rng.integers(3)]
            value = np.full(shape, rng.integers(-128, 128), np.int8)
            tensors.append(constant(f"c{len(tensors)}", value, np.array([scale(rng)])))
            arguments.insert(int(rng.integers(2)), len(tensors) - 1)
        else:
            arguments.append(x)
    tensors.append(activation(f"t{len(tensors)}", before.shape, s, z))
    op = OPERATORS[kind](inputs=tuple(arguments), outputs=(len(tensors) - 1,), location=len(operators), **attributes)
    operators.append(op)
    return op.output


def inputs(rng: Rng, graph: Graph) -> Iterator[list[Array]]:
    """Random inputs, and the extreme ones: all -128, all 127, all at the zero point, a mix of -128 and 127."""
    tensors = [graph.tensors[i] for i in graph.inputs]

    def values(make: Callable[[Tensor], Array]) -> list[Array]:
        return [make(t) for t in tensors]

    def random(t: Tensor) -> Array:
        if t.dtype is DType.FLOAT32:
            return rng.normal(0, 20 * float(graph.output_of(graph.operators[0]).scales[0]), t.shape).astype(np.float32)
        return rng.integers(-128, 128, t.shape).astype(t.dtype.value)

    def filled(low: int, high: int) -> Callable[[Tensor], Array]:
        return lambda t: rng.choice(np.array([low, high]), t.shape).astype(t.dtype.value)

    yield values(random)
    yield values(random)
    yield values(filled(-128, -128))
    yield values(filled(127, 127))
    yield values(filled(-128, 127))
    yield values(lambda t: np.full(t.shape, t.zero_points[0] if len(t.zero_points) else 0, t.dtype.value))


def gated(rng: Rng, height: int = 12, channels: int = 24) -> Graph:
    """A squeeze-and-excite block with its activations apart, as MobileNetV3 has them: convolution, HARD_SWISH,
    MEAN, two convolutions with RELU and (as ADD, RELU6, MUL) a hard sigmoid, the gate, and a residual with RELU."""
    tensors = [activation("x", (1, height, height, channels), 0.05, -3)]
    operators: list[Operator] = []

    def put(
        op: type[Operator], arguments: tuple[int, ...], shape: tuple[int, ...], s: float, z: int, **more: Any
    ) -> int:
        tensors.append(activation(f"t{len(tensors)}", shape, s, z))
        output = len(tensors) - 1
        operators.append(op(inputs=arguments, outputs=(output,), location=len(operators), **more))
        return output

    def pointwise(x: int, outputs: int, s: float, z: int) -> int:
        shape = (*tensors[x].shape[:3], outputs)
        weights = _weights(
            rng, (outputs, 1, 1, tensors[x].shape[3]), 0, tensors[x].shape[3], activation("y", shape, s, z), tensors[x]
        )
        tensors.extend(weights)
        return put(ops.Conv2D, (x, len(tensors) - 2, len(tensors) - 1), shape, s, z)

    def scalar(value: int, s: float) -> int:
        tensors.append(constant(f"c{len(tensors)}", np.array([value], np.int8), np.array([s])))
        return len(tensors) - 1

    image, one = (1, height, height, channels), (1, 1, 1, channels)
    x = pointwise(0, channels, 0.05, 4)
    x = put(ops.HardSwish, (x,), image, 0.04, -20)
    y = put(ops.Mean, (x,), one, 0.03, -20, axes=(1, 2))
    y = pointwise(y, 8, 0.05, 3)
    y = put(ops.Relu, (y,), (1, 1, 1, 8), 0.05, 3)
    y = pointwise(y, channels, 0.05, 3)
    y = put(ops.Add, (y, scalar(60, 0.05)), one, 0.05, -30)
    y = put(ops.Relu6, (y,), one, 0.024, -128)
    y = put(ops.Mul, (y, scalar(127, 0.0013)), one, 0.004, -128)
    x = put(ops.Mul, (x, y), image, 0.03, -30)
    x = put(ops.Add, (x, 0), image, 0.07, -10)
    x = put(ops.Relu, (x,), image, 0.07, -10)
    graph = Graph("gated", tuple(tensors), tuple(operators), (0,), (x,))
    checks.check(graph)
    return graph
