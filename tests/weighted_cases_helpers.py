"""A random network of one operator with weights, for each kind."""

from __future__ import annotations

import math

import numpy as np
from tensors_helpers import Rng, activation, constant, fused, int8, scale, single, zero_point

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Padding2D, Size2D
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.window import SlidingWindow, same_padding


def window_of(rng: Rng, height: int, width: int, dilated: bool) -> tuple[Size2D, Size2D, Size2D, Padding2D]:
    """A kernel, stride, dilation and SAME or VALID padding that fit the image."""
    while True:
        kernel = Size2D(*rng.integers(1, 5, 2).tolist())
        stride = Size2D(*rng.integers(1, 4, 2).tolist())
        dilation = Size2D(*(rng.integers(1, 4, 2).tolist() if dilated and rng.integers(3) == 0 else (1, 1)))
        same = bool(rng.integers(2))
        padding = same_padding(height, width, kernel, stride, dilation) if same else Padding2D()
        if min(SlidingWindow(kernel, stride, dilation, padding).output(height, width)) > 0:
            return kernel, stride, dilation, padding


def weights_of(rng: Rng, shape: tuple[int, ...], axis: int, depth: int, out: Tensor, x: Tensor) -> list[Tensor]:
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
    kernel, stride, dilation, padding = window_of(rng, h, w, dilated=True)
    rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(h, w)
    x = activation("x", (n, h, w, c), scale(rng), zero_point(rng))
    y = activation("y", (n, rows, columns, outputs), scale(rng), zero_point(rng))
    k = kernel.height * kernel.width * c // groups
    weights = weights_of(rng, (outputs, *kernel, c // groups), 0, k, y, x)
    attributes = {"stride": stride, "dilation": dilation, "padding": padding, "activation": fused(rng)}
    return single(ops.Conv2D, [x, *weights, y], 1, **attributes)


def depthwise_conv_2d(rng: Rng) -> Graph:
    n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 10, 10, 7]))
    outputs = c * int(rng.integers(1, 4))
    kernel, stride, dilation, padding = window_of(rng, h, w, dilated=True)
    rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(h, w)
    x = activation("x", (n, h, w, c), scale(rng), zero_point(rng))
    y = activation("y", (n, rows, columns, outputs), scale(rng), zero_point(rng))
    weights = weights_of(rng, (1, *kernel, outputs), 3, kernel.height * kernel.width, y, x)
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
    weights = weights_of(rng, (units, depth), 0, depth, y, x)
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
    weights = weights_of(rng, (outputs, *kernel, c), 0, max(kernel.height * kernel.width * c // 2, 1), y, x)
    if rng.integers(2):
        weights.pop()
    return single(OPERATORS["TRANSPOSE_CONV"], [x, *weights, y], 1, stride=stride, same=same, activation=fused(rng))
