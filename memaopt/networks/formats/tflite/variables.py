"""Resource variables of a file as states of a network: what a run reads first is an input, what it leaves an output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks.graph import State, Tensor
from memaopt.networks.operators import Operator, Reshape, StridedSlice
from memaopt.networks.operators.source import Source
from memaopt.networks.states import copied, with_writers

Array = npt.NDArray[Any]


def name_of(source: Source) -> str:
    """The variable that a VAR_HANDLE names."""
    options = source.options()
    return f"{options.get('container', '')}/{options.get('sharedName', '')}"


class Variables:
    """The variables of a file as its operators come to them, in their order.

    ``handles`` has the variable of each tensor that names one; ``first`` the tensor that was read before anything was
    assigned; ``now`` the tensor whose values a variable has; ``initial`` what it holds before the first run.
    """

    def __init__(self) -> None:
        self.handles: dict[int, str] = {}
        self.initial: dict[str, Array] = {}
        self._first: dict[str, int] = {}
        self._now: dict[str, int] = {}
        self._places: dict[str, Source] = {}

    def apply(self, source: Source) -> list[Operator]:
        """What an operator on variables takes in a network: a second tensor of the same bytes, or nothing."""
        if source.kind == "VAR_HANDLE":
            source.expect(0, 0)
            self.handles[source.outputs[0]] = name_of(source)
            return []
        name = self.handles.get(source.inputs[0]) if source.inputs else None
        if name is None:
            raise source.refuse("its variable is not one that VAR_HANDLE names before it")
        if source.kind == "READ_VARIABLE":
            source.expect(1, 1)
            return self._read(source, name)
        if len(source.inputs) != 2 or source.inputs[1] < 0:
            raise source.refuse(f"{len(source.inputs)} inputs; a variable and a value are supported")
        self._now[name] = source.inputs[1]
        self._places[name] = source
        return []

    def _read(self, source: Source, name: str) -> list[Operator]:
        read = source.outputs[0]
        if name in self._now:
            return [Reshape(inputs=(self._now[name],), outputs=(read,), location=source.location)]
        value = self.initial.get(name)
        if value is None:
            raise source.refuse(f"variable {name!r} holds nothing at first; CALL_ONCE assigns what it holds")
        tensor = source.tensors[read]
        if value.shape != tensor.shape or value.dtype != np.dtype(tensor.dtype.value):
            held = f"{value.dtype}{list(value.shape)}"
            raise source.refuse(f"variable {name!r} holds {held} at first, and is read as {tensor.describe()}")
        self._first[name] = self._now[name] = read
        return []

    def states(
        self, operators: list[Operator], tensors: list[Tensor], outputs: tuple[int, ...]
    ) -> tuple[list[Operator], tuple[State, ...]]:
        """The states, with the operators that write them: a slice that nothing else reads, or a copy at the end.

        A variable that a run leaves as it is is a constant.
        """
        states, used = [], [t for op in operators for t in op.inputs]
        slices = {op.output: op for op in operators if isinstance(op, StridedSlice)}
        made, writers = list(operators), dict[int, Operator]()
        taken = set[int]()
        for name, read in self._first.items():
            value = self._now[name]
            if value == read:
                tensors[read] = dataclasses.replace(tensors[read], data=self.initial[name])
                continue
            tensor = tensors[value]
            if tensor.shape != tensors[read].shape or tensor.dtype != tensors[read].dtype:
                source = self._places[name]
                raise source.refuse(f"it assigns {tensor.describe()} to what is {tensors[read].describe()}")
            if value in slices and value not in used and value not in outputs and value not in taken:
                made.remove(slices[value])
                writers[read] = slices[value]
            else:
                next_name = f"{tensors[read].name}/next"
                writers[read] = copied(tensors, value, next_name, self._places[name].location)
            taken.add(value)
            states.append(State(read, writers[read].output, self.initial[name]))
        return with_writers(tensors, made, writers), tuple(states)


def assigned(sources: list[Source]) -> Mapping[str, Array]:
    """What a subgraph that runs once assigns; UnsupportedModelError if it is not constants."""
    handles: dict[int, str] = {}
    found: dict[str, Array] = {}
    for source in sources:
        if source.kind == "VAR_HANDLE":
            handles[source.outputs[0]] = name_of(source)
        elif source.kind == "ASSIGN_VARIABLE" and len(source.inputs) == 2 and source.inputs[0] in handles:
            value = source.tensor(1)
            if value.data is None:
                raise source.refuse(f"it assigns {value.name!r}, which is computed; a constant is supported")
            found[handles[source.inputs[0]]] = value.data
        else:
            raise source.refuse("it runs once, at first; VAR_HANDLE and ASSIGN_VARIABLE of constants are supported")
    return found
