"""Reads the bytes of an ``.onnx`` file into a :class:`~memaopt.networks.graph.Graph`.

A quantised network has its integers in one of two forms: floats between QuantizeLinear and DequantizeLinear (QDQ), or
operators on bytes (QLinearConv). The latter are read as the former around an operator on floats; an operator on floats
waits until a QuantizeLinear says what its output is. Constants are folded by ONNX's reference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from memaopt.errors import InputError, MemaoptError, MissingToolError, UnsupportedModelError
from memaopt.networks import checks, limits
from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, natural
from memaopt.networks.formats.onnx.folding import folded
from memaopt.networks.formats.onnx.nodes import QUANTISE, OnnxNode
from memaopt.networks.formats.onnx.registry import HANDLERS
from memaopt.networks.formats.onnx.values import Constant, Held, Pending, Reals, Value
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.float_lookup import FloatLookup
from memaopt.networks.operators.quantization import Meaning
from memaopt.networks.reading import Reading, Unread
from memaopt.networks.refusals import Refusal, collected, way_for
from memaopt.printable import printable

_MOST_NODES = limits.MAX_ENTRIES
_DYNAMIC = frozenset({"ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger"})
_MOVED = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_VERSIONS = (10, 26)
_FLOAT, _UINT8, _INT8 = 1, 2, 3


def recognises(data: bytes) -> bool:
    """Whether the first field is the version of ONNX's format, as every writer has it."""
    return len(data) > 4 and data[0] == 0x08 and 3 <= data[1] <= 32 and data[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)


def examine(data: bytes, name: str = "network") -> Reading:
    """What the bytes of an ``.onnx`` file hold, supported or not; InputError if they are not a valid file."""
    if len(data) > limits.MAX_FILE_BYTES:
        raise InputError(f"{name} has {len(data):,} bytes; at most {limits.MAX_FILE_BYTES:,} are supported")
    model = _parsed(data, name)
    try:
        return _Reader(model, name).reading()
    except MemaoptError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        # Attributes of another type, nodes without outputs and the like.
        raise InputError(f"{name} is not a valid .onnx file: {type(error).__name__}: {_line(error)}") from error


def _parsed(data: bytes, name: str) -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingToolError(f"{name} is an ONNX model, which needs onnx: pip install 'memaopt[onnx]'") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own
        raise InputError(f"{name} is not a valid .onnx file: {_line(error)}") from None
    if not model.HasField("graph"):
        raise InputError(f"{name} is not a valid .onnx file: it has no graph")
    return model


def _line(text: object) -> str:
    return printable(" ".join(str(text).split()))[: limits.MAX_NAME]


