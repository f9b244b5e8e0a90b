"""The network as it is built: tensors, operators, and how tensors lie.

Images are held as TFLite has them, channels last. Which axis lies where is kept with each value, so a transpose moves
nothing until something needs the elements in an order; then a TRANSPOSE is made, once for each tensor and order.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Held, Integers, Reals, Shape, Target, reals_of
from memaopt.networks.graph import DType, Tensor, int8_tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.quantization import Meaning

Axes = tuple[int, ...]


def natural(rank: int) -> Axes:
    """Axes as ONNX has them."""
    return tuple(range(rank))


def channels_last(rank: int) -> Axes:
    """NCHW as NHWC, and alike of another rank."""
    return (0, *range(2, rank), 1)


class Building:
    """``location`` is that of the node whose operators are added; ``notes`` says where it computes otherwise than
    ONNX does, node by node."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.location = 0
        self.notes: dict[int, str] = {}
        self._turned: dict[tuple[int, Axes, Shape], Held] = {}
        self._tables: dict[int, tuple[Held, Array]] = {}

    def at(self, node: OnnxNode) -> None:
        """What is added from here on is the node's."""
        self.location = node.location

    def note(self, node: OnnxNode, text: str) -> None:
        known = self.notes.get(node.location, f"{node.place}: ")
        if text not in known:
            self.notes[node.location] = f"{known}{'' if known.endswith(': ') else '; '}{text}"

    def tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, data: Array, dtype: DType, scales: Array, axis: int = 0) -> int:
        """A constant whose zero points are 0."""
        held = np.ascontiguousarray(data, dtype.value)
        held.setflags(write=False)
        given = np.asarray(scales, np.float32).reshape(-1)
        return self.tensor(Tensor(name, held.shape, dtype, given, np.zeros(len(given), np.int64), axis, held))

    def activation(self, shape: Shape, axes: Axes, target: Target, name: str = "") -> Held:
        """A new tensor of int8: ``shape`` and the order in which its axes lie."""
        physical = tuple(shape[axis] for axis in axes)
        index = len(self.tensors)
        self.tensor(int8_tensor(name or f"tensor_{index}", physical, *target.meaning))
        return Held(index, shape, shape, axes, target.unsigned)

    def like(self, x: Held, shape: Shape, axes: Axes) -> Held:
        """A new tensor that means what another does."""
        physical = tuple(shape[axis] for axis in axes)
        index = len(self.tensors)
        self.tensor(dataclasses.replace(self.tensors[x.tensor], name=f"tensor_{index}", shape=physical, data=None))
        return Held(index, shape, shape, axes, x.unsigned)

    def add(self, op: type[Operator], inputs: tuple[int, ...], output: Held | int, **attributes: Any) -> None:
        out = output.tensor if isinstance(output, Held) else output
        made: Any = op
        self.operators.append(made(inputs=inputs, outputs=(out,), location=self.location, **attributes))

    def target(self, x: Held) -> Target:
        return Target(Meaning.of(self.tensors[x.tensor]), x.unsigned)

    def reshaped(self, x: Held, shape: Shape) -> Held:
        """The elements in ONNX's order under another shape; nothing moves yet."""
        if not x.is_reshaped and _is_ordered(x.shape, x.axes):
            return self._alias(x, shape, natural(len(shape)))
        kept = [size for size in shape if size > 1]
        if not x.is_reshaped and kept == [size for size in x.shape if size > 1]:
            # Axes of one element come and go.
            new = [axis for axis, size in enumerate(shape) if size > 1]
            of = dict(zip([axis for axis, size in enumerate(x.shape) if size > 1], new, strict=True))
            axes = [axis for axis, size in enumerate(shape) if size == 1]
            axes += [of[axis] for axis in x.axes if axis in of]
            return self._alias(x, shape, tuple(axes))
        return dataclasses.replace(x, shape=shape)

    def transposed(self, x: Held, permutation: Axes) -> Held:
        """Axis i is what axis permutation[i] was; nothing moves."""
        x = self.settled(x) if x.is_reshaped else x
        inverse = {axis: i for i, axis in enumerate(permutation)}
        shape = tuple(x.shape[axis] for axis in permutation)
        return dataclasses.replace(x, shape=shape, before=shape, axes=tuple(inverse[axis] for axis in x.axes))

    def settled(self, x: Held) -> Held:
        """The tensor with its elements in ONNX's order."""
        if x.is_reshaped:
            inner = self.laid(dataclasses.replace(x, shape=x.before), natural(len(x.before)))
            return self._alias(inner, x.shape, natural(len(x.shape)))
        return self.laid(x, natural(len(x.shape)))

    def laid(self, x: Held, axes: Axes) -> Held:
        """The tensor with its axes in that order."""
        if x.is_reshaped:
            x = self.settled(x)
        if x.axes == axes:
            return x
        if _is_ordered(x.shape, x.axes, axes):
            return self._alias(x, x.shape, axes)
        key = (x.tensor, axes, x.shape)
        if key not in self._turned:
            made = self.like(x, x.shape, axes)
            self.add(ops.Transpose, (x.tensor,), made, permutation=tuple(x.axes.index(axis) for axis in axes))
            self._turned[key] = made
        return dataclasses.replace(self._turned[key], unsigned=x.unsigned)

    def _alias(self, x: Held, shape: Shape, axes: Axes) -> Held:
        physical = tuple(shape[axis] for axis in axes)
        if physical == x.physical:
            return dataclasses.replace(x, shape=shape, before=shape, axes=axes)
        made = self.like(x, shape, axes)
        self.add(ops.Reshape, (x.tensor,), made)
        return made

    def quantised(self, reals: Reals, target: Target) -> Held:
        """QuantizeLinear of floats that a byte decides: a table, or nothing."""
        if reals.linear is not None and reals.linear.unsigned == target.unsigned and reals.meaning == target.meaning:
            return reals.linear
        table = target.steps(reals.values)
        x = reals.x
        made = self.activation(x.before, x.axes, target)
        self.add(ops.Lookup, (x.tensor,), made, values=tuple(table.tolist()), of="QuantizeLinear")
        self._tables[made.tensor] = (x, table)
        return dataclasses.replace(made, shape=x.shape)

    def dequantised(self, x: Held, meaning: Meaning) -> Reals:
        """DequantizeLinear of bytes: the difference times the scale, in float32. What a table made of another tensor is
        decided by that one."""
        values = reals_of(meaning)
        if x.tensor in self._tables:
            base, table = self._tables[x.tensor]
            if dataclasses.replace(x, tensor=base.tensor, unsigned=base.unsigned) == base:
                return Reals(base, values[table + 128], x, meaning)
        return Reals(x, values, x, meaning)

    def linear(self, reals: Reals) -> Held:
        """The tensor of dequantised bytes, whose scale is that of the DequantizeLinear."""
        assert reals.linear is not None
        assert reals.meaning is not None
        x = reals.linear
        tensor = self.tensors[x.tensor]
        if len(tensor.scales) == 1 and Meaning.of(tensor) == reals.meaning:
            return x
        made = self.activation(x.before, x.axes, Target(reals.meaning, x.unsigned))
        self.add(ops.Reshape, (x.tensor,), made)
        return dataclasses.replace(made, shape=x.shape)


def scalar(value: object) -> np.float32 | None:
    """The one element of a constant, as a float."""
    array = value.reals if isinstance(value, Integers) else getattr(value, "array", None)
    if array is None or math.prod(array.shape) != 1 or array.dtype.kind != "f":
        return None
    return np.float32(array.reshape(-1)[0])


def _is_ordered(shape: Shape, axes: Axes, wanted: Axes | None = None) -> bool:
    """Whether axes of more than one element lie in the wanted order, or in their own."""
    order = natural(len(shape)) if wanted is None else wanted
    return [a for a in axes if shape[a] > 1] == [a for a in order if shape[a] > 1]
