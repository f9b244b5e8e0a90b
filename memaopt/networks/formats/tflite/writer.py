"""Writes a graph as a real ``.tflite`` file, with equal bytes for equal graphs.

What memaopt keeps as attributes (axes, paddings, permutations) becomes constant operands again, and explicit
padding becomes SAME or VALID; a window padded otherwise has no such file and raises InputError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError
from memaopt.networks.formats.tflite.enumerations import BUILTIN_OPERATORS, ENUMERATIONS, TENSOR_TYPES
from memaopt.networks.formats.tflite.record import pack
from memaopt.networks.formats.tflite.schema import IDENTIFIER, MODEL, VERSION
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.registry import OPERATORS

_Values = dict[str, Any]


def write(graph: Graph) -> bytes:
    """The bytes of a ``.tflite`` file. Tensor indices stay; constants that attributes need come after them."""
    return _Writer(graph).bytes()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        if graph.states:
            raise InputError(f"{graph.name} keeps states from run to run, which are not written to a file")
        self.graph = graph
        self.tensors = list(graph.tensors)
        self.codes: list[str] = []
        self.states: set[int] = set()

    def bytes(self) -> bytes:
        subgraph = {
            "name": "main",
            "operators": [self._operator(op) for op in self.graph.operators],
            "tensors": [_tensor(tensor, i + 1, kept=i in self.states) for i, tensor in enumerate(self.tensors)],
            "inputs": self.graph.inputs,
            "outputs": self.graph.outputs,
        }
        model = {
            "version": VERSION,
            "description": "memaopt",
            "operator_codes": [_code(kind) for kind in self.codes],
            "subgraphs": [subgraph],
            "buffers": [{}, *map(_buffer, self.tensors)],
        }
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(pack(builder, MODEL, model), IDENTIFIER)
        return bytes(builder.Output())

    def _constant(self, name: str, values: npt.ArrayLike) -> int:
        data = np.array(values, np.int32)
        return self._appended(Tensor(name, data.shape, DType.INT32, data=data))

    def _appended(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _operator(self, op: Operator) -> _Values:
        if op.fused:
            raise InputError(
                f"{self.graph.place(op)}: .tflite has no form for operators that were fused into one; write the "
                "network before it is simplified"
            )
        if op.kind not in self.codes:
            self.codes.append(op.kind)
        form, name = op.write(self.graph), f"{op.kind.lower()}_{op.location}"
        operands = [*op.inputs, *(self._constant(f"{name}/{role}", data) for role, data in form.operands.items())]
        operands += [self._appended(tensor) for tensor in form.states]
        self.states.update(operands[len(operands) - len(form.states) :])
        table = {
            "opcode_index": self.codes.index(op.kind),
            "inputs": [operands[i] if i >= 0 else -1 for i in form.order] or operands,
            "outputs": op.outputs,
            **({"intermediates": [self._appended(t) for t in form.intermediates]} if form.intermediates else {}),
        }
        return (
            table if op.options is None else {**table, "union": (op.options.number, _values(op.options, form.options))}
        )


def _code(kind: str) -> _Values:
    number = BUILTIN_OPERATORS.index(kind)
    return {
        "builtin_code": number,
        "deprecated_builtin_code": min(number, 127),
        "version": OPERATORS[kind].version,
    }


def _buffer(tensor: Tensor) -> _Values:
    if tensor.data is None:
        return {}
    return {"data": np.frombuffer(np.ascontiguousarray(tensor.data, tensor.dtype.numpy).tobytes(), np.uint8)}


def _tensor(tensor: Tensor, buffer: int, *, kept: bool) -> _Values:
    table = {
        "name": tensor.name,
        "shape": tensor.shape,
        "type": TENSOR_TYPES.index(tensor.dtype.name),
        "buffer": buffer,
        **({"is_variable": True} if kept else {}),
    }
    if not len(tensor.scales):
        return table
    quantization = {
        "scale": tensor.scales,
        "zero_point": tensor.zero_points,
        "quantized_dimension": tensor.quantized_dimension,
    }
    return {**table, "quantization": quantization}


def _values(options: Options, values: Mapping[str, Any]) -> _Values:
    made = {}
    for field in options.fields:
        if field.name in values:
            names, value = ENUMERATIONS.get(field.enumeration), values[field.name]
            made[field.name] = value if names is None else names.index(value)
    return made