class _Reader:
    """One file, as it is read."""

    def __init__(self, model: Any, name: str) -> None:
        self.name, self.graph = name, model.graph
        self.building = Building()
        self.values: dict[str, Value] = {}
        self.refusals: list[Refusal] = []
        self.unread: list[Unread] = []
        self.inputs: list[int] = []
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        low, high = _VERSIONS
        if not low <= self.opset <= high:
            raise UnsupportedModelError(f"{name} is of opset {self.opset}; {low} to {high} are supported")
        if len(self.graph.node) > _MOST_NODES:
            raise UnsupportedModelError(f"{name} has {len(self.graph.node):,} nodes; {_MOST_NODES:,} are supported")

    def reading(self) -> Reading:
        self._constants()
        meanings = self._meanings()
        with collected(self.refusals):
            for given in self.graph.input:
                if given.name not in self.values:
                    self._input(given, meanings)
        kinds = {node.op_type for node in self.graph.node}
        if kinds & _DYNAMIC:
            what = f"is quantised while it runs ({', '.join(sorted(kinds & _DYNAMIC))}), where scales have to be known"
            self.refusals.append(Refusal(f"{self.name} {what}: {QUANTISE}"))
        elif not any(kind.startswith(("QLinear", "QGemm", "Dequantize")) for kind in kinds):
            self.refusals.append(Refusal(f"{self.name} computes in float32; an int8 one is made of it by {QUANTISE}"))
        stopped = bool(self.refusals)
        total = len(self.graph.node)
        for location, proto in enumerate(self.graph.node):
            if stopped or not self._read(proto, location, total):
                self.unread.append(Unread(location, printable(proto.op_type), (), ()))
        self.building.location = max(total - 1, 0)
        if not self.graph.output:
            self.refusals.append(Refusal(f"{self.name} is not a valid .onnx file: it has no output"))
        outputs: list[int] = []
        for wanted in self.graph.output:
            with collected(self.refusals):
                if wanted.name in self.values:
                    outputs.append(self._output(wanted.name))
                elif not self.refusals:
                    raise UnsupportedModelError(f"output {_line(wanted.name)!r} is given by no node that is supported")
        return self._made(outputs)

    def _made(self, outputs: list[int]) -> Reading:
        building, refusals = self.building, self.refusals
        if not self.inputs:
            self.inputs.append(building.tensor(Tensor("(none)", (1,), DType.FLOAT32)))
            refusals.append(Refusal(f"{self.name} has no input that is supported"))
        if not refusals and len(set(outputs)) != len(outputs):
            refusals.append(Refusal(f"{self.name} gives one tensor as two outputs"))
        whole = not refusals
        inputs, wanted = tuple(self.inputs), tuple(dict.fromkeys(outputs)) or tuple(self.inputs[:1])
        graph = Graph(self.name, tuple(building.tensors), tuple(building.operators), inputs, wanted)
        refusals += checks.refusals(graph, (*inputs, *wanted) if whole else ())
        notes = tuple(text for _, text in sorted(building.notes.items()))
        return Reading(graph, inputs, wanted, tuple(self.unread), tuple(refusals), notes)

    def _constants(self) -> None:
        from onnx import numpy_helper

        size = 0
        for tensor in self._tensors():
            name, kind = tensor
            if kind.data_location:
                what = f"{self.name}: constant {_line(name)!r} is stored outside the file"
                raise UnsupportedModelError(f"{what}; save the model whole")
            try:
                array = np.array(numpy_helper.to_array(kind))
            except Exception as error:  # of types that numpy has none for
                raise InputError(f"{self.name} is not a valid .onnx file: {_line(name)!r}: {_line(error)}") from None
            size += array.nbytes
            if size > limits.MAX_CONSTANT_BYTES * 4:  # floats become bytes
                raise UnsupportedModelError(
                    f"the constants take more than {4 * limits.MAX_CONSTANT_BYTES:,} bytes, the most that is supported"
                )
            array.setflags(write=False)
            self.values[name] = Constant(array)

    def _tensors(self) -> Iterator[tuple[str, Any]]:
        """Constants with their names, those of nodes too."""
        for tensor in self.graph.initializer:
            yield tensor.name, tensor
        for node in self.graph.node:
            for attribute in node.attribute if node.op_type == "Constant" else ():
                if attribute.name == "value":
                    yield node.output[0], attribute.t

    def _meanings(self) -> dict[str, Meaning]:
        """What the first that computes with an input's bytes takes them for."""
        found: dict[str, Meaning] = {}
        for node in reversed(self.graph.node):
            triples: Iterable[tuple[int, int, int]] = ()
            if node.op_type == "DequantizeLinear":
                triples = ((0, 1, 2),)
            elif node.op_type == "QLinearConcat":
                triples = tuple((i, i + 1, i + 2) for i in range(2, len(node.input) - 2, 3))
            elif node.op_type.startswith("Q") and node.op_type != "QuantizeLinear":
                triples = ((0, 1, 2), (3, 4, 5))
            for x, scale, zero in triples:
                s = self.values.get(node.input[scale]) if len(node.input) > scale else None
                z = self.values.get(node.input[zero]) if len(node.input) > zero else None
                if isinstance(s, Constant) and s.array.size == 1 and s.array.dtype == np.float32:
                    zero_point = int(z.array.reshape(-1)[0]) if isinstance(z, Constant) and z.array.size else 0
                    found[node.input[x]] = Meaning(float(s.array.reshape(-1)[0]), zero_point)
            if node.op_type in _MOVED and len(node.input) and node.output[0] in found:
                found.setdefault(node.input[0], found[node.output[0]])
        return found

    def _input(self, given: Any, meanings: dict[str, Meaning]) -> None:
        kind, name = given.type.tensor_type, _line(given.name)
        sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        if not given.type.HasField("tensor_type") or not kind.HasField("shape"):
            raise UnsupportedModelError(f"input {name!r} has no shape; one is needed")
        if any(size < 1 for size in sizes[1:]) or (sizes and sizes[0] == 0):
            raise UnsupportedModelError(f"input {name!r} has the shape {sizes}; only the first size may be left open")
        shape = tuple(1 if size < 1 else size for size in sizes)
        if math.prod(shape) > limits.MAX_TENSOR_BYTES:
            what = f"input {name!r} has the shape {sizes}"
            raise UnsupportedModelError(f"{what}; at most {limits.MAX_TENSOR_BYTES:,} elements are supported")
        if len(shape) > limits.MAX_RANK:
            raise UnsupportedModelError(f"input {name!r} has {len(shape)} dimensions; {limits.MAX_RANK} are supported")
        dtypes = {_FLOAT: DType.FLOAT32, _UINT8: DType.UINT8, _INT8: DType.INT8}
        if kind.elem_type not in dtypes:
            raise UnsupportedModelError(
                f"input {name!r} is of type {kind.elem_type}; float32, int8, uint8 are supported"
            )
        dtype, building = dtypes[kind.elem_type], self.building
        meaning = meanings.get(given.name, Meaning(1.0, 0))
        scale, zero = np.array([meaning.scale], np.float32), np.array([meaning.zero_point], np.int64)
        if dtype is DType.FLOAT32:
            index = building.tensor(Tensor(name, shape, dtype))
        else:
            index = building.tensor(Tensor(name, shape, dtype, scale, zero))
        self.inputs.append(index)
        if dtype is DType.UINT8:
            inner = building.tensor(Tensor(f"{name}/int8", shape, DType.INT8, scale, zero - 128))
            building.add(ops.Quantize, (index,), inner)
            index = inner
        self.values[given.name] = Held(index, shape, shape, natural(len(shape)), dtype is DType.UINT8)

    def _read(self, proto: Any, location: int, total: int) -> bool:
        """Whether the node's outputs are known."""
        from onnx import helper

        if proto.op_type == "Constant" and proto.output[0] in self.values:
            return True
        before = len(self.refusals)
        place = f"node {location} of {total} ({printable(proto.op_type)})"
        self.building.location = location
        with collected(self.refusals, location):
            attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in proto.attribute}
            given = tuple(self.values.get(name) if name else None for name in proto.input)
            missing = [name for name in proto.input if name and name not in self.values]
            node = OnnxNode(
                proto.op_type,
                location,
                total,
                _line(proto.name),
                given,
                attributes,
                tuple(map(_line, proto.output)),
                self.opset,
            )
            if missing and proto.op_type in HANDLERS:
                if not self.refusals:  # else it is of a node that could not be read
                    what = f"no node before it that is supported gives its input {_line(missing[0])!r}"
                    raise UnsupportedModelError(f"{place}: {what}")
                return False
            known = None if missing else folded(node)
            if known is not None:
                self.values[proto.output[0]] = known
                return True
            if proto.op_type == "Constant":
                self.values[proto.output[0]] = _constant(node)
                return True
            if proto.op_type not in HANDLERS:
                subject = f"operator {printable(proto.op_type)}"
                way = way_for(subject) or f"; supported are {', '.join(sorted(HANDLERS))}"
                raise UnsupportedModelError(f"{place} is not supported{way}", subject)
            found = HANDLERS[proto.op_type](node, self.building)
            for name, value in zip(proto.output, found if isinstance(found, list) else [found], strict=False):
                self.values[name] = value
        return len(self.refusals) == before

    def _output(self, name: str) -> int:
        value, building, shown = self.values[name], self.building, _line(name)
        if isinstance(value, Pending):
            raise UnsupportedModelError(f"output {shown!r} is computed in float32: it has no QuantizeLinear behind it")
        if not isinstance(value, Held | Reals):
            raise UnsupportedModelError(f"output {shown!r} is a constant, whatever the inputs are")
        if isinstance(value, Held):
            held = building.settled(value)
            tensor = building.tensors[held.tensor]
            if not held.unsigned and held.tensor not in self.inputs and tensor.dtype is DType.INT8:
                building.tensors[held.tensor] = dataclasses.replace(tensor, name=shown)
                return held.tensor
            zeros = tensor.zero_points + (128 if held.unsigned else 0)
            dtype = DType.UINT8 if held.unsigned else tensor.dtype
            index = building.tensor(dataclasses.replace(tensor, name=shown, dtype=dtype, zero_points=zeros))
            building.add(ops.Quantize, (held.tensor,), index)
            return index
        if value.linear is not None:
            held = building.settled(building.linear(value))
            index = building.tensor(Tensor(shown, held.shape, DType.FLOAT32))
            building.add(ops.Dequantize, (held.tensor,), index)
            return index
        held = building.settled(value.x)
        index = building.tensor(Tensor(shown, held.shape, DType.FLOAT32))
        bits = tuple(np.asarray(value.values, np.float32).view(np.uint32).tolist())
        building.add(FloatLookup, (held.tensor,), index, bits=bits, of="floats")
        return index


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "_values") else value


def _constant(node: OnnxNode) -> Constant:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if node.get(name) is not None:
            return Constant(np.array(node.get(name), dtype))
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if node.get(name) is not None:
            return Constant(np.array(node.get(name), dtype))
    raise node.refuse("a constant that is neither a tensor nor numbers")
