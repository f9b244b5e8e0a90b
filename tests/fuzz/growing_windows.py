"""Random operators with weights, and windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.operators import Activation, Operator, Padding2D, Size2D
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.window import SlidingWindow, same_padding
from tests.fuzz.growing import (
    Growing,
    Shape,
    pick,
    random_int8,
    random_scale,
    random_size,
    random_zero_point,
)

_MOST_WEIGHTS = 6000
"""Of one layer."""


class GrowingWindows(Growing):
    """One method for each kind; False where the operand does not do."""

    def _weighted(
        self, cls: type[Operator], x: int, weights: Shape, axis: int, depth: int, shape: Shape, **more: Any
    ) -> bool:
        rng, tensor = self.rng, self.tensors[x]
        if math.prod(weights) > _MOST_WEIGHTS or min(shape, default=1) < 1:
            return False
        channels = weights[axis]
        scale, zero_point = random_scale(rng), random_zero_point(rng)
        typical = scale * float(pick(rng, (60, 60, 60, 0.01, 3000))) / (float(tensor.scale) * 5000 * math.sqrt(depth))
        count = channels if channels > 1 and rng.integers(2) else 1
        scales = typical * np.exp(rng.uniform(-1, 1, count))
        if not (scales.min() > 1e-37 and scales.max() < 1e37):
            return False
        if rng.integers(6) == 0:
            # powers of two put accumulators on ties, where the direction of rounding shows
            scales = 2.0 ** np.round(np.log2(scales))
            scale = 2.0 ** round(math.log2(scale))
        values = random_int8(rng, weights)
        if rng.integers(4) == 0:
            values = np.where(rng.random(weights) < 0.7, 0, values).astype(np.int8)
        if rng.integers(6) == 0:
            values.swapaxes(0, axis)[int(rng.integers(channels))] = 0  # a channel that is constant
        inputs = [x, self._constant(values, scales, 0, axis)]
        if rng.integers(4):
            bias = rng.normal(0, pick(rng, (3000, 3000, 100000)), channels).astype(np.int32)
            inputs.append(self._constant(bias, scales * float(tensor.scale)))
        fused = {"activation": pick(rng, list(Activation))}
        return self._put(cls, tuple(inputs), shape, scale, zero_point, **fused, **more)

    def _window(self, x: int, dilated: bool) -> tuple[Size2D, Size2D, Size2D, Padding2D, Shape] | None:
        rng = self.rng
        _, height, width, _ = self.tensors[x].shape
        most = int(pick(rng, (1, 3, 3, 5, 7)))
        kernel = Size2D(*(min(random_size(rng, most), 8) for _ in "hw"))
        if rng.integers(3) == 0:
            kernel = Size2D(3, 3)
        stride = Size2D(*rng.integers(1, 4, 2).tolist()) if rng.integers(2) else ops.ONE
        dilation = Size2D(*rng.integers(1, 4, 2).tolist()) if dilated and rng.integers(4) == 0 else ops.ONE
        same = bool(rng.integers(3))
        padding = same_padding(height, width, kernel, stride, dilation) if same else Padding2D()
        output = SlidingWindow(kernel, stride, dilation, padding).output(height, width)
        return (kernel, stride, dilation, padding, output) if min(output) > 0 else None

    def conv_2d(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4 or (found := self._window(x, True)) is None:
            return False
        n, _, _, c = self.tensors[x].shape
        kernel, stride, dilation, padding, (rows, columns) = found
        groups = int(pick(self.rng, [g for g in range(1, c + 1) if c % g == 0])) if self.rng.integers(6) == 0 else 1
        outputs = groups * (1 + int(self.rng.integers(24 // groups + 1)))
        depth = kernel.height * kernel.width * c // groups
        return self._weighted(
            ops.Conv2D,
            x,
            (outputs, *kernel, c // groups),
            0,
            depth,
            (n, rows, columns, outputs),
            stride=stride,
            dilation=dilation,
            padding=padding,
        )

    def depthwise_conv_2d(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4 or (found := self._window(x, True)) is None:
            return False
        n, _, _, c = self.tensors[x].shape
        kernel, stride, dilation, padding, (rows, columns) = found
        outputs = c * int(pick(self.rng, (1, 1, 1, 2, 3, 8)))
        return self._weighted(
            ops.DepthwiseConv2D,
            x,
            (1, *kernel, outputs),
            3,
            kernel.height * kernel.width,
            (n, rows, columns, outputs),
            stride=stride,
            dilation=dilation,
            padding=padding,
        )

    def transpose_conv(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4:
            return False
        n, h, w, c = self.tensors[x].shape
        kernel, stride = (Size2D(*self.rng.integers(1, most, 2).tolist()) for most in (6, 4))
        size = tuple((count - 1) * step + k for count, step, k in zip((h, w), stride, kernel, strict=True))
        same = bool(self.rng.integers(2))
        if same:
            size = (h * stride.height, w * stride.width)
        outputs, depth = random_size(self.rng, 12), max(kernel.height * kernel.width * c // 4, 1)
        shape = (n, *size, outputs)
        more = {"stride": stride, "same": same}
        return self._weighted(OPERATORS["TRANSPOSE_CONV"], x, (outputs, *kernel, c), 0, depth, shape, **more)

    def fully_connected(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if not shape:
            return False
        units, depth = random_size(self.rng, 24), shape[-1] if self.rng.integers(2) else math.prod(shape[1:])
        keep = depth == shape[-1] and bool(self.rng.integers(2))
        output = (*shape[:-1], units) if keep else (math.prod(shape) // depth, units)
        return self._weighted(ops.FullyConnected, x, (units, depth), 0, depth, output)

    def _pool(self, cls: type[Operator], x: int) -> bool:
        if len(self.tensors[x].shape) != 4 or (found := self._window(x, False)) is None:
            return False
        n, _, _, c = self.tensors[x].shape
        kernel, stride, _, padding, (rows, columns) = found
        more = {"kernel": kernel, "stride": stride, "padding": padding, "activation": pick(self.rng, list(Activation))}
        return self._put(cls, (x,), (n, rows, columns, c), *self._quantization(x), **more)

    def average_pool_2d(self, x: int) -> bool:
        return self._pool(ops.AveragePool2D, x)

    def max_pool_2d(self, x: int) -> bool:
        return self._pool(ops.MaxPool2D, x)
