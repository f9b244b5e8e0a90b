"""A random network of one operator that moves elements or scales images, for each kind."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tensors_helpers import Rng, activation, constant, int8, scale, single, zero_point

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Operator, Slice
from memaopt.networks.operators.registry import OPERATORS


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
    x, y = graph.tensors
    if rng.integers(2):  # whole words of channels, half of them of images twice as large
        size = tuple(2 * n for n in x.shape[1:3]) if rng.integers(2) else y.shape[1:3]
        shapes = tuple((x.shape[0], *of, 4 * x.shape[3]) for of in (x.shape[1:3], size))
        x, y = (dataclasses.replace(tensor, shape=shape) for tensor, shape in zip((x, y), shapes, strict=True))
    return single(OPERATORS["RESIZE_BILINEAR"], [x, y], 1, **more)
