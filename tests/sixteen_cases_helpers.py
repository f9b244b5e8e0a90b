"""Random networks of one operator whose activations are int16."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from networks_helpers import constant, fused, scale

from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator, Padding2D, Size2D
from memaopt.networks.operators.registry import SIXTEEN
from memaopt.networks.operators.window import SlidingWindow, same_padding

Rng = np.random.Generator


def int16_tensor(name: str, shape: tuple[int, ...], step: float) -> Tensor:
    return Tensor(name, shape, DType.INT16, np.array([step], np.float32), np.zeros(1, np.int64))


def int16_values(rng: Rng, *shape: int) -> np.ndarray:
    kind = rng.integers(3)
    if kind == 0:
        return rng.choice(np.array([-32768, 32767, 0, -1], np.int16), shape)
    return rng.integers(-32768 >> (4 * kind - 4), 32768 >> (4 * kind - 4), shape).astype(np.int16)


def int8_weights(rng: Rng, shape: tuple[int, ...], x: Tensor, y: Tensor) -> list[Tensor]:
    """Weights for each channel, and a bias, for which outputs are neither all clamped nor all equal."""
    depth, channels = int(np.prod(shape[1:])), shape[0]
    typical = 6000 * float(y.scale) / (float(x.scale) * 18000 * 70 * np.sqrt(depth))
    scales = (typical * np.exp(rng.uniform(-1, 1, channels if rng.integers(2) else 1))).astype(np.float32)
    bias = rng.normal(0, 1 << int(rng.integers(8, 26)), channels).astype(np.int64)
    data = rng.integers(-127, 128, shape).astype(np.int8)
    return [constant("weights", data, scales), constant("bias", bias, (scales * x.scale).astype(np.float32))]


def one_of_16(op: type[Operator], tensors: list[Tensor], **attributes: object) -> Graph:
    last = len(tensors) - 1
    node = op(inputs=tuple(range(last)), outputs=(last,), **attributes)
    return Graph(op.kind.lower(), tuple(tensors), (node,), (0,), (last,))


def _windowed(rng: Rng) -> tuple[tuple[int, ...], dict[str, object], tuple[int, int], Size2D]:
    n, rows, columns, depth = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 8, 8, 7]))
    kernel = Size2D(int(rng.integers(1, min(rows, 4) + 1)), int(rng.integers(1, min(columns, 4) + 1)))
    stride = Size2D(*rng.integers(1, 3, 2).tolist())
    padding = same_padding(rows, columns, kernel, stride, Size2D(1, 1)) if rng.integers(2) else Padding2D()
    size = SlidingWindow(kernel, stride, Size2D(1, 1), padding).output(rows, columns)
    return (n, rows, columns, depth), {"stride": stride, "padding": padding, "activation": fused(rng)}, size, kernel


def _biased(rng: Rng, weights: list[Tensor], *without: dict[str, object]) -> tuple[list[Tensor], dict[str, object]]:
    """Weights with a bias of int64 or int32, or without one, and then with one of these attributes."""
    kind = int(rng.integers(2 + len(without)))
    if kind > 1:
        return weights[:1], without[kind - 2]
    bias = weights[1]
    if kind:
        bias = dataclasses.replace(bias, data=bias.values.astype(np.int32), dtype=DType.INT32)
    return [weights[0], bias], {}


def conv_of_16(rng: Rng) -> Graph:
    shape, attributes, size, kernel = _windowed(rng)
    outputs = int(rng.integers(1, 6))
    x, y = (
        int16_tensor("x", shape, scale(rng, 1e-5, 1e-3)),
        int16_tensor("y", (shape[0], *size, outputs), scale(rng, 1e-5, 1e-3)),
    )
    weights, more = _biased(rng, int8_weights(rng, (outputs, *kernel, shape[3]), x, y))
    return one_of_16(SIXTEEN["CONV_2D"], [x, *weights, y], **attributes, **more)


def _depthwise(rng: Rng) -> Graph:
    shape, attributes, size, kernel = _windowed(rng)
    outputs = shape[3] * int(rng.integers(1, 4))
    x, y = (
        int16_tensor("x", shape, scale(rng, 1e-5, 1e-3)),
        int16_tensor("y", (shape[0], *size, outputs), scale(rng, 1e-5, 1e-3)),
    )
    given, bias = int8_weights(rng, (outputs, *kernel, 1), x, y)
    weights = constant("weights", np.ascontiguousarray(given.values.transpose(3, 1, 2, 0)), given.scales, axis=3)
    return one_of_16(SIXTEEN["DEPTHWISE_CONV_2D"], [x, weights, *[bias][: rng.integers(2)], y], **attributes)


def _fully_connected(rng: Rng) -> Graph:
    rows, depth, units = (int(v) for v in rng.integers([1, 1, 1], [4, 60, 9]))
    x, y = (
        int16_tensor("x", (rows, depth), scale(rng, 1e-5, 1e-3)),
        int16_tensor("y", (rows, units), scale(rng, 1e-5, 1e-3)),
    )
    weights, more = _biased(rng, int8_weights(rng, (units, depth), x, y), {}, {"narrow": True})
    return one_of_16(SIXTEEN["FULLY_CONNECTED"], [x, *weights, y], activation=fused(rng), **more)


def _pair(kind: str) -> Callable[[Rng], Graph]:
    def case(rng: Rng) -> Graph:
        shape = tuple(int(v) for v in rng.integers(1, 5, 3))
        other = shape if rng.integers(2) else tuple(int(rng.choice([1, v])) for v in shape)[int(rng.integers(2)) :]
        first, second = scale(rng, 1e-4, 1e-3), scale(rng, 1e-4, 1e-3)
        step = first * second * 20000 if kind == "MUL" else (first + second) * 0.9
        a, b, y = (
            int16_tensor("a", shape, first),
            int16_tensor("b", other, second),
            int16_tensor("y", shape, step * rng.uniform(0.6, 2)),
        )
        if rng.integers(3) == 0:
            b = dataclasses.replace(b, data=int16_values(rng, *other))
        node = SIXTEEN[kind](inputs=(0, 1), outputs=(2,), activation=fused(rng))
        return Graph(kind.lower(), (a, b, y), (node,), (0,) if b.is_constant else (0, 1), (2,))

    return case


def _mean(rng: Rng) -> Graph:
    shape = tuple(int(v) for v in rng.integers(1, 7, 4))
    axes = tuple(sorted(int(v) for v in rng.choice(4, int(rng.integers(1, 4)), replace=False)))
    keep, step = bool(rng.integers(2)), scale(rng, 1e-4, 1e-3)
    size = tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes)
    factor = float(rng.choice([1, rng.uniform(0.2, 2)]))
    return one_of_16(
        SIXTEEN["MEAN"], [int16_tensor("x", shape, step), int16_tensor("y", size, step * factor)], axes=axes
    )


def _pool(kind: str) -> Callable[[Rng], Graph]:
    def case(rng: Rng) -> Graph:
        shape, attributes, size, kernel = _windowed(rng)
        step = scale(rng, 1e-5, 1e-3)
        tensors = [int16_tensor("x", shape, step), int16_tensor("y", (shape[0], *size, shape[3]), step)]
        return one_of_16(SIXTEEN[kind], tensors, kernel=kernel, **attributes)

    return case


def softmax_of_16(rng: Rng) -> Graph:
    shape = (int(rng.integers(1, 5)), int(rng.choice([1, 2, 3, 10, 300])))
    beta = float(rng.choice([1, 0.3, 2.5]))
    return one_of_16(
        SIXTEEN["SOFTMAX"],
        [int16_tensor("x", shape, scale(rng, 1e-6, 1e-2)), int16_tensor("y", shape, 1 / 32768)],
        beta=beta,
    )


def _quantize(rng: Rng) -> Graph:
    """From int16 to less, as much or more, from int8 or from floats."""
    kinds = [(DType.INT16, DType.INT8), (DType.INT16,) * 2, (DType.INT16, DType.INT32), (DType.INT8, DType.INT16)]
    shape, kind = (2, 40), int(rng.integers(5))
    if kind == 4:
        return one_of_16(
            SIXTEEN["QUANTIZE"], [Tensor("x", shape, DType.FLOAT32), int16_tensor("y", shape, scale(rng, 1, 1e4))]
        )
    x, y = (tensor_of(rng, name, shape, dtype) for name, dtype in zip("xy", kinds[kind], strict=True))
    return one_of_16(SIXTEEN["QUANTIZE"], [x, y])


def _dequantize(rng: Rng) -> Graph:
    return one_of_16(
        SIXTEEN["DEQUANTIZE"], [int16_tensor("x", (2, 40), scale(rng)), Tensor("y", (2, 40), DType.FLOAT32)]
    )


def tensor_of(rng: Rng, name: str, shape: tuple[int, ...], dtype: DType) -> Tensor:
    point = int(rng.integers(-128, 128)) if dtype is DType.INT8 else 0
    return dataclasses.replace(
        int16_tensor(name, shape, scale(rng, 1e-4, 1e-2)), dtype=dtype, zero_points=np.array([point])
    )


SIXTEEN_CASES: dict[str, Callable[[Rng], Graph]] = {
    **{kind: _pair(kind) for kind in ("ADD", "MUL", "SUB")},
    **{kind: _pool(kind) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    "CONV_2D": conv_of_16,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MEAN": _mean,
    "QUANTIZE": _quantize,
    "SOFTMAX": softmax_of_16,
}
