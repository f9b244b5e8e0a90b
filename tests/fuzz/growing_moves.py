"""Random operators that only move elements, or scale images."""

from __future__ import annotations

import math
from typing import Any

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators import Slice
from memaopt.networks.operators.registry import OPERATORS
from tests.fuzz.growing import (
    Growing,
    Shape,
    pick,
    random_int8,
    random_size,
)


def _joins(a: Shape, b: Shape, axis: int) -> bool:
    return len(a) == len(b) and all(x == y for i, (x, y) in enumerate(zip(a, b, strict=True)) if i != axis)


class GrowingMoves(Growing):
    """One method for each kind; False where the operand does not do."""

    def gather(self, x: int) -> bool:
        rng, shape = self.rng, self.tensors[x].shape
        if not shape:
            return False
        axis = int(rng.integers(len(shape)))
        indices = tuple(int(i) for i in rng.integers(shape[axis], size=random_size(rng, 6)))
        output = (*shape[:axis], len(indices), *shape[axis + 1 :])
        return self._put(ops.Gather, (x,), output, *self._quantization(x), axis=axis, indices=indices)

    def embedding_lookup(self, x: int) -> bool:
        """Of a table of x's quantisation, by indices that are an input of the network."""
        rng, quantization = self.rng, self._quantization(x)
        rows, *row = (random_size(rng, most) for most in (40, *pick(rng, ((70,), (6, 9)))))
        table = self._constant(random_int8(rng, (rows, *row)), *quantization)
        given = next((i for i in self.inputs if self.tensors[i].dtype is DType.INT32), None)
        if given is None or rng.integers(2):
            self.tensors.append(Tensor(self._called("indices"), (random_size(rng, 9),), DType.INT32))
            given = len(self.tensors) - 1
        put = self._put(
            OPERATORS["EMBEDDING_LOOKUP"], (given, table), (*self.tensors[given].shape, *row), *quantization
        )
        if put and given not in self.inputs:
            self.inputs.append(given)
        return put

    def pack(self, x: int) -> bool:
        rng, tensor = self.rng, self.tensors[x]
        axis = int(rng.integers(len(tensor.shape) + 1))
        same = [t for t in self.ready if self.tensors[t].same_quantization(tensor)]
        alike = [x, *(t for t in same if self.tensors[t].shape == tensor.shape)]
        parts = [x, *(int(pick(rng, alike)) for _ in range(int(rng.integers(3))))]
        output = (*tensor.shape[:axis], len(parts), *tensor.shape[axis:])
        return self._put(ops.Pack, tuple(parts), output, *self._quantization(x), axis=axis)

    def pad(self, x: int) -> bool:
        shape = self.tensors[x].shape
        paddings = tuple(
            (0, 0) if self.rng.integers(2) else (int(self.rng.integers(4)), int(self.rng.integers(4))) for _ in shape
        )
        output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
        return bool(shape) and self._put(ops.Pad, (x,), output, *self._quantization(x), paddings=paddings)

    def _move(self, kind: str, x: int, output: Shape, **more: Any) -> bool:
        return bool(output) and self._put(OPERATORS[kind], (x,), output, *self._quantization(x), **more)

    def padv2(self, x: int) -> bool:
        shape, rng = self.tensors[x].shape, self.rng
        paddings = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (len(shape), 2)))
        output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
        value = self._constant(random_int8(rng, (1,)), *self._quantization(x))
        return bool(shape) and self._put(
            OPERATORS["PADV2"], (x, value), output, *self._quantization(x), paddings=paddings
        )

    def mirror_pad(self, x: int) -> bool:
        shape, rng = self.tensors[x].shape, self.rng
        mode = pick(rng, ("REFLECT", "SYMMETRIC"))
        paddings = tuple(
            (int(rng.integers(most + 1)), int(rng.integers(most + 1)))
            for most in (min(size - (mode == "REFLECT"), 3) for size in shape)
        )
        output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
        return self._move("MIRROR_PAD", x, output, paddings=paddings, mode=mode)

    def tile(self, x: int) -> bool:
        shape = self.tensors[x].shape
        multiples = tuple(int(pick(self.rng, (1, 1, 2, 3))) for _ in shape)
        return self._move("TILE", x, tuple(map(math.prod, zip(shape, multiples, strict=True))), multiples=multiples)

    def broadcast_to(self, x: int) -> bool:
        shape = self.tensors[x].shape
        return self._move("BROADCAST_TO", x, tuple(random_size(self.rng, 4) if size == 1 else size for size in shape))

    def reverse_v2(self, x: int) -> bool:
        shape = self.tensors[x].shape
        return bool(shape) and self._move("REVERSE_V2", x, shape, axes=(int(self.rng.integers(len(shape))),))

    def depth_to_space(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4:
            return False
        n, h, w, c = self.tensors[x].shape
        block = int(pick(self.rng, [b for b in (1, 2, 3) if c % b**2 == 0]))
        return self._move("DEPTH_TO_SPACE", x, (n, h * block, w * block, c // block**2), block=block)

    def space_to_depth(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4:
            return False
        n, h, w, c = self.tensors[x].shape
        block = int(pick(self.rng, [b for b in (1, 2, 3) if h % b == w % b == 0]))
        return self._move("SPACE_TO_DEPTH", x, (n, h // block, w // block, c * block**2), block=block)

    def space_to_batch_nd(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if len(shape) not in (3, 4):
            return False
        block = tuple(self.rng.integers(1, 4, len(shape) - 2).tolist())
        edges = tuple(
            (int(before), int(-(n + before) % b)) for n, b, before in zip(shape[1:], block, (0, 2), strict=False)
        )
        inner = (sum((n, *edge)) // b for n, b, edge in zip(shape[1:], block, edges, strict=False))
        return self._move(
            "SPACE_TO_BATCH_ND", x, (shape[0] * math.prod(block), *inner, shape[-1]), block=block, edges=edges
        )

    def batch_to_space_nd(self, x: int) -> bool:
        """Back from several batches, or from one."""
        shape, rng = self.tensors[x].shape, self.rng
        if len(shape) not in (3, 4):
            return False
        first = int(pick(rng, [b for b in (1, 2, 3) if shape[0] % b == 0]))
        block = (first, 1)[: len(shape) - 2]
        edges = tuple((int(rng.integers(min(n * b, 2))), 0) for n, b in zip(shape[1:], block, strict=False))
        inner = (n * b - edge[0] for n, b, edge in zip(shape[1:], block, edges, strict=False))
        return self._move("BATCH_TO_SPACE_ND", x, (shape[0] // first, *inner, shape[-1]), block=block, edges=edges)

    def concatenation(self, x: int) -> bool:
        rng, tensor = self.rng, self.tensors[x]
        if not tensor.shape:
            return False
        axis = int(rng.integers(len(tensor.shape)))
        parts = [x]
        for _ in range(int(rng.integers(4))):
            alike = [
                t
                for t in self.ready
                if self.tensors[t].same_quantization(tensor) and _joins(self.tensors[t].shape, tensor.shape, axis)
            ]
            if alike and rng.integers(3):
                parts.insert(int(rng.integers(len(parts) + 1)), int(pick(rng, alike)))
            else:
                shape = tuple(random_size(rng, 4) if i == axis else s for i, s in enumerate(tensor.shape))
                parts.append(self._constant(random_int8(rng, shape), *self._quantization(x)))
        output = tuple(
            sum(self.tensors[t].shape[axis] for t in parts) if i == axis else s for i, s in enumerate(tensor.shape)
        )
        return self._put(ops.Concatenation, tuple(parts), output, *self._quantization(x), axis=axis)

    def reshape(self, x: int) -> bool:
        shape, elements = self.tensors[x].shape, self.tensors[x].elements
        low = [d for d in range(1, 17) if elements % d == 0]
        a = int(pick(self.rng, low))
        b = int(pick(self.rng, [d for d in low if elements // a % d == 0]))
        output = pick(
            self.rng,
            [
                (elements,),
                (1, elements),
                tuple(reversed(shape)),
                (a, b, elements // a // b),
                (1, a, b, elements // a // b),
                (1, 1, *shape)[:6],
            ],
        )
        return math.prod(output) == elements and self._put(ops.Reshape, (x,), output, *self._quantization(x))

    def squeeze(self, x: int) -> bool:
        shape = self.tensors[x].shape
        output = tuple(s for s in shape if s > 1 or self.rng.integers(2))
        return bool(output) and self._put(ops.Squeeze, (x,), output, *self._quantization(x))

    def expand_dims(self, x: int) -> bool:
        shape = self.tensors[x].shape
        axis = int(self.rng.integers(len(shape) + 1))
        if len(shape) >= 6:
            return False
        return self._put(ops.ExpandDims, (x,), (*shape[:axis], 1, *shape[axis:]), *self._quantization(x))

    def transpose(self, x: int) -> bool:
        shape = self.tensors[x].shape
        permutation = tuple(self.rng.permutation(len(shape)).tolist())
        output = tuple(shape[i] for i in permutation)
        return bool(shape) and self._put(ops.Transpose, (x,), output, *self._quantization(x), permutation=permutation)

    def strided_slice(self, x: int) -> bool:
        rng, slices = self.rng, []
        for size in self.tensors[x].shape:
            if rng.integers(2):
                slices.append(Slice(0, 1, size))
                continue
            start, step = int(rng.integers(size)), int(pick(rng, (1, 1, 2, 3, -1, -2)))
            room = (size - start + step - 1) // step if step > 0 else (start - step) // -step
            slices.append(Slice(start, step, int(rng.integers(1, room + 1))))
        output = tuple(s.length for s in slices)
        if rng.integers(3) == 0:
            output = tuple(length for length in output if length > 1)
        return bool(slices) and self._put(ops.StridedSlice, (x,), output, *self._quantization(x), slices=tuple(slices))

    def resize_nearest_neighbor(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if len(shape) != 4:
            return False
        style = self.rng.integers(3)
        output = (shape[0], random_size(self.rng, 20), random_size(self.rng, 20), shape[3])
        return self._put(
            ops.ResizeNearestNeighbor,
            (x,),
            output,
            *self._quantization(x),
            align_corners=bool(style == 1),
            half_pixel_centers=bool(style == 2),
        )

    def resize_bilinear(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if len(shape) != 4:
            return False
        style, output = self.rng.integers(3), (shape[0], random_size(self.rng, 20), random_size(self.rng, 20), shape[3])
        more = {"align_corners": bool(style == 1), "half_pixel_centers": bool(style == 2)}
        return self._move("RESIZE_BILINEAR", x, output, **more)
