"""Random operators of one tensor: element by element, along an axis, over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.registry import OPERATORS
from tests.fuzz.growing import (
    Growing,
    pick,
    random_int8,
    random_size,
    random_zero_point,
)


class GrowingElements(Growing):
    """One method for each kind; False where the operand does not do."""

    def softmax(self, x: int) -> bool:
        beta = float(pick(self.rng, (1.0, 1.0, 0.3, 4.0)))
        return self._put(ops.Softmax, (x,), self.tensors[x].shape, 1 / 256, -128, beta=beta)

    def log_softmax(self, x: int) -> bool:
        return self._put(OPERATORS["LOG_SOFTMAX"], (x,), self.tensors[x].shape, 1 / 16, 127)

    def l2_normalization(self, x: int) -> bool:
        return self._put(OPERATORS["L2_NORMALIZATION"], (x,), self.tensors[x].shape, 1 / 128, 0)

    def unidirectional_sequence_lstm(self, x: int) -> bool:
        """Over the first axis of three or the second."""
        shape, rng = self.tensors[x].shape, self.rng
        if len(shape) != 3:
            return False
        units = random_size(rng, 8)
        wide = (((units, depth), 0.01) for depth in (shape[2], units) for _ in range(4))
        weights = [self._constant(random_int8(rng, size).clip(-127), scale) for size, scale in wide]
        bias = [self._constant(rng.integers(-9999, 9999, units).astype(np.int32), 1e-4) for _ in range(4)]
        more = {
            "time_major": bool(rng.integers(2)),
            "cell_clip": float(pick(rng, (0, 2, 10))),
            "state": (1 / 128, 0),
            "cell": (2.0 ** -int(rng.integers(11, 16)),),
            "hidden": (1 / 128, int(pick(rng, (0, 4)))),
        }
        cls = OPERATORS["UNIDIRECTIONAL_SEQUENCE_LSTM"]
        return self._put(cls, (x, *weights, *bias), (*shape[:2], units), 1 / 128, 0, **more)

    def logistic(self, x: int) -> bool:
        zero_point = int(pick(self.rng, (-128, random_zero_point(self.rng))))
        return self._put(ops.Logistic, (x,), self.tensors[x].shape, 1 / 256, zero_point)

    def tanh(self, x: int) -> bool:
        scale = float(pick(self.rng, (1 / 128, self.rng.uniform(0.003, 0.02))))
        return self._put(ops.Tanh, (x,), self.tensors[x].shape, scale, random_zero_point(self.rng))

    def _unary(self, cls: type[Operator], x: int, **more: Any) -> bool:
        return self._put(cls, (x,), self.tensors[x].shape, *self._near(x), **more)

    def sqrt(self, x: int) -> bool:
        return self._root(OPERATORS["SQRT"], x)

    def rsqrt(self, x: int) -> bool:
        return self._root(OPERATORS["RSQRT"], x)

    def _root(self, cls: type[Operator], x: int) -> bool:
        """Of what nothing is below 0 in."""
        shape, (scale, zero_point) = self.tensors[x].shape, self._quantization(x)
        if zero_point != -128 and not self._put(ops.Quantize, (x,), shape, scale, -128):
            return False
        return self._unary(cls, x if zero_point == -128 else self.ready[-1])

    def island(self, cls: type[Operator], x: int) -> bool:
        """Floats between DEQUANTIZE and QUANTIZE; squares of large ones would be more steps than 32 bits hold."""
        tensor = self.tensors[x]
        if tensor.is_constant or tensor.scale > 1:
            return False
        first = len(self.operators)
        for kind in (ops.Dequantize, cls):
            self.tensors.append(Tensor(self._called(kind.kind.lower()), tensor.shape, DType.FLOAT32))
            output = len(self.tensors) - 1
            self.operators.append(kind(inputs=(x,), outputs=(output,), location=len(self.operators)))
            x = output
        if self._put(
            ops.Quantize, (x,), tensor.shape, float(self.rng.uniform(0.005, 0.1)), random_zero_point(self.rng)
        ):
            return True
        del self.operators[first:]
        return False

    def leaky_relu(self, x: int) -> bool:
        return self._unary(ops.LeakyRelu, x, alpha=float(self.rng.uniform(-1, 1.5)))

    def dequantize(self, x: int) -> bool:
        """To float32, which is an output of the network."""
        return self._end(ops.Dequantize, x, self.tensors[x].shape, DType.FLOAT32)

    def mean(self, x: int) -> bool:
        return self._reduction(ops.Mean, x, *self._near(x))

    def sum(self, x: int) -> bool:
        scale, zero_point = self._near(x)
        return self._reduction(OPERATORS["SUM"], x, scale * float(pick(self.rng, (1, 8, 64))), zero_point)

    def reduce_max(self, x: int) -> bool:
        return self._reduction(OPERATORS["REDUCE_MAX"], x, *self._quantization(x))

    def reduce_min(self, x: int) -> bool:
        return self._reduction(OPERATORS["REDUCE_MIN"], x, *self._quantization(x))

    def _reduction(self, cls: type[Operator], x: int, scale: float, zero_point: int) -> bool:
        shape = self.tensors[x].shape
        axes = tuple(i for i in range(len(shape)) if self.rng.integers(2)) or (0,)
        if len(shape) == 4 and self.rng.integers(2):
            axes = (1, 2)
        keep = bool(self.rng.integers(2))
        output = tuple(1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes)
        return bool(shape) and self._put(cls, (x,), output, scale, zero_point, axes=axes)

    def arg_max(self, x: int) -> bool:
        return self._arg_extreme(OPERATORS["ARG_MAX"], x)

    def arg_min(self, x: int) -> bool:
        return self._arg_extreme(OPERATORS["ARG_MIN"], x)

    def _arg_extreme(self, cls: type[Operator], x: int) -> bool:
        shape = self.tensors[x].shape
        if not shape:
            return False
        axis = int(self.rng.integers(len(shape)))
        dtype = pick(self.rng, (DType.INT32, DType.INT64))
        return self._end(cls, x, (*shape[:axis], *shape[axis + 1 :]), dtype, axis=axis)
