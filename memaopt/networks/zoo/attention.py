"""A transformer of the zoo, as converters write one: attention of several heads by products of computed operands, and
normalisation of each row as ten operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators import Operator
from memaopt.networks.zoo.builder import Array, Builder, quantization

Reals = npt.NDArray[np.float64]

_EPSILON = 1e-3  # what Keras adds to a variance
_COMPUTED: dict[type[Operator], Callable[[Reals, Reals], Reals]] = {
    ops.Add: np.add,
    ops.Sub: np.subtract,
    ops.Mul: np.multiply,
    ops.SquaredDifference: lambda a, b: (a - b) ** 2,
}


class Attention(Builder):
    """Layers of transformers on [1, steps, width]."""

    def product(self, first: int, second: int, *, transposed: bool = False) -> int:
        """Of the matrices of each head; ``transposed``: those of the second operand."""
        *heads, rows, _ = self.tensors[first].shape
        columns = self.tensors[second].shape[-2 if transposed else -1]
        scale = float(self.tensors[first].scale) * float(self.tensors[second].scale)
        reals = [
            scale * (a @ (b.swapaxes(-1, -2) if transposed else b)).astype(np.float64)
            for a, b in zip(self.integers(first), self.integers(second), strict=True)
        ]
        output = self._calibrated("batch_matmul", (*heads, rows, columns), reals)
        return self._append(ops.BatchMatmul, (first, second), output, {"transposed": (False, transposed)})

    def heads(self, x: int, count: int) -> int:
        """[1, count, steps, width / count]."""
        _, steps, width = self.tensors[x].shape
        return self.swap(self.reshape(x, (1, steps, count, width // count)))

    def joined(self, x: int) -> int:
        """:meth:`heads` undone."""
        _, count, steps, width = self.tensors[x].shape
        return self.reshape(self.swap(x), (1, steps, count * width))

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        return self._append(ops.Reshape, (x,), self._like(x, "reshape", shape), {})

    def swap(self, x: int) -> int:
        """The second axis and the third."""
        batch, second, third, *rest = self.tensors[x].shape
        output = self._like(x, "transpose", (batch, third, second, *rest))
        return self._append(ops.Transpose, (x,), output, {"permutation": (0, 2, 1, 3)})

    def softmax(self, x: int) -> int:
        output = int8_tensor(self._name("softmax"), self.tensors[x].shape, 1 / 256, -128)
        return self._append(ops.Softmax, (x,), output, {})

    def gelu(self, x: int) -> int:
        """From -0.17, which is its least, to where its input ends."""
        scale, zero_point = quantization(-0.17, float(np.max(self.reals(x))))
        output = int8_tensor(self._name("gelu"), self.tensors[x].shape, scale, zero_point)
        return self._append(ops.Gelu, (x,), output, {})

    def constant(self, values: npt.ArrayLike, name: str) -> int:
        """Of real numbers."""
        values = np.asarray(values, np.float64)
        scale, zero_point = quantization(float(values.min()), float(values.max()))
        data = np.clip(np.round(values / scale) + zero_point, -128, 127).astype(np.int8)
        scales, zero_points = np.array([scale], np.float32), np.array([zero_point])
        self.tensors.append(Tensor(self._name(name), data.shape, DType.INT8, scales, zero_points, 0, data))
        return len(self.tensors) - 1

    def pair(self, cls: type[Operator], first: int, second: int) -> int:
        """ADD, SUB, MUL or SQUARED_DIFFERENCE."""
        computed = _COMPUTED[cls]
        reals = [computed(a, b) for a, b in zip(self.reals(first), self.reals(second), strict=True)]
        output = self._calibrated(cls.kind.lower(), reals[0].shape, reals)
        return self._append(cls, (first, second), output, {})

    def average(self, x: int, axis: int, *, keep: bool) -> int:
        shape = list(self.tensors[x].shape)
        shape[axis : axis + 1] = [1] if keep else []
        scale = float(self.tensors[x].scale) / self.tensors[x].shape[axis]
        reals = [scale * value.sum(axis=axis, keepdims=keep) for value in self.integers(x)]
        return self._append(ops.Mean, (x,), self._calibrated("mean", tuple(shape), reals), {"axes": (axis,)})

    def normalised(self, x: int) -> int:
        """Each row less its mean, over its deviation, times one constant a channel and plus another:
        x g + (b - mean g), where g is the factor over the root of the variance."""
        width = self.channels(x)
        mean = self.average(x, 2, keep=True)
        variance = self.average(self.pair(ops.SquaredDifference, x, mean), 2, keep=True)
        variance = self.pair(ops.Add, variance, self.constant(np.full(1, _EPSILON), "epsilon"))
        reals = [1 / np.sqrt(np.maximum(value, _EPSILON)) for value in self.reals(variance)]
        output = self._calibrated("rsqrt", self.tensors[variance].shape, reals)
        inverse = self._append(ops.Rsqrt, (variance,), output, {})
        factor = self.pair(ops.Mul, inverse, self.constant(self.rng.integers(48, 80, width) / 64, "factor"))
        offset = self.constant(self.rng.integers(-16, 17, width) / 64, "offset")
        rest = self.pair(ops.Sub, offset, self.pair(ops.Mul, mean, factor))
        return self.pair(ops.Add, self.pair(ops.Mul, x, factor), rest)

    def attended(self, x: int, heads: int) -> int:
        """Each step a mean of all steps, weighted by how queries meet keys."""
        width = self.channels(x)
        queries, keys, values = (self.heads(self.fully_connected(x, width, largest=4.0), heads) for _ in range(3))
        scale = self.constant(np.full(1, 1 / math.sqrt(width / heads)), "scale")
        weights = self.softmax(self.pair(ops.Mul, self.product(queries, keys, transposed=True), scale))
        return self.fully_connected(self.joined(self.product(weights, values)), width)

    def encoded(self, x: int, heads: int, wide: int) -> int:
        """A block that normalises what it adds up."""
        x = self.normalised(self.pair(ops.Add, x, self.attended(x, heads)))
        y = self.fully_connected(self.gelu(self.fully_connected(x, wide)), self.channels(x))
        return self.normalised(self.pair(ops.Add, x, y))

    def integers(self, x: int) -> list[Int64Array]:
        """What it is of each sample, in steps of its scale. Sums are of these: floats' would hang on their order."""
        tensor = self.tensors[x]
        samples: list[Array] = [tensor.values] * len(self.values[self.input]) if tensor.is_constant else self.values[x]
        return [value.astype(np.int64) - tensor.zero_point for value in samples]

    def reals(self, x: int) -> list[Reals]:
        return [value * np.float64(self.tensors[x].scale) for value in self.integers(x)]

    def _calibrated(self, kind: str, shape: tuple[int, ...], reals: list[Reals]) -> Tensor:
        low, high = (float(end) for end in (np.min(reals), np.max(reals)))
        return int8_tensor(self._name(kind), shape, *quantization(low, high))


def kwt() -> Graph:
    """Keyword spotting by attention, in the manner of the Keyword Transformer: 49 frames of 40 values, each projected
    to 64; two blocks of two heads with 128 units inside; a mean over time."""
    b = Attention("kwt", (1, 49, 40), seed=14)
    places = b.rng.integers(-64, 65, (1, 49, 64)) / 64
    x = b.pair(ops.Add, b.fully_connected(b.input, 64), b.constant(places, "places"))
    for _ in range(2):
        x = b.encoded(x, heads=2, wide=128)
    return b.finish(b.classify(b.average(x, 1, keep=False), 12))


NETWORKS: dict[str, Callable[[], Graph]] = {"kwt": kwt}
