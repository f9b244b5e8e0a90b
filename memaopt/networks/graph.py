"""The network as data: tensors, operators in execution order, inputs and outputs."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic_core import CoreSchema, core_schema

from memaopt.errors import InputError

if TYPE_CHECKING:
    from memaopt.networks.operators import Operator


class DType(StrEnum):
    """Element types that files have. Activations are int8; float32 and uint8 are met at the ends only, int32 in biases.
    What no operator takes can still be shown."""

    INT8 = "int8"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    OPAQUE = "opaque"
    """Anything that numpy has no type for: strings, handles, less than a byte."""

    @property
    def numpy(self) -> np.dtype[Any]:
        """The little-endian numpy type; single bytes for what is opaque."""
        return np.dtype("uint8" if self is DType.OPAQUE else self.value).newbyteorder("<")

    @property
    def is_byte(self) -> bool:
        """Whether its values are 8 bits that a table can map: int8, or uint8 taken as the int8 of the same bits."""
        return self in (DType.INT8, DType.UINT8)

    @property
    def itemsize(self) -> int:
        return self.numpy.itemsize


#: The C type of an element.
C_TYPES = {
    DType.INT8: "int8_t",
    DType.UINT8: "uint8_t",
    DType.BOOL: "uint8_t",
    DType.INT16: "int16_t",
    DType.INT32: "int32_t",
    DType.INT64: "int64_t",
    DType.FLOAT32: "float",
}


def _no_scales() -> npt.NDArray[np.float32]:
    return np.zeros(0, np.float32)


def _no_zero_points() -> npt.NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor. real = scale * (quantised - zero_point), with one scale or one for each index of an axis.

    ``scales`` and ``zero_points`` have equal lengths (0 when not quantised); ``data`` is None for activations.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    scales: npt.NDArray[np.float32] = field(default_factory=_no_scales)
    zero_points: npt.NDArray[np.int64] = field(default_factory=_no_zero_points)
    quantized_dimension: int = 0
    data: npt.NDArray[Any] | None = None

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.itemsize

    @property
    def is_per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def scale(self) -> np.float32:
        """The one scale of a per-tensor quantised tensor."""
        if len(self.scales) != 1:
            raise InputError(f"tensor {self.name!r} has {len(self.scales)} scales where one is needed")
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The one zero point of a per-tensor quantised tensor."""
        if len(self.zero_points) != 1:
            raise InputError(f"tensor {self.name!r} has {len(self.zero_points)} zero points where one is needed")
        return int(self.zero_points[0])

    @property
    def values(self) -> npt.NDArray[Any]:
        """The data of a constant."""
        if self.data is None:
            raise InputError(f"tensor {self.name!r} is not a constant")
        return self.data

    def same_quantization(self, other: Tensor) -> bool:
        """Equal type, scales and zero points: the same bytes mean the same reals."""
        return (
            self.dtype == other.dtype
            and np.array_equal(self.scales, other.scales)
            and np.array_equal(self.zero_points, other.zero_points)
        )

    def describe(self) -> str:
        """``int8[1,49,10,1]``."""
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def int8_tensor(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
    """An int8 activation with one scale."""
    return Tensor(name, shape, DType.INT8, np.array([scale], np.float32), np.array([zero_point], np.int64))


@dataclass(frozen=True, eq=False)
class State:
    """What a network keeps from one run to the next: the input that is ``read``, the output ``written`` for the next
    run, of one shape and type, and what the first run reads. Both are the same bytes, outside the arena.

    There may be more than one of it, ``copies``, which runs take in turn: what is read was written so many runs ago.
    """

    read: int
    written: int
    initial: npt.NDArray[Any]
    copies: int = 1


@dataclass(frozen=True, eq=False)
class Graph:
    """A network. Operators are in execution order; every tensor is a constant, an input, or written once.

    The tensors of ``states`` are inputs and outputs like others: a run is a function of what was kept. ``by_rows``:
    the input, an image, comes a row at a time, and nobody has to keep it whole.
    """

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    states: tuple[State, ...] = ()
    by_rows: bool = False

    def __post_init__(self) -> None:
        _validate(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """An argument that should be a graph is one, or an error; operators are not looked into again."""
        return core_schema.is_instance_schema(cls)

    @functools.cached_property
    def producers(self) -> dict[int, int]:
        """For each tensor that an operator writes, that operator's position."""
        return {tensor: i for i, op in enumerate(self.operators) for tensor in op.outputs}

    @functools.cached_property
    def consumers(self) -> dict[int, tuple[int, ...]]:
        """For each tensor that operators read, their positions in ascending order."""
        readers: dict[int, list[int]] = {}
        for i, op in enumerate(self.operators):
            for tensor in dict.fromkeys(op.inputs):
                readers.setdefault(tensor, []).append(i)
        return {tensor: tuple(positions) for tensor, positions in readers.items()}

    @functools.cached_property
    def activations(self) -> tuple[int, ...]:
        """The tensors that live in the arena: the inputs, and what operators write; ascending."""
        return tuple(sorted({*self.inputs, *self.producers}))

    @functools.cached_property
    def constants(self) -> tuple[int, ...]:
        """The constants that some operator reads; ascending."""
        return tuple(sorted(t for t in self.consumers if self.tensors[t].is_constant))

    @functools.cached_property
    def outside(self) -> dict[int, int]:
        """The tensors that lie outside the arena, with the number of the state whose bytes they are: what is read or
        written of states, and the aliases of it."""
        found = {tensor: i for i, state in enumerate(self.states) for tensor in (state.read, state.written)}
        for op in self.operators:
            if op.alias and op.input in found:
                found[op.output] = found[op.input]
        return found

    @property
    def nowhere(self) -> tuple[int, ...]:
        """The input that no memory of the library's holds whole."""
        return self.inputs if self.by_rows else ()

    @functools.cached_property
    def given(self) -> tuple[int, ...]:
        """The inputs that a caller gives: all but states."""
        return tuple(t for t in self.inputs if t not in self.outside)

    @functools.cached_property
    def wanted(self) -> tuple[int, ...]:
        """The outputs that a caller gets: all but states."""
        return tuple(t for t in self.outputs if t not in self.outside)

    @functools.cached_property
    def after(self) -> dict[int, tuple[int, ...]]:
        """For each operator that writes a state, those that read what was kept: they run before it."""
        readers: dict[int, list[int]] = {}
        later = {state.written for state in self.states}
        for i, op in enumerate(self.operators):
            if op.alias and op.input in later:
                later.add(op.output)
            for state in {self.outside[t] for t in op.inputs if t in self.outside and t not in later}:
                readers.setdefault(state, []).append(i)
        writers = {self.producers[state.written]: i for i, state in enumerate(self.states)}
        return {writer: tuple(i for i in readers.get(state, ()) if i != writer) for writer, state in writers.items()}

    def tensor_of(self, op: Operator, position: int = 0) -> Tensor:
        """The tensor of an operator's input."""
        return self.tensors[op.inputs[position]]

    def output_of(self, op: Operator) -> Tensor:
        """The tensor of an operator's output."""
        return self.tensors[op.output]

    def place(self, op: Operator) -> str:
        """``operator 3 (CONV_2D)``: how messages name an operator of the file."""
        return f"operator {op.location} ({op.kind})"

    def replace(
        self,
        *,
        tensors: Sequence[Tensor] | None = None,
        operators: Sequence[Operator] | None = None,
        outputs: Sequence[int] | None = None,
        by_rows: bool | None = None,
    ) -> Graph:
        """A copy with other parts, validated again."""
        return dataclasses.replace(
            self,
            tensors=self.tensors if tensors is None else tuple(tensors),
            operators=self.operators if operators is None else tuple(operators),
            outputs=self.outputs if outputs is None else tuple(outputs),
            by_rows=self.by_rows if by_rows is None else by_rows,
        )


def _validate(graph: Graph) -> None:
    """Raise InputError unless indices are in range and the order of operators is an execution order."""
    count = len(graph.tensors)
    for name, indices in (("input", graph.inputs), ("output", graph.outputs)):
        if not indices:
            raise InputError(f"network {graph.name!r} has no {name}")
        if len(set(indices)) != len(indices):
            raise InputError(f"network {graph.name!r} lists the same {name} twice")
        for index in indices:
            if not 0 <= index < count:
                raise InputError(f"network {graph.name!r} has {name} {index}, but only {count} tensors")
    for index in graph.inputs:
        if graph.tensors[index].is_constant:
            raise InputError(f"input {graph.tensors[index].name!r} of network {graph.name!r} is a constant")

    written = set(graph.inputs)
    for op in graph.operators:
        where = graph.place(op)
        for index in (*op.inputs, *op.outputs):
            if not 0 <= index < count:
                raise InputError(f"{where} uses tensor {index}, but there are only {count}")
        low, high = op.arity
        if not low <= len(op.inputs) <= high:
            expected = str(low) if low == high else f"{low} to {high}"
            raise InputError(f"{where} has {len(op.inputs)} inputs; it takes {expected}")
        if len(op.outputs) != 1:
            raise InputError(f"{where} has {len(op.outputs)} outputs; it has one")
        for index in op.inputs:
            if index not in written and not graph.tensors[index].is_constant:
                raise InputError(f"{where} reads tensor {graph.tensors[index].name!r} before anything writes it")
        for index in op.outputs:
            if index in written:
                raise InputError(f"{where} writes tensor {graph.tensors[index].name!r}, which is written already")
            if graph.tensors[index].is_constant:
                raise InputError(f"{where} writes tensor {graph.tensors[index].name!r}, which is a constant")
            written.add(index)
    for index in graph.outputs:
        if index not in written:
            raise InputError(f"output {graph.tensors[index].name!r} of network {graph.name!r} is never written")
    _validate_states(graph)


def _validate_states(graph: Graph) -> None:
    """Raise InputError unless each state is an input and an output of its own, and is written when it has been read."""
    ends = [end for state in graph.states for end in (state.read, state.written)]
    if len(set(ends)) != len(ends):
        raise InputError(f"network {graph.name!r} has two states in one tensor")
    for state in graph.states:
        if state.read not in graph.inputs or state.written not in graph.outputs or state.written not in graph.producers:
            raise InputError(f"a state of network {graph.name!r} is not an input, and an output that is computed")
        read, written = graph.tensors[state.read], graph.tensors[state.written]
        if not read.shape == written.shape == state.initial.shape or read.dtype != written.dtype:
            raise InputError(f"state {read.name!r} of network {graph.name!r} changes its shape or type")
        writer = graph.operators[graph.producers[state.written]]
        if writer.alias and writer.input != state.read:
            raise InputError(f"state {read.name!r} of network {graph.name!r} is not written by an operator of its own")
    for position, readers in graph.after.items():
        if any(reader > position for reader in readers):
            where = graph.place(graph.operators[position])
            raise InputError(f"{where} writes a state of network {graph.name!r} that is read after it")
