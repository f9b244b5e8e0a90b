"""Random operators of two tensors."""

from __future__ import annotations

import math

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.operators import Activation, Operator
from memaopt.networks.operators.registry import OPERATORS
from tests.fuzz.growing import (
    Growing,
    Shape,
    pick,
    random_int8,
    random_scale,
    random_size,
    random_zero_point,
)


def _broadcasts(a: Shape, b: Shape) -> bool:
    return all(x == y or 1 in (x, y) for x, y in zip(reversed(a), reversed(b), strict=False))


class GrowingPairs(Growing):
    """One method for each kind; False where the operand does not do."""

    def _binary(self, cls: type[Operator], x: int) -> bool:
        rng, shape = self.rng, self.tensors[x].shape
        style = rng.integers(4)
        if style == 0:
            y = x
        elif style == 1:
            alike = [t for t in self.ready if _broadcasts(self.tensors[t].shape, shape)]
            y = int(pick(rng, alike)) if alike else x
        else:
            other = tuple(1 if rng.integers(2) else size for size in shape) if style == 2 else shape
            if other and rng.integers(3) == 0:
                other = other[int(rng.integers(len(other))) :]
            y = self._constant(random_int8(rng, other), random_scale(rng), random_zero_point(rng))
        slopes = cls is OPERATORS["PRELU"]
        pair = (x, y) if rng.integers(2) or slopes else (y, x)
        a, b = (float(self.tensors[t].scale) for t in pair)
        scale = (
            a * b * float(np.exp(rng.uniform(-1, 7)))
            if cls is ops.Mul or cls is OPERATORS["SQUARED_DIFFERENCE"]
            else max(a, b) * float(np.exp(rng.uniform(-3, 2)))
        )
        output = np.broadcast_shapes(*(self.tensors[t].shape for t in pair))
        more = {"activation": pick(rng, list(Activation))} if issubclass(cls, ops.Addition | ops.Mul) else {}
        return self._put(cls, pair, output, scale, random_zero_point(rng), **more)

    def add(self, x: int) -> bool:
        return self._binary(ops.Add, x)

    def sub(self, x: int) -> bool:
        return self._binary(ops.Sub, x)

    def mul(self, x: int) -> bool:
        return self._binary(ops.Mul, x)

    def squared_difference(self, x: int) -> bool:
        return self._binary(OPERATORS["SQUARED_DIFFERENCE"], x)

    def prelu(self, x: int) -> bool:
        return self._binary(OPERATORS["PRELU"], x)

    def _extreme(self, cls: type[Operator], x: int) -> bool:
        """Both operands and the output have one quantisation."""
        rng, shape = self.rng, self.tensors[x].shape
        alike = [t for t in self.ready if self.tensors[t].same_quantization(self.tensors[x])]
        broadcast = [t for t in alike if _broadcasts(self.tensors[t].shape, shape)]
        other = tuple(1 if rng.integers(2) else size for size in shape)
        if broadcast and rng.integers(2):
            y = int(pick(rng, broadcast))
        else:
            y = self._constant(random_int8(rng, other), *self._quantization(x))
        output = np.broadcast_shapes(self.tensors[y].shape, shape)
        return self._put(cls, (x, y) if rng.integers(2) else (y, x), output, *self._quantization(x))

    def minimum(self, x: int) -> bool:
        return self._extreme(OPERATORS["MINIMUM"], x)

    def maximum(self, x: int) -> bool:
        return self._extreme(OPERATORS["MAXIMUM"], x)

    def batch_matmul(self, x: int) -> bool:
        """With a constant, or with itself transposed."""
        rng, shape = self.rng, self.tensors[x].shape
        if not 2 <= len(shape) <= 5:
            return False
        if rng.integers(2):
            pair, transposed, columns = (x, x), (False, True), shape[-2]
        else:
            columns, transposed = random_size(rng, 12), (False, bool(rng.integers(2)))
            matrix = (columns, shape[-1]) if transposed[1] else (shape[-1], columns)
            batch = shape[:-2] if rng.integers(2) else ()
            pair = (
                x,
                self._constant(random_int8(rng, (*batch, *matrix)), random_scale(rng), int(pick(rng, (0, 0, 7)))),
            )
        a, b = (float(self.tensors[t].scale) for t in pair)
        scale = a * b * math.sqrt(shape[-1]) * float(np.exp(rng.uniform(1, 5)))
        output = (*shape[:-1], columns)
        return self._put(OPERATORS["BATCH_MATMUL"], pair, output, scale, random_zero_point(rng), transposed=transposed)
