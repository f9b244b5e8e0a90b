"""What a name of an ONNX graph stands for while the graph is read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks.operators.attributes import Bounds
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.quantization import INT8_MAX, INT8_MIN, Meaning

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Shape = tuple[int, ...]


def reals_of(meaning: Meaning) -> Floats:
    """The floats of all int8, from -128 up: DequantizeLinear's, the difference times the scale in float32."""
    return (EVERY_INT8.astype(np.int64) - meaning.zero_point).astype(np.float32) * np.float32(meaning.scale)


@dataclass(frozen=True)
class Held:
    """A tensor of the network. The elements of ``shape``, as ONNX has it, lie otherwise: those of ``before`` lie with
    their axes in the order ``axes``, and ``shape`` is ``before`` reshaped.

    ``unsigned``: ONNX's bytes are uint8, those of the tensor 128 less.
    """

    tensor: int
    shape: Shape
    before: Shape
    axes: tuple[int, ...]
    unsigned: bool = False

    @property
    def is_reshaped(self) -> bool:
        return self.shape != self.before

    @property
    def physical(self) -> Shape:
        """The tensor's shape."""
        return tuple(self.before[axis] for axis in self.axes)


@dataclass(frozen=True)
class Constant:
    """Elements that are known."""

    array: Array


@dataclass(frozen=True)
class Integers:
    """Dequantised integers that are known: scales * (integers - zero points), of one scale, or along an axis."""

    integers: Array
    scales: Floats
    zero_points: Array
    axis: int = 0

    @property
    def centred(self) -> Array:
        """The integers less their zero points."""
        return self.integers.astype(np.int64) - self._along(self.zero_points.astype(np.int64))

    @property
    def reals(self) -> Floats:
        """As DequantizeLinear has them."""
        return self.centred.astype(np.float32) * self._along(self.scales)

    def _along(self, values: Array) -> Array:
        shape = [1] * self.integers.ndim
        if values.size > 1:
            shape[self.axis] = -1
        return values.reshape(shape)


@dataclass(frozen=True)
class Reals:
    """Floats that a byte decides: those of the bytes -128 to 127 of ``x``.

    ``linear``: the tensor whose dequantised elements they are, with what its bytes mean, if they are such.
    """

    x: Held
    values: Floats = dataclasses.field(compare=False)
    linear: Held | None = None
    meaning: Meaning | None = None

    @property
    def shape(self) -> Shape:
        return self.x.shape


@dataclass(frozen=True)
class Target:
    """What a float becomes: its meaning as int8, and whether ONNX has uint8 of it."""

    meaning: Meaning
    unsigned: bool

    def steps(self, reals: npt.ArrayLike) -> Array:
        """QuantizeLinear: x / scale in float32, ties to even, as stored."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.nan_to_num(np.rint(np.asarray(reals, np.float32) / np.float32(self.meaning.scale)), nan=0.0)
        steps: Array = np.clip(scaled.astype(np.float64) + self.meaning.zero_point, INT8_MIN, INT8_MAX)
        return steps.astype(np.int64)


Emit = Callable[[Target, Bounds | None], Held]


@dataclass(frozen=True)
class Pending:
    """Floats that are computed when it is known what they become; clamped to low and high first.

    ``biased`` makes the same with a bias for each of its last axis, where it may have one.
    """

    shape: Shape
    emit: Emit
    low: float = -math.inf
    high: float = math.inf
    biased: Callable[[Integers | Constant], Pending] | None = None

    def finished(self, target: Target) -> Held:
        """The operator that writes it."""
        low, high = (int(target.steps(end)) for end in (self.low, self.high))
        bounds = None if (low, high) == (INT8_MIN, INT8_MAX) else Bounds(low, high)
        return self.emit(target, bounds)

    def clamped(self, low: float, high: float) -> Pending:
        low, high = np.clip([self.low, self.high], low, high).tolist()
        return dataclasses.replace(self, low=low, high=high, biased=None)

    def moved(self, shape: Shape, move: Callable[[Held], Held]) -> Pending:
        return dataclasses.replace(
            self, shape=shape, emit=lambda target, bounds: move(self.emit(target, bounds)), biased=None
        )


Value = Held | Constant | Integers | Reals | Pending
