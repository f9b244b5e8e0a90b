"""Writes a graph as a real ``.tflite`` file, with equal bytes for equal graphs.

What memaopt keeps as attributes (axes, paddings, permutations) becomes constant operands again, and explicit
padding becomes SAME or VALID; a window padded otherwise has no such file and raises InputError.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError
from memaopt.networks.formats.tflite.schema import IDENTIFIER, VERSION, schema
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.registry import OPERATORS


def write(graph: Graph) -> bytes:
    """The bytes of a ``.tflite`` file. Tensor indices stay; constants that attributes need come after them."""
    module = schema()
    return _Writer(module, graph).bytes()


class _Writer:
    def __init__(self, module: ModuleType, graph: Graph) -> None:
        self.module = module
        self.graph = graph
        self.tensors = list(graph.tensors)
        self.codes: list[str] = []

    def bytes(self) -> bytes:
        try:
            import flatbuffers
        except ImportError as error:
            raise MissingToolError("writing .tflite files needs flatbuffers: pip install 'memaopt[tflite]'") from error
        module = self.module
        subgraph = module.SubGraphT()
        subgraph.name = "main"
        subgraph.operators = [self._operator(op) for op in self.graph.operators]
        subgraph.tensors = [self._tensor(tensor, i + 1) for i, tensor in enumerate(self.tensors)]
        subgraph.inputs, subgraph.outputs = list(self.graph.inputs), list(self.graph.outputs)
        model = module.ModelT()
        model.version = VERSION
        model.description = "memaopt"
        model.operatorCodes = [self._code(kind) for kind in self.codes]
        model.subgraphs = [subgraph]
        model.buffers = [module.BufferT(), *(self._buffer(tensor) for tensor in self.tensors)]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _code(self, kind: str) -> Any:
        code = self.module.OperatorCodeT()
        code.builtinCode = getattr(self.module.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = OPERATORS[kind].version
        return code

    def _buffer(self, tensor: Tensor) -> Any:
        buffer = self.module.BufferT()
        if tensor.data is not None:
            raw = np.ascontiguousarray(tensor.data, tensor.dtype.numpy).tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
        return buffer

    def _tensor(self, tensor: Tensor, buffer: int) -> Any:
        table = self.module.TensorT()
        table.name = tensor.name
        table.shape = np.array(tensor.shape, np.int32)
        table.type = getattr(self.module.TensorType, tensor.dtype.name)
        table.buffer = buffer
        if len(tensor.scales):
            quantization = self.module.QuantizationParametersT()
            quantization.scale = tensor.scales
            quantization.zeroPoint = tensor.zero_points
            quantization.quantizedDimension = tensor.quantized_dimension
            table.quantization = quantization
        return table

    def _constant(self, name: str, values: npt.ArrayLike) -> int:
        data = np.array(values, np.int32)
        self.tensors.append(Tensor(name, data.shape, DType.INT32, data=data))
        return len(self.tensors) - 1

    def _operator(self, op: Operator) -> Any:
        if op.fused:
            raise InputError(
                f"{self.graph.place(op)}: .tflite has no form for operators that were fused into one; write the "
                "network before it is simplified"
            )
        if op.kind not in self.codes:
            self.codes.append(op.kind)
        form, name = op.write(self.graph), f"{op.kind.lower()}_{op.location}"
        table = self.module.OperatorT()
        table.opcodeIndex = self.codes.index(op.kind)
        operands = [*op.inputs, *(self._constant(f"{name}/{role}", data) for role, data in form.operands.items())]
        table.inputs = [operands[i] for i in form.order] or operands
        table.outputs = list(op.outputs)
        if op.options is not None:
            table.builtinOptionsType = op.options.number
            table.builtinOptions = self._options(op.options, form.options)
        return table

    def _options(self, options: Options, values: Mapping[str, Any]) -> Any:
        table = getattr(self.module, f"{options.name}T")()
        for field in options.fields:
            if field.name in values:
                value = values[field.name]
                named = getattr(getattr(self.module, field.enumeration), value) if field.enumeration else value
                setattr(table, field.name, named)
        return table
