"""Reads the bytes of a ``.tflite`` file into a :class:`~memaopt.networks.graph.Graph`.

Three gates: the bytes are verified structurally (flatbuffer.py), the tables become tensors and operators (which read
themselves from a Source), and the graph is checked for what memaopt supports (checks.py). A file that is not valid
ends at the first fault; what is not supported is collected, all of it. Time and memory are bounded by the limits in
limits.py.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MemaoptError, UnsupportedModelError
from memaopt.networks import checks, limits
from memaopt.networks.formats.tflite import flatbuffer, unsigned
from memaopt.networks.formats.tflite.schema import IDENTIFIER, MODEL, VERSION, names, schema
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.folded import held
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.registry import FOLDED, OPERATORS, PARTED, READ
from memaopt.networks.operators.source import Source, Values
from memaopt.networks.reading import Reading, Unread
from memaopt.networks.refusals import Refusal, collected
from memaopt.printable import printable

_DTYPES = {dtype.name: dtype for dtype in DType}
_ETHOS_U = "ethos-u"
_UNUSED = Tensor("(unused)", (1,), DType.INT8)


def parse(data: bytes, name: str = "network") -> Graph:
    """The network in the bytes of a ``.tflite`` file; ``name`` is for messages and becomes the graph's name.

    Raises InputError if the bytes are not a valid file, UnsupportedModelError for all that memaopt does not support.
    """
    return examine(data, name).whole()


def examine(data: bytes, name: str = "network") -> Reading:
    """What the bytes of a ``.tflite`` file hold, supported or not; InputError if they are not a valid file."""
    if len(data) > limits.MAX_FILE_BYTES:
        raise InputError(f"{name} has {len(data):,} bytes; at most {limits.MAX_FILE_BYTES:,} are supported")
    module = schema()
    flatbuffer.verify(data, MODEL, IDENTIFIER, name)
    try:
        return _Reader(module, data, name).reading()
    except MemaoptError:
        raise
    except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        # The verifier should make this impossible; a file that slips through still gets one clear line.
        raise InputError(f"{name} is not a valid .tflite file: {type(error).__name__}: {error}") from error


class _Reader:
    """The accessors' view of one file."""

    def __init__(self, module: ModuleType, data: bytes, name: str) -> None:
        self.module = module
        self.name = name
        self.model: Any = module.Model.GetRootAs(data, 0)
        self.constant_bytes = 0
        self.tensor_refusals: dict[int, list[Refusal]] = {}
        self.open: set[int] = set()
        """Tensors whose first size the file leaves open: it is 1, or what their operator makes of that."""

    def reading(self) -> Reading:
        """The main subgraph's operators as far as they can be read, checked."""
        if self.model.Version() != VERSION:
            raise UnsupportedModelError(
                f"{self.name} has schema version {self.model.Version()}; {VERSION} is supported"
            )
        subgraphs = self.model.SubgraphsLength()
        several = f"{self.name} has {subgraphs} subgraphs; one (no control flow) is supported"
        if not subgraphs:
            raise UnsupportedModelError(several)
        refusals = [] if subgraphs == 1 else [Refusal(several)]
        subgraph = self.model.Subgraphs(0)
        inputs, outputs = _indices(subgraph, "Inputs"), _indices(subgraph, "Outputs")
        total = subgraph.OperatorsLength()
        accessors = [subgraph.Operators(i) for i in range(total)]
        kinds = [self._kind(accessor, i, total) for i, accessor in enumerate(accessors)]
        used = {*inputs, *outputs}
        for accessor in accessors:
            used.update(_indices(accessor, "Inputs"), _indices(accessor, "Outputs"))
        count = subgraph.TensorsLength()
        for index in used:
            if not -1 <= index < count:
                raise InputError(f"{self.name} is not a valid .tflite file: tensor {index} of {count} is used")
        tensors = []
        for i in range(count):
            tensors.append(self._tensor(subgraph.Tensors(i), i) if i in used else _UNUSED)
            if self.constant_bytes > limits.MAX_CONSTANT_BYTES:
                raise UnsupportedModelError(
                    f"the constants take more than {limits.MAX_CONSTANT_BYTES:,} bytes, the most that is supported"
                )
        nodes = [
            unsigned.Node(kind, _indices(accessor, "Inputs"), _indices(accessor, "Outputs"))
            for kind, accessor in zip(kinds, accessors, strict=True)
        ]
        flipped = unsigned.flip(tensors, nodes)
        operators: list[Operator] = []
        unread: list[Unread] = []
        for i, (kind, accessor) in enumerate(zip(kinds, accessors, strict=True)):
            before = len(refusals)
            refusals += self._unusable(accessor, i, total, kind)
            with collected(refusals, i):
                if len(refusals) == before:
                    for op in self._operator(accessor, i, total, kind, tensors):
                        old = flipped.intersection((*op.inputs, *op.outputs))
                        place = f"operator {i} of {total} ({kind})"
                        operators += unsigned.computed(op, place, tensors) if old else [op]
            if len(refusals) > before:
                unread.append(Unread(i, kind, _indices(accessor, "Inputs"), _indices(accessor, "Outputs")))
        operators, inputs, outputs = unsigned.with_ends(operators, inputs, outputs, flipped, tensors)
        touched = {t for op in operators for t in (*op.inputs, *op.outputs)}
        touched |= {t for op in unread for t in (*op.inputs, *op.outputs)}
        refusals += [r for t in (*inputs, *outputs) if t not in touched for r in self.tensor_refusals.get(t, ())]
        for end in (tensors[t] for t in outputs if t >= 0 and tensors[t].is_constant):
            refusals.append(Refusal(f"output {end.name!r} is a constant, whatever the inputs are"))
        given, wanted = inputs, outputs
        if refusals:
            wanted = tuple(t for t in outputs if t >= 0 and not tensors[t].is_constant)
            written = {t for op in operators for t in op.outputs}
            needed = {t for op in operators for t in op.inputs} | {*inputs, *outputs}
            given = tuple(sorted(t for t in needed - written if t >= 0 and not tensors[t].is_constant))
            wanted = wanted or given[:1]
        graph = Graph(self.name, tuple(tensors), tuple(operators), given, wanted)
        refusals += checks.refusals(graph, (*inputs, *outputs) if not refusals else ())
        return Reading(graph, inputs, outputs, tuple(unread), tuple(refusals))

    def _unusable(self, accessor: Any, location: int, total: int, kind: str) -> list[Refusal]:
        """What stands in the way of an operator before its attributes are looked at: its kind, or its tensors."""
        if kind == f"CUSTOM {_ETHOS_U}":
            compiled = "was compiled for an Ethos-U by Vela; hand in the file from before that"
            return [Refusal(f"operator {location} of {total} {compiled}", location)]
        if kind not in READ:
            what = f"operator {location} of {total} is {kind}, which is not supported"
            message = f"{what}; supported are {', '.join(sorted(READ))}"
            return [Refusal(message, location, f"operator {kind}")]
        tensors = dict.fromkeys((*_indices(accessor, "Inputs"), *_indices(accessor, "Outputs")))
        return [r._replace(location=location) for t in tensors for r in self.tensor_refusals.get(t, ())]

    def _kind(self, accessor: Any, location: int, total: int) -> str:
        """The operator's TFLite name."""
        index = accessor.OpcodeIndex()
        if index >= self.model.OperatorCodesLength():
            raise InputError(
                f"{self.name} is not a valid .tflite file: operator {location} of {total} has code {index} of "
                f"{self.model.OperatorCodesLength()}"
            )
        code = self.model.OperatorCodes(index)
        value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = names(self.module.BuiltinOperator).get(value, f"code {value}")
        return f"CUSTOM {_text(code.CustomCode())}" if kind == "CUSTOM" else kind

    def _tensor(self, accessor: Any, index: int) -> Tensor:
        """A tensor; one that no operator can use is refused where operators use it, and has neither scales nor data."""
        name = _text(accessor.Name()) or f"tensor {index}"
        kind = names(self.module.TensorType).get(accessor.Type(), f"type {accessor.Type()}")
        halves = kind == "INT4" and self._has_data(accessor)
        dtype = DType.INT8 if halves else _DTYPES.get(kind, DType.OPAQUE)
        shape = tuple(_indices(accessor, "Shape"))
        if shape[:1] == (-1,):  # a batch that is left open
            shape = (1, *shape[1:])
        if shape and -1 in (accessor.Shape(0), *_indices(accessor, "ShapeSignature")[:1]):
            self.open.add(index)
        refused = self.tensor_refusals.setdefault(index, [])
        with collected(refused):
            if dtype is DType.OPAQUE:
                raise UnsupportedModelError(f"tensor {index} ({name!r}) is {kind}, which is not supported")
            if accessor.IsVariable() or accessor.Sparsity() is not None or accessor.ExternalBuffer():
                raise UnsupportedModelError(
                    f"tensor {index} ({name!r}) is variable, sparse or stored outside the file, which is not supported"
                )
            if len(shape) > limits.MAX_RANK or any(size < 0 for size in shape):
                raise UnsupportedModelError(
                    f"tensor {index} ({name!r}) has the shape {list(shape)}; "
                    f"up to {limits.MAX_RANK} dimensions, none negative, are supported"
                )
            scales, zero_points, dimension = self._quantization(accessor, index, name)
            data = self._data(accessor, index, name, shape, dtype, halves)
            return Tensor(name, shape, dtype, scales, zero_points, dimension, data)
        return Tensor(name, shape, dtype)

    def _has_data(self, accessor: Any) -> bool:
        """Whether a tensor is a constant; what is no buffer is told of where its data are read."""
        if accessor.Buffer() >= self.model.BuffersLength():
            return False
        length: int = self.model.Buffers(accessor.Buffer()).DataLength()
        return length > 0

    def _quantization(
        self, accessor: Any, index: int, name: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
        quantization = accessor.Quantization()
        if quantization is None or quantization.ScaleLength() == 0:
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        if quantization.DetailsType() != 0:
            raise UnsupportedModelError(
                f"tensor {index} ({name!r}) has custom quantisation; scales and zero points are supported"
            )
        scales = np.array(quantization.ScaleAsNumpy(), np.float32)
        zero_points = np.zeros(len(scales), np.int64)
        if quantization.ZeroPointLength() in (1, len(scales)):
            zero_points[:] = quantization.ZeroPointAsNumpy()
        elif quantization.ZeroPointLength():
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) has {len(scales)} scales "
                f"and {quantization.ZeroPointLength()} zero points"
            )
        _freeze(scales)
        _freeze(zero_points)
        return scales, zero_points, int(quantization.QuantizedDimension())

    def _data(
        self, accessor: Any, index: int, name: str, shape: tuple[int, ...], dtype: DType, halves: bool
    ) -> npt.NDArray[Any] | None:
        """The constant's elements, or None for an activation (whose buffer is empty); ``halves``: two lie in a byte."""
        if accessor.Buffer() >= self.model.BuffersLength():
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) is in buffer "
                f"{accessor.Buffer()} of {self.model.BuffersLength()}"
            )
        buffer = self.model.Buffers(accessor.Buffer())
        if buffer.Offset() > 1 or buffer.Size() > 1:
            raise UnsupportedModelError(f"tensor {index} ({name!r}) is stored behind the model, which is not supported")
        if buffer.DataLength() == 0:
            return None
        elements = math.prod(shape)
        expected = (elements + 1) // 2 if halves else elements * dtype.itemsize
        if buffer.DataLength() != expected:
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) needs {expected} bytes "
                f"and has {buffer.DataLength()}"
            )
        self.constant_bytes += elements * dtype.itemsize
        if halves:
            packed = np.array(buffer.DataAsNumpy(), np.uint8)
            nibbles = np.stack([packed << 4, packed & 0xF0], axis=-1).reshape(-1)[:elements]
            return _freeze((nibbles.view(np.int8) >> 4).reshape(shape))
        data = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype.numpy).reshape(shape)
        return _freeze(data.astype(dtype.value))

    def _operator(self, accessor: Any, location: int, total: int, kind: str, tensors: list[Tensor]) -> list[Operator]:
        """The operators that compute it; none where what it writes is known, which its tensor then holds."""
        place = f"operator {location} of {total} ({kind})"
        outputs = _indices(accessor, "Outputs")
        if any(index < 0 for index in outputs):
            raise UnsupportedModelError(f"{place}: an output is missing")
        options = READ[kind].options
        source = Source(
            kind=kind,
            location=location,
            place=place,
            inputs=_indices(accessor, "Inputs"),
            outputs=outputs,
            tensors=tensors,
            values=lambda: options and self._values(accessor, place, options),
        )
        if kind in PARTED:
            parts = PARTED[kind].parts(source)
            return [op for op in parts if not self._known(source, op.output, op.of_known(tensors))]
        value = FOLDED[kind].value(source) if kind in FOLDED else OPERATORS[kind].known(source)
        if value is not None and self._known(source, outputs[0], value):
            return []
        op = OPERATORS[kind].read(source)
        self._settle(op, tensors)
        return [op]

    def _settle(self, op: Operator, tensors: list[Tensor]) -> None:
        """The first size of an output that the file leaves open, by the operator's inputs."""
        output = tensors[op.output]
        if op.output not in self.open or not output.shape or output.is_constant:
            return
        if op.alias:
            first = tensors[op.input].elements // max(math.prod(output.shape[1:]), 1)
        else:
            data = tuple(i for i in dict.fromkeys(op.inputs) if not tensors[i].is_constant) or (len(tensors),)
            graph = Graph(self.name, (*tensors, _UNUSED), (op,), data, op.outputs)
            first = (op.output_shape(graph) or (1,))[0]
        tensors[op.output] = dataclasses.replace(output, shape=(first, *output.shape[1:]))

    def _known(self, source: Source, index: int, value: npt.NDArray[Any] | None) -> bool:
        """Whether a value is known; if so the tensor holds it."""
        if value is None:
            return False
        tensor = source.tensors[index]
        if tensor.is_constant or tensor.dtype is DType.OPAQUE:
            raise source.refuse(f"it writes tensor {tensor.name!r}, which is a constant")
        source.tensors[index] = dataclasses.replace(tensor, data=_freeze(held(source, tensor, value)))
        self.constant_bytes += tensor.nbytes
        return True

    def _values(self, accessor: Any, place: str, options: Options) -> Values | None:
        """The values of an operator's options table, or None if the file has none."""
        kind, table = accessor.BuiltinOptionsType(), accessor.BuiltinOptions()
        if kind == 0 or table is None:
            return None
        if kind != options.number:
            found = names(self.module.BuiltinOptions).get(kind, f"type {kind}")
            raise UnsupportedModelError(f"{place}: its options are {found}, not {options.name}")
        values = getattr(self.module, options.name)()
        values.Init(table.Bytes, table.Pos)
        return {field.name: self._value(values, field) for field in options.fields if field.name}

    def _value(self, values: Any, field: Field) -> Any:
        name = field.name[0].upper() + field.name[1:]
        if field.vector:
            return tuple(getattr(values, name)(i) for i in range(getattr(values, f"{name}Length")()))
        value = getattr(values, name)()
        return names(getattr(self.module, field.enumeration)).get(value, value) if field.enumeration else value


def _freeze(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _indices(accessor: Any, field: str) -> tuple[int, ...]:
    """A vector of int32, empty if absent."""
    if getattr(accessor, f"{field}Length")() == 0:
        return ()
    return tuple(int(i) for i in getattr(accessor, f"{field}AsNumpy")())


def _text(raw: bytes | None) -> str:
    """A name as one printable line of limited length."""
    text = (raw or b"")[: 4 * limits.MAX_NAME].decode("utf-8", "replace")
    return printable(" ".join(text.split()))[: limits.MAX_NAME]
