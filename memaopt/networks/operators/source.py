"""An operator as a file has it: what :meth:`Operator.read` makes an operator of.

Shapes, types and quantisation are checked afterwards, on the graph; here only what is needed to read safely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from memaopt.errors import UnsupportedModelError
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.form import ACTIVATION

_MAX_INTEGERS = 64

Values = Mapping[str, Any]
"""Options by their fields' names."""


@dataclass(frozen=True)
class Source:
    """One operator of a file. ``values`` reads its options: None if the file has none, an error if it has others."""

    kind: str
    location: int
    place: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: list[Tensor]
    intermediates: tuple[int, ...]
    values: Callable[[], Values | None]
    custom: bytes = b""
    """What the file has of an operator that is none of TFLite's own."""

    def refuse(self, problem: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"{self.place}: {problem}")

    def expect(self, least: int, most: int) -> None:
        """Raise unless there are that many inputs, and one output."""
        if not least <= len(self.inputs) <= most or len(self.outputs) != 1:
            count = str(least) if least == most else f"{least} to {most}"
            raise self.refuse(
                f"{len(self.inputs)} inputs and {len(self.outputs)} outputs; {count} and one are supported"
            )

    def expect_outputs(self, inputs: int) -> None:
        """Raise unless there are that many inputs, and outputs."""
        if len(self.inputs) != inputs or not self.outputs:
            raise self.refuse(
                f"{len(self.inputs)} inputs and {len(self.outputs)} outputs; {inputs} inputs are supported"
            )

    def tensor(self, position: int) -> Tensor:
        """The tensor of a required input."""
        index = self.inputs[position]
        if index < 0:
            raise self.refuse(f"input {position} is missing")
        return self.tensors[index]

    def output(self) -> Tensor:
        return self.tensors[self.outputs[0]]

    def options(self) -> Values:
        """The options, empty if the file has none."""
        return self.values() or {}

    def required(self, name: str) -> Values:
        """Options that have no usable defaults."""
        values = self.values()
        if values is None:
            raise self.refuse(f"its {name} are missing")
        return values

    def integers(self, position: int, role: str) -> tuple[int, ...]:
        """The elements of a small constant integer tensor."""
        tensor = self.tensor(position)
        if tensor.data is None or tensor.dtype not in (DType.INT32, DType.INT64):
            raise self.refuse(f"{role} {tensor.name!r} is computed or not an integer; a constant is supported")
        if tensor.elements > _MAX_INTEGERS:
            raise self.refuse(f"{role} has {tensor.elements} elements; up to {_MAX_INTEGERS} are supported")
        return tuple(int(i) for i in tensor.data.reshape(-1))

    def integer(self, position: int, role: str) -> int:
        """The one element of a constant integer tensor."""
        found = self.integers(position, role)
        if len(found) != 1:
            raise self.refuse(f"{role} has {len(found)} elements; one is supported")
        return found[0]

    def activation(self, options: Values) -> Activation:
        """The fused activation, none if the file has no options."""
        value = options.get(ACTIVATION.name, Activation.NONE.name)
        name = value if isinstance(value, str) else f"number {value}"
        try:
            return Activation(name.lower())
        except ValueError:
            allowed = ", ".join(a.name for a in Activation)
            raise self.refuse(f"fused activation {name}; {allowed} are supported") from None

    def common(self, inputs: tuple[int, ...] | None = None) -> dict[str, Any]:
        """The attributes that every operator has; only the first input is data unless said otherwise."""
        used = self.inputs[:1] if inputs is None else inputs
        for position, index in enumerate(used):
            if index < 0:
                raise self.refuse(f"input {position} is missing")
        return {"inputs": used, "outputs": self.outputs, "location": self.location}
