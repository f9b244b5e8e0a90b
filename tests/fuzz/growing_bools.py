"""Random operators of bool: comparisons, what is made of them, and what they choose; and DIV."""

from __future__ import annotations

import math

import numpy as np

from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators.registry import OPERATORS
from tests.fuzz.growing import Growing, pick, random_int8, random_scale, random_zero_point


class GrowingBools(Growing):
    """One method for each kind, which puts others around it, so that what comes out is int8 again."""

    def _bool(self, kind: str, *inputs: int) -> int:
        """One more operator whose output is bool."""
        shape = np.broadcast_shapes(*(self.tensors[t].shape for t in inputs))
        self.tensors.append(Tensor(self._called(kind.lower()), shape, DType.BOOL))
        output = len(self.tensors) - 1
        self.operators.append(OPERATORS[kind](inputs=inputs, outputs=(output,), location=len(self.operators)))
        return output

    def _compared(self, kind: str, x: int) -> int:
        """A comparison with a constant."""
        shape = self.tensors[x].shape
        other = tuple(1 if self.rng.integers(2) else size for size in shape)
        scale = min(random_scale(self.rng), 0.9)
        return self._bool(kind, x, self._constant(random_int8(self.rng, other), scale, random_zero_point(self.rng)))

    def _decided(self, x: int, comparison: str = "", logical: str = "", last: str = "") -> bool:
        """Comparisons, logic on them, and a choice or a CAST; nothing if scales do not do."""
        rng, tensor, first = self.rng, self.tensors[x], len(self.operators)
        if tensor.is_constant or tensor.scale >= 1 or not float(tensor.scale) > 1e-9:
            return False
        kinds = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
        flag = self._compared(comparison or pick(rng, kinds), x)
        logical = logical or str(pick(rng, ("", "", "LOGICAL_NOT", "LOGICAL_AND", "LOGICAL_OR")))
        if logical == "LOGICAL_NOT":
            flag = self._bool(logical, flag)
        elif logical:
            flag = self._bool(logical, flag, self._compared(str(pick(rng, kinds)), x))
        meant = self._quantization(x)
        last = last or str(pick(rng, ("SELECT", "SELECT_V2", "CAST")))
        if last == "CAST":
            done = self._put(OPERATORS["CAST"], (flag,), tensor.shape, *meant)
        else:
            other = tensor.shape if last == "SELECT" else tuple(1 if rng.integers(2) else n for n in tensor.shape)
            pair = (x, self._constant(random_int8(rng, other), *meant))
            done = self._put(OPERATORS[last], (flag, *(pair if rng.integers(2) else pair[::-1])), tensor.shape, *meant)
        if not done:
            del self.operators[first:]
        return done

    def equal(self, x: int) -> bool:
        return self._decided(x, "EQUAL")

    def not_equal(self, x: int) -> bool:
        return self._decided(x, "NOT_EQUAL")

    def greater(self, x: int) -> bool:
        return self._decided(x, "GREATER")

    def greater_equal(self, x: int) -> bool:
        return self._decided(x, "GREATER_EQUAL")

    def less(self, x: int) -> bool:
        return self._decided(x, "LESS")

    def less_equal(self, x: int) -> bool:
        return self._decided(x, "LESS_EQUAL")

    def logical_and(self, x: int) -> bool:
        return self._decided(x, logical="LOGICAL_AND")

    def logical_or(self, x: int) -> bool:
        return self._decided(x, logical="LOGICAL_OR")

    def logical_not(self, x: int) -> bool:
        return self._decided(x, logical="LOGICAL_NOT")

    def select(self, x: int) -> bool:
        return self._decided(x, last="SELECT")

    def select_v2(self, x: int) -> bool:
        return self._decided(x, last="SELECT_V2")

    def cast(self, x: int) -> bool:
        return self._decided(x, last="CAST")

    def div(self, x: int) -> bool:
        """By a constant without 0, of scales for which TFLite Micro's arithmetic is defined."""
        rng, shape = self.rng, self.tensors[x].shape
        point, scale = int(rng.integers(-128, 128)), float(math.exp(rng.uniform(-5, 0)))
        data = random_int8(rng, tuple(1 if rng.integers(2) else size for size in shape))
        data = np.where(data == point, np.int8(point + 1 if point < 0 else point - 1), data).astype(np.int8)
        output = float(self.tensors[x].scale) / scale / math.exp(rng.uniform(4.2, 8))
        other = self._constant(data, scale, point)
        return self._put(OPERATORS["DIV"], (x, other), shape, output, random_zero_point(rng))
