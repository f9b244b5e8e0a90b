"""A ``.tflite`` file as the tree of objects that flatc generates, which is changed and packed again."""

from __future__ import annotations

import copy
import struct
from types import ModuleType
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError
from memaopt.networks.formats.tflite import flatbuffer
from memaopt.networks.formats.tflite.flow import MADE
from memaopt.networks.formats.tflite.placed import network_of
from memaopt.networks.formats.tflite.record import Record
from memaopt.networks.formats.tflite.schema import IDENTIFIER, MODEL
from memaopt.printable import counted

Array = npt.NDArray[Any]


class Tree:
    """The one subgraph of a model: ``tensors`` and ``operators`` are the tree's own, in its order."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name, self._module = name, _schema()
        flatbuffer.verify(data, MODEL, IDENTIFIER, name)
        try:
            self.model: Any = self._module.ModelT.InitFromObj(self._module.Model.GetRootAs(data, 0))
        except (struct.error, ValueError, IndexError, TypeError, AttributeError, MemoryError) as error:
            raise InputError(f"{name} is not a valid .tflite file: {type(error).__name__}: {error}") from error
        if not self.model.subgraphs:
            raise InputError(f"{name} has no subgraph")
        # What is said of tensors beside them would no longer be true.
        self.model.signatureDefs = self.model.metadata = self.model.metadataBuffer = None
        self.subgraph: Any = self.model.subgraphs[0]
        self._kinds, self._types = (_names(of) for of in (self._module.BuiltinOperator, self._module.TensorType))
        if len(self.model.subgraphs) > 1:
            self._write_out(Record.root(data, MODEL))

    def _write_out(self, model: Record) -> None:
        """Loops and branches become operators of the first subgraph, which is then the only one."""
        subgraphs, given = model.records("subgraphs"), self.model.subgraphs
        network = network_of(subgraphs, 0, model.records("buffers"), lambda record, *_: self.kind(record), self.name)
        unread = len(given) - len(network.sections)
        if unread:
            raise InputError(
                f"{self.name} has {counted(unread, 'subgraph')} that the first one does not run; one can be converted"
            )
        self.subgraph.tensors = [copy.copy(given[s].tensors[t]) for s, t in network.places]
        operators = []
        for step in (placed.step for placed in network.operators):
            if step.section == MADE:
                raise InputError(f"{self.name}: an IF whose condition is computed; of floats there is no rule for it")
            operator = copy.copy(given[step.section].operators[step.position])
            operator.inputs, operator.outputs = list(step.inputs), list(step.outputs)
            operators.append(operator)
        self.subgraph.operators, self.subgraph.outputs = operators, list(network.outputs)
        self.model.subgraphs = [self.subgraph]

    @property
    def tensors(self) -> list[Any]:
        found: list[Any] = self.subgraph.tensors
        return found

    @property
    def operators(self) -> list[Any]:
        found: list[Any] = self.subgraph.operators
        return found

    def kind(self, operator: Any) -> str:
        """Its name in TFLite."""
        number = operator.number("opcode_index") if isinstance(operator, Record) else operator.opcodeIndex
        code = self.model.operatorCodes[number]
        return self._kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")

    def raise_version(self, operator: Any, version: int) -> None:
        """At least this version of the operator, which knows the types."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        code.version = max(code.version, version)

    def dtype(self, index: int) -> str:
        """``FLOAT32``: the type of a tensor; empty for none."""
        return self._types.get(self.tensors[index].type, "") if index >= 0 else ""

    def is_constant(self, index: int) -> bool:
        data = self.model.buffers[self.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def values(self, index: int) -> Array:
        """A constant's elements, in its own type."""
        tensor, dtype = self.tensors[index], np.dtype(self.dtype(index).lower()).newbyteorder("<")
        raw = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8).tobytes()
        try:
            return np.frombuffer(raw, dtype).reshape(() if tensor.shape is None else tuple(tensor.shape))
        except ValueError:
            raise InputError(f"{self.name} is not a valid .tflite file: tensor {index} has {len(raw)} bytes") from None

    def added(self, name: bytes, shape: Any, dtype: str, data: Array | None = None) -> int:
        """A new tensor, constant if it has data."""
        tensor = self._module.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, getattr(self._module.TensorType, dtype)
        self.tensors.append(tensor)
        tensor.buffer = 0
        if data is not None:
            self.put(len(self.tensors) - 1, dtype, data)
        return len(self.tensors) - 1

    def put(self, index: int, dtype: str, data: Array) -> None:
        """Makes a tensor a constant; its buffer, which others may share, stays as it is."""
        buffer = self._module.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.tensors[index].buffer = len(self.model.buffers) - 1
        self.tensors[index].type = getattr(self._module.TensorType, dtype)

    def quantise(self, index: int, dtype: str, scales: Array, zero_points: Array, axis: int = 0) -> None:
        """The type of a tensor, and what its integers mean."""
        given = self._module.QuantizationParametersT()
        given.scale, given.zeroPoint = scales.astype(np.float32), zero_points.astype(np.int64)
        given.quantizedDimension = axis
        self.tensors[index].quantization = given
        self.tensors[index].type = getattr(self._module.TensorType, dtype)

    def inserted(self, at: int, kind: str, version: int, inputs: list[int], outputs: list[int]) -> None:
        """A new operator without options before the one at a position."""
        code = self._module.OperatorCodeT()
        code.builtinCode = getattr(self._module.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        self.model.operatorCodes.append(code)
        operator = self._module.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        self.operators.insert(at, operator)

    def used(self) -> set[int]:
        """The tensors that the network has to do with."""
        ends = {*map(int, self.subgraph.inputs), *map(int, self.subgraph.outputs)}
        return ends | {int(i) for op in self.operators for i in (*op.inputs, *op.outputs) if i >= 0}

    def packed(self) -> bytes:
        """The bytes of the file, without the data of what is not used."""
        used = self.used()
        kept = {tensor.buffer for index, tensor in enumerate(self.tensors) if index in used}
        for number, buffer in enumerate(self.model.buffers):
            if number not in kept:
                buffer.data = None
        for index, tensor in enumerate(self.tensors):
            if index not in used:
                tensor.buffer = 0
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


def _schema() -> ModuleType:
    """The objects that flatc generated; MissingToolError without the interpreter, whose package has them."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingToolError("converting needs ai-edge-litert: pip install 'memaopt[tflite]'") from error
    module: ModuleType = schema_py_generated
    return module


def _names(enumeration: type) -> dict[int, str]:
    """The names of an enumeration of the schema, by value."""
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
