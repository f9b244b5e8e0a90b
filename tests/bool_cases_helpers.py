"""Seeded single-operator networks of what takes or gives bool, and of DIV."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from tensors_helpers import Rng, activation, constant, fused, scale, single, zero_point

from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator


def _shapes(rng: Rng, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast to one."""
    shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
    made = [tuple(1 if rng.integers(3) == 0 else size for size in shape) for _ in range(count)]
    return [shape if rng.integers(2) else each[int(rng.integers(2)) * (len(each) > 1) :] for each in made]


def comparison(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        first, second = _shapes(rng, 2)
        step = scale(rng, 0.002, 0.9)
        a = activation("a", first, step, zero_point(rng))
        b = activation("b", second, step if rng.integers(2) else scale(rng, 0.002, 0.9), zero_point(rng))
        return single(op, [a, b, Tensor("y", np.broadcast_shapes(first, second), DType.BOOL)], 2)

    return build


def logical(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        first, second = _shapes(rng, 2)
        shapes = [first, second, np.broadcast_shapes(first, second)]
        return single(op, [Tensor(name, shape, DType.BOOL) for name, shape in zip("aby", shapes, strict=True)], 2)

    return build


def logical_not(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        shape = _shapes(rng, 1)[0]
        return single(op, [Tensor(name, shape, DType.BOOL) for name in "xy"], 1)

    return build


def cast(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        shape = _shapes(rng, 1)[0]
        given = (DType.INT8, DType.BOOL)[rng.integers(2)]
        others = (DType.INT8, DType.BOOL, DType.INT16, DType.INT32, DType.FLOAT32)
        wanted = [dtype for dtype in others if dtype is not given]
        tensors = [Tensor("x", shape, given), Tensor("y", shape, wanted[rng.integers(4)])]
        meant = activation("x", shape, scale(rng), zero_point(rng))
        tensors = [dataclasses.replace(meant, name=t.name) if t.dtype is DType.INT8 else t for t in tensors]
        return single(op, tensors, 1)

    return build


def select(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        condition, first, second = _shapes(rng, 3)
        if op.kind == "SELECT":
            second = first
            condition = ((), first, first[:1])[rng.integers(3)]
        meant = activation("a", first, scale(rng), zero_point(rng))
        output = first if op.kind == "SELECT" else np.broadcast_shapes(condition, first, second)
        named = [dataclasses.replace(meant, name=name, shape=shape) for name, shape in (("b", second), ("y", output))]
        return single(op, [Tensor("c", condition, DType.BOOL), meant, *named], 3)

    return build


def div(op: type[Operator]) -> Callable[[Rng], Graph]:
    """By constants but 0, of scales for which TFLite Micro's last shift stays within 31 bits."""

    def build(rng: Rng) -> Graph:
        shape, other = _shapes(rng, 2)
        shape = np.broadcast_shapes(shape, other)
        point = int(rng.integers(-128, 128))
        data = rng.integers(-128, 128, other).astype(np.int8)
        data = np.where(data == point, -point if point > 0 else point + 1, data).astype(np.int8)
        steps = scale(rng), scale(rng)
        b = dataclasses.replace(constant("b", data, np.array([steps[1]])), zero_points=np.array([point]))
        y = activation("y", shape, steps[0] / steps[1] / float(np.exp(rng.uniform(4.2, 8))), zero_point(rng))
        return single(op, [activation("a", shape, steps[0], zero_point(rng)), b, y], 1, activation=fused(rng))

    return build
