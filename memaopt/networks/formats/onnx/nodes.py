"""A node of an ONNX graph, and its attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memaopt.errors import UnsupportedModelError
from memaopt.networks import limits
from memaopt.networks.formats.onnx.values import Constant, Held, Integers, Pending, Reals, Value

#: The commands that make int8 of a float ONNX model.
QUANTISE = (
    "python -m onnxruntime.quantization.preprocess --input model.onnx --output ready.onnx, then "
    "onnxruntime.quantization.quantize_static, with samples of what the network is given"
)


@dataclass(frozen=True)
class OnnxNode:
    """One node: its place in the graph, the values of its inputs (None for what is left out), and its attributes;
    the version of ONNX's operators that the file is of."""

    kind: str
    location: int
    total: int
    name: str
    given: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]
    opset: int

    @property
    def place(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"node {self.location} of {self.total} ({self.kind}{named})"

    def refuse(self, problem: str, subject: str = "") -> UnsupportedModelError:
        return UnsupportedModelError(f"{self.place}: {problem}", subject)

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def only(self, **expected: Any) -> None:
        """UnsupportedModelError unless the attributes are these, where they are given."""
        for name, value in expected.items():
            if self.get(name, value) != value:
                raise self.refuse(f"{name} = {self.get(name)}; {value} is supported")

    def bounded(self, shape: Sequence[int]) -> None:
        """UnsupportedModelError for more elements than a tensor may have, before any are made."""
        if math.prod(shape) > limits.MAX_TENSOR_BYTES:
            raise self.refuse(f"{list(shape)} elements; {limits.MAX_TENSOR_BYTES:,} are supported")

    def has(self, position: int) -> bool:
        return len(self.given) > position and self.given[position] is not None

    def value(self, position: int) -> Value:
        """An input that is needed."""
        found = self.given[position] if len(self.given) > position else None
        if found is None:
            raise self.refuse(f"input {position} is missing")
        return found

    def constant(self, position: int, role: str) -> Any:
        """The elements of an input that is known."""
        found = self.value(position)
        if not isinstance(found, Constant):
            raise self.refuse(f"{role} is computed; a constant is supported")
        return found.array

    def integers(self, position: int, role: str) -> tuple[int, ...]:
        array = self.constant(position, role)
        if array.dtype.kind not in "iu" or array.size > 64:
            raise self.refuse(f"{role} is {array.dtype}[{array.size}]; a few integers are supported")
        return tuple(int(v) for v in array.reshape(-1))

    def listed(self, name: str, position: int) -> tuple[int, ...] | None:
        """Integers of an attribute, or of an input in later versions; None where there are none."""
        if self.has(position):
            return self.integers(position, name)
        found = self.get(name)
        return None if found is None else tuple(found)

    def linear(self, position: int) -> Reals:
        """An input that is dequantised bytes."""
        found = self.value(position)
        if isinstance(found, Reals) and found.linear is not None:
            return found
        if isinstance(found, Pending | Reals):
            raise self.refuse("its input is not quantised before it (QuantizeLinear, DequantizeLinear)")
        if isinstance(found, Held):
            raise self.float_input()
        raise self.refuse(f"input {position} is a constant; an activation is supported there")

    def float_input(self) -> UnsupportedModelError:
        return self.refuse("its input is float", f"float32 in {self.kind}")

    def weights(self, position: int) -> Integers:
        """An input that is dequantised constants."""
        found = self.value(position)
        if isinstance(found, Integers):
            return found
        raise self.refuse("its weights are not constants behind a DequantizeLinear", f"float32 weights of {self.kind}")


def axis_of(node: OnnxNode, axis: int, rank: int) -> int:
    """An axis counted from the start."""
    if not -rank <= axis < rank:
        raise node.refuse(f"axis {axis} of {rank} dimensions")
    return axis % rank


def axes_of(node: OnnxNode, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(axis_of(node, axis, rank) for axis in axes)
