"""Random tensors of networks: activations, constants, scales, values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators import Activation, Operator

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
