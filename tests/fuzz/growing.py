"""A random network that grows: its tensors and operators, random values of them, what the checks take."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator

Rng = np.random.Generator
Shape = tuple[int, ...]

#: Elements of one tensor beyond which an operator is not taken.
MOST_ELEMENTS = 6000
_ATTEMPTS = 40


def pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def random_scale(rng: Rng) -> float:
    """Mostly usual scales, now and then extreme ones."""
    low, high = (1e-3, 0.5) if rng.integers(6) else (1e-8, 1e6)
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def random_zero_point(rng: Rng) -> int:
    return int(pick(rng, (-128, 127, 0, -1, int(rng.integers(-128, 128)))))


def random_size(rng: Rng, most: int) -> int:
    """1 as often as not much more."""
    return 1 if rng.integers(5) == 0 else int(rng.integers(1, most + 1))


def random_int8(rng: Rng, shape: Shape) -> np.ndarray[Any, Any]:
    """Random bytes, now and then extreme or constant ones."""
    style = rng.integers(6)
    if style == 0:
        return rng.choice(np.array([-128, 127, 0], np.int8), shape)
    if style == 1:
        return np.full(shape, rng.integers(-128, 128), np.int8)
    return rng.integers(-128, 128, shape).astype(np.int8)


class Growing(ABC):
    """A network that gets one operator after another."""

    def __init__(self, rng: Rng, name: str) -> None:
        self.rng = rng
        self.name = name
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        self.ready: list[int] = []
        self.vision = bool(rng.integers(2))
        """Whether it is made of the operators of networks that look at images."""
        self.final: list[int] = []
        """Outputs that are not int8, which nothing reads."""

    def grown(self, operators: int) -> Graph:
        for _ in range(int(pick(self.rng, (1, 1, 1, 2, 3)))):
            self._start()
        for _ in range(_ATTEMPTS):
            if len(self.operators) >= operators:
                break
            self._step()
        return self._finished()

    @abstractmethod
    def _step(self) -> None:
        """Put one more operator, if the checks take it."""

    def _start(self) -> None:
        rng = self.rng
        rank = int(pick(rng, (4, 4, 4, 4, 4, 1, 2, 3, 5)))
        if rank == 4:
            batch = int(pick(rng, (1, 1, 1, 2, 3)))
            shape: Shape = (batch, random_size(rng, 14), random_size(rng, 14), random_size(rng, 20))
        else:
            shape = tuple(random_size(rng, 7) for _ in range(rank))
        if math.prod(shape) > MOST_ELEMENTS:
            shape = (1, *shape[1:3], 1)
        if rng.integers(8) == 0:
            self.tensors.append(Tensor(self._called("input"), shape, DType.FLOAT32))
            self.inputs.append(len(self.tensors) - 1)
            self._put(ops.Quantize, (self.inputs[-1],), shape, float(rng.uniform(0.005, 0.1)), random_zero_point(rng))
            return
        index = self._tensor("input", shape, random_scale(rng), random_zero_point(rng))
        self.inputs.append(index)
        self.ready.append(index)

    def _finished(self) -> Graph:
        """What nothing reads is an output, and now and then something that is read."""
        read = {i for op in self.operators for i in op.inputs}
        ends = [i for i in self.ready if i not in read and i not in self.inputs] + self.final
        inner = [i for i in self.ready if i in read and i not in self.inputs]
        while inner and self.rng.integers(5) == 0:
            ends.append(inner.pop(int(self.rng.integers(len(inner)))))
        if not ends or self.rng.integers(25) == 0:
            ends.append(int(pick(self.rng, self.inputs)))
        order = self.rng.permutation(len(ends))
        return Graph(
            self.name, tuple(self.tensors), tuple(self.operators), tuple(self.inputs), tuple(ends[i] for i in order)
        )

    def _called(self, what: str) -> str:
        return f"{what}{len(self.tensors)}"

    def _tensor(self, what: str, shape: Shape, scale: float, zero_point: int) -> int:
        q = np.array([scale], np.float32), np.array([zero_point])
        self.tensors.append(Tensor(self._called(what), shape, DType.INT8, *q))
        return len(self.tensors) - 1

    def _constant(self, values: np.ndarray[Any, Any], scales: Any, zero_point: int = 0, axis: int = 0) -> int:
        scales = np.atleast_1d(np.asarray(scales, np.float32))
        zeros = np.full(len(scales), zero_point, np.int64)
        dtype = DType(str(values.dtype))
        self.tensors.append(Tensor(self._called("constant"), values.shape, dtype, scales, zeros, axis, values))
        return len(self.tensors) - 1

    def _quantization(self, x: int) -> tuple[float, int]:
        tensor = self.tensors[x]
        return float(tensor.scale), tensor.zero_point

    def _near(self, x: int) -> tuple[float, int]:
        """The quantisation of x, or one that is not far from it."""
        scale, zero_point = self._quantization(x)
        if self.rng.integers(3) == 0:
            return scale, zero_point
        return scale * float(np.exp(self.rng.uniform(-1.5, 1.5))), random_zero_point(self.rng)

    def _put(
        self, cls: type[Operator], inputs: tuple[int, ...], shape: Shape, scale: float, zero_point: int, **more: Any
    ) -> bool:
        """Append an operator if the checks take it, else forget it."""
        before = len(self.tensors)
        if min(shape, default=1) < 1 or math.prod(shape) > MOST_ELEMENTS or not 1e-38 < scale < 1e38:
            return False
        output = self._tensor(cls.kind.lower(), shape, scale, zero_point)
        op = cls(inputs=inputs, outputs=(output,), location=len(self.operators), **more)
        data = tuple(dict.fromkeys(i for i in inputs if not self.tensors[i].is_constant))
        # A network needs an input; one of its own stands in where there are constants alone.
        try:
            checks.check(Graph("one", tuple(self.tensors), (op,), data or tuple(self.inputs[:1]), (output,)))
        except UnsupportedModelError:
            del self.tensors[before:]
            return False
        self.operators.append(op)
        self.ready.append(output)
        return True

    def _end(self, cls: type[Operator], x: int, shape: Shape, dtype: DType, **more: Any) -> bool:
        """An output of the network that is not int8; not too often, since nothing can follow."""
        if self.rng.integers(2) or self.tensors[x].is_constant:
            return False
        self.tensors.append(Tensor(self._called(cls.kind.lower()), shape, dtype))
        output = len(self.tensors) - 1
        self.operators.append(cls(inputs=(x,), outputs=(output,), location=len(self.operators), **more))
        self.final.append(output)
        return True
