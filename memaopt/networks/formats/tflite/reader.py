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
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MemaoptError, UnsupportedModelError
from memaopt.networks import checks, limits
from memaopt.networks.formats.tflite import flatbuffer, unsigned, variables
from memaopt.networks.formats.tflite.enumerations import BUILTIN_OPERATORS, TENSOR_TYPES, name_of
from memaopt.networks.formats.tflite.record import Record
from memaopt.networks.formats.tflite.schema import IDENTIFIER, MODEL, VERSION
from memaopt.networks.formats.tflite.values import indices, line, options_of
from memaopt.networks.graph import DType, Graph, State, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.folded import held
from memaopt.networks.operators.registry import FOLDED, KEEPING, KEPT, NOWHERE, OPERATORS, PARTED, READ, SIXTEEN
from memaopt.networks.operators.source import Source
from memaopt.networks.reading import Reading, Unread
from memaopt.networks.refusals import Refusal, collected

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
    flatbuffer.verify(data, MODEL, IDENTIFIER, name)
    try:
        return _Reader(data, name).reading()
    except MemaoptError:
        raise
    except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        # The verifier should make this impossible; a file that slips through still gets one clear line.
        raise InputError(f"{name} is not a valid .tflite file: {type(error).__name__}: {error}") from error


class _Reader:
    """One file, as it is read."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.model = Record.root(data, MODEL)
        self.codes = self.model.records("operator_codes")
        self.buffers = self.model.records("buffers")
        self.constant_bytes = 0
        self.tensor_refusals: dict[int, list[Refusal]] = {}
        self.kept: set[int] = set()
        """Tensors that keep their values from one call to the next."""
        self.open: set[int] = set()
        """Tensors whose first size the file leaves open: it is 1, or what their operator makes of that."""
        self.variables = variables.Variables()
        self.remembered: list[State] = []
        """The states of operators that keep a tensor of their own."""
        self.once: set[int] = set()
        """The subgraphs that CALL_ONCE runs."""

    def reading(self) -> Reading:
        """The main subgraph's operators as far as they can be read, checked."""
        version = self.model.number("version")
        if version != VERSION:
            raise UnsupportedModelError(f"{self.name} has schema version {version}; {VERSION} is supported")
        subgraphs = self.model.records("subgraphs")
        if not subgraphs:
            raise UnsupportedModelError(
                f"{self.name} has 0 subgraphs; one, and those that CALL_ONCE runs, are supported"
            )
        refusals: list[Refusal] = []
        subgraph = subgraphs[0]
        inputs, outputs = indices(subgraph, "inputs"), indices(subgraph, "outputs")
        accessors = subgraph.records("operators")
        total = len(accessors)
        kinds = [self._kind(accessor, i, total) for i, accessor in enumerate(accessors)]
        used = {*inputs, *outputs}
        for accessor in accessors:
            used.update(*(indices(accessor, field) for field in ("inputs", "outputs", "intermediates")))
        records = subgraph.records("tensors")
        count = len(records)
        for index in used:
            if not -1 <= index < count:
                raise InputError(f"{self.name} is not a valid .tflite file: tensor {index} of {count} is used")
        tensors = []
        for i, record in enumerate(records):
            tensors.append(self._tensor(record, i) if i in used else _UNUSED)
            if self.constant_bytes > limits.MAX_CONSTANT_BYTES:
                raise UnsupportedModelError(
                    f"the constants take more than {limits.MAX_CONSTANT_BYTES:,} bytes, the most that is supported"
                )
        nodes = [
            unsigned.Node(kind, indices(accessor, "inputs"), indices(accessor, "outputs"))
            for kind, accessor in zip(kinds, accessors, strict=True)
        ]
        flipped = unsigned.flip(tensors, nodes)
        operators: list[Operator] = []
        unread: list[Unread] = []
        for i, (kind, accessor) in enumerate(zip(kinds, accessors, strict=True)):
            before = len(refusals)
            refusals += self._unusable(accessor, i, total, kind)
            with collected(refusals, i):
                if len(refusals) == before and kind in KEPT:
                    operators += self._kept(accessor, i, total, kind, tensors)
                elif len(refusals) == before:
                    for op in self._operator(accessor, i, total, kind, tensors):
                        old = flipped.intersection((*op.inputs, *op.outputs))
                        place = f"operator {i} of {total} ({kind})"
                        operators += unsigned.computed(op, kind, place, tensors) if old else [op]
            if len(refusals) > before:
                unread.append(Unread(i, kind, indices(accessor, "inputs"), indices(accessor, "outputs")))
        states: tuple[State, ...] = ()
        if not refusals:
            with collected(refusals):
                operators, states = self.variables.states(operators, tensors, outputs)
                states += tuple(self.remembered)
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
        else:
            given = (*inputs, *(state.read for state in states))
            wanted = (*outputs, *(state.written for state in states))
        graph = Graph(self.name, tuple(tensors), tuple(operators), given, wanted, () if refusals else states)
        refusals += checks.refusals(graph, (*inputs, *outputs) if not refusals else ())
        return Reading(graph, inputs, outputs, tuple(unread), tuple(refusals), self._notes(len(subgraphs)))

    def _notes(self, subgraphs: int) -> tuple[str, ...]:
        """What of the file is left out: subgraphs that nothing in the first one runs, or nothing that was read."""
        others = subgraphs - 1 - len(self.once)
        if not others:
            return ()
        return (
            f"of {subgraphs} subgraphs {others} {'is' if others == 1 else 'are'} not read: the first is the network",
        )

    def _unusable(self, accessor: Record, location: int, total: int, kind: str) -> list[Refusal]:
        """What stands in the way of an operator before its attributes are looked at: its kind, or its tensors."""
        if kind == f"CUSTOM {_ETHOS_U}":
            compiled = "was compiled for an Ethos-U by Vela; hand in the file from before that"
            return [Refusal(f"operator {location} of {total} {compiled}", location)]
        if kind not in READ:
            what = f"operator {location} of {total} is {kind}, which is not supported"
            why = NOWHERE.get(kind) or f"supported are {', '.join(sorted(READ))}"
            return [Refusal(f"{what}; {why}", location, f"operator {kind}")]
        if kind in KEPT:
            return []  # of what a handle is nothing is known, or needed
        tensors = dict.fromkeys((*indices(accessor, "inputs"), *indices(accessor, "outputs")))
        takes = kind in KEEPING or (kind in OPERATORS and OPERATORS[kind].keeps_state)
        kept = () if takes else self.kept.intersection(tensors)
        what = f"operator {location} of {total} ({kind}) has a state that it keeps, which is not supported"
        return [
            *(r._replace(location=location) for t in tensors for r in self.tensor_refusals.get(t, ())),
            *(Refusal(what, location, f"state of {kind}") for _ in kept),
        ]

    def _kind(self, accessor: Record, location: int, total: int) -> str:
        """The operator's TFLite name."""
        index = accessor.number("opcode_index")
        if index >= len(self.codes):
            raise InputError(
                f"{self.name} is not a valid .tflite file: operator {location} of {total} has code {index} of "
                f"{len(self.codes)}"
            )
        code = self.codes[index]
        value = max(code.number("builtin_code"), code.number("deprecated_builtin_code"))
        kind = name_of(BUILTIN_OPERATORS, value, "code")
        return f"CUSTOM {line(code.text('custom_code'))}" if kind == "CUSTOM" else kind

    def _tensor(self, accessor: Record, index: int) -> Tensor:
        """A tensor; one that no operator can use is refused where operators use it, and has neither scales nor data."""
        name = line(accessor.text("name")) or f"tensor {index}"
        kind = name_of(TENSOR_TYPES, accessor.number("type"), "type")
        halves = kind == "INT4" and self._has_data(accessor)
        dtype = DType.INT8 if halves else _DTYPES.get(kind, DType.OPAQUE)
        shape = indices(accessor, "shape")
        if shape[:1] == (-1,):  # a batch that is left open
            shape = (1, *shape[1:])
        if shape and -1 in (*indices(accessor, "shape")[:1], *indices(accessor, "shape_signature")[:1]):
            self.open.add(index)
        refused = self.tensor_refusals.setdefault(index, [])
        with collected(refused):
            if dtype is DType.OPAQUE:
                raise UnsupportedModelError(f"tensor {index} ({name!r}) is {kind}, which is not supported")
            if accessor.number("is_variable"):
                self.kept.add(index)
            if accessor.record("sparsity") is not None or accessor.number("external_buffer"):
                raise UnsupportedModelError(
                    f"tensor {index} ({name!r}) is sparse or stored outside the file, which is not supported"
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

    def _has_data(self, accessor: Record) -> bool:
        """Whether a tensor is a constant; what is no buffer is told of where its data are read."""
        index = accessor.number("buffer")
        return index < len(self.buffers) and len(self.buffers[index].numbers("data")) > 0

    def _quantization(
        self, accessor: Record, index: int, name: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
        quantization = accessor.record("quantization")
        if quantization is None or not len(quantization.numbers("scale")):
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        if quantization.number("details_type") != 0:
            raise UnsupportedModelError(
                f"tensor {index} ({name!r}) has custom quantisation; scales and zero points are supported"
            )
        scales = np.array(quantization.numbers("scale"), np.float32)
        zero_points, given = np.zeros(len(scales), np.int64), quantization.numbers("zero_point")
        if len(given) in (1, len(scales)):
            zero_points[:] = given
        elif len(given):
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) has {len(scales)} scales "
                f"and {len(given)} zero points"
            )
        unsigned.frozen(scales)
        unsigned.frozen(zero_points)
        return scales, zero_points, int(quantization.number("quantized_dimension"))

    def _data(
        self, accessor: Record, index: int, name: str, shape: tuple[int, ...], dtype: DType, halves: bool
    ) -> npt.NDArray[Any] | None:
        """The constant's elements, or None for an activation (whose buffer is empty); ``halves``: two lie in a byte."""
        number = accessor.number("buffer")
        if number >= len(self.buffers):
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) is in buffer {number} of "
                f"{len(self.buffers)}"
            )
        buffer = self.buffers[number]
        if buffer.number("offset") > 1 or buffer.number("size") > 1:
            raise UnsupportedModelError(f"tensor {index} ({name!r}) is stored behind the model, which is not supported")
        raw = buffer.numbers("data")
        if not len(raw):
            return None
        elements = math.prod(shape)
        expected = (elements + 1) // 2 if halves else elements * dtype.itemsize
        if len(raw) != expected:
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) needs {expected} bytes "
                f"and has {len(raw)}"
            )
        self.constant_bytes += elements * dtype.itemsize
        if halves:
            nibbles = np.stack([raw << 4, raw & 0xF0], axis=-1).reshape(-1)[:elements]
            return unsigned.frozen((nibbles.view(np.int8) >> 4).reshape(shape))
        data = np.frombuffer(raw.tobytes(), dtype.numpy).reshape(shape)
        return unsigned.frozen(data.astype(dtype.value))

    def _operator(
        self, accessor: Record, location: int, total: int, kind: str, tensors: list[Tensor]
    ) -> list[Operator]:
        """The operators that compute it; none where what it writes is known, which its tensor then holds."""
        source = self._source(accessor, location, kind, f"operator {location} of {total} ({kind})", tensors)
        outputs = source.outputs
        if kind in KEEPING:
            remembered = KEEPING[kind].parts(source)
            self.remembered += remembered.states
            return remembered.operators
        if kind in PARTED:
            parts = PARTED[kind].parts(source)
            return [op for op in parts if not self._known(source, op.output, op.of_known(tensors))]
        value = FOLDED[kind].value(source) if kind in FOLDED else OPERATORS[kind].known(source)
        if value is not None and self._known(source, outputs[0], value):
            return []
        first = source.inputs[0] if source.inputs else -1
        ends = (first, *outputs) if kind == "QUANTIZE" else (first,)
        sixteen = any(t >= 0 and tensors[t].dtype is DType.INT16 for t in ends)
        op = (SIXTEEN.get(kind, OPERATORS[kind]) if sixteen else OPERATORS[kind]).read_as(source).read(source)
        self._settle(op, tensors)
        return [op]

    def _source(self, accessor: Record, location: int, kind: str, place: str, tensors: list[Tensor]) -> Source:
        """An operator as it reads itself."""
        outputs = indices(accessor, "outputs")
        if any(index < 0 for index in outputs):
            raise UnsupportedModelError(f"{place}: an output is missing")
        options = READ[kind].options
        return Source(
            kind=kind,
            location=location,
            place=place,
            inputs=indices(accessor, "inputs"),
            outputs=outputs,
            tensors=tensors,
            intermediates=indices(accessor, "intermediates"),
            values=lambda: options and options_of(accessor, place, options),
        )

    def _kept(self, accessor: Record, location: int, total: int, kind: str, tensors: list[Tensor]) -> list[Operator]:
        """What an operator about variables takes in the network; CALL_ONCE runs its subgraph here and now."""
        source = self._source(accessor, location, kind, f"operator {location} of {total} ({kind})", tensors)
        if kind != "CALL_ONCE":
            return self.variables.apply(source)
        number, subgraphs = source.required("CallOnceOptions")["initSubgraphIndex"], self.model.records("subgraphs")
        if not 1 <= number < len(subgraphs):
            raise source.refuse(f"it runs subgraph {number} of {len(subgraphs)}")
        self.once.add(number)
        self.variables.initial.update(variables.assigned(self._sources(subgraphs[number], number)))
        return []

    def _sources(self, subgraph: Record, number: int) -> list[Source]:
        """The operators of a subgraph that runs once."""
        main, self.tensor_refusals = self.tensor_refusals, {}
        tensors = [self._tensor(record, i) for i, record in enumerate(subgraph.records("tensors"))]
        self.tensor_refusals = main
        accessors, sources = subgraph.records("operators"), []
        for i, accessor in enumerate(accessors):
            kind = self._kind(accessor, i, len(accessors))
            place = f"operator {i} of {len(accessors)} ({kind}) of subgraph {number}"
            used = (*indices(accessor, "inputs"), *indices(accessor, "outputs"))
            if any(not -1 <= t < len(tensors) for t in used):
                raise InputError(f"{self.name} is not a valid .tflite file: {place} uses a tensor that there is not")
            if kind not in READ:
                raise UnsupportedModelError(f"{place} is not supported")
            sources.append(self._source(accessor, i, kind, place, tensors))
        return sources

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
        source.tensors[index] = dataclasses.replace(tensor, data=unsigned.frozen(held(source, tensor, value)))
        self.constant_bytes += tensor.nbytes
        return True
