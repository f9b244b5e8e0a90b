"""Files of networks with something changed that the writer would not write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import Graph, Tensor

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


class Micro:
    """TFLite Micro's interpreter."""

    def __init__(self, data: bytes, outputs: int) -> None:
        runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
        self._interpreter: Any = runtime.Interpreter.from_bytes(data, arena_size=1 << 20)
        self._outputs = outputs

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The outputs."""
        for number, value in enumerate(values):
            self._interpreter.set_input(value, number)
        self._interpreter.invoke()
        return [self._interpreter.get_output(n) for n in range(self._outputs)]


def oracle_of(graph: Graph) -> Oracle | Micro:
    """The interpreter whose outputs a network has."""
    micro = any(op.micro for op in graph.operators)
    return Micro(writer.write(graph), len(graph.outputs)) if micro else Oracle(writer.write(graph))


def changed(graph: Graph, change: Callable[[Any], None]) -> bytes:
    """The file of a graph with its object tree changed."""
    data = writer.write(graph)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def put(path: str, value: Any) -> Callable[[Any], None]:
    """Set a field of the object tree, as in ``subgraphs[0].tensors[1].shape``."""

    def change(model: Any) -> None:
        node: Any = model
        *parents, last = re.findall(r"\w+", path)
        for name in parents:
            node = node[int(name)] if name.isdigit() else getattr(node, name)
        if last.isdigit():
            node[int(last)] = value
        else:
            setattr(node, last, value)

    return change


class Node(NamedTuple):
    """An operator of a file: ``options`` are the fields of the table ``table``; or one of the file's own, called
    ``custom``, with the bytes ``data``."""

    kind: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    table: str = ""
    options: Mapping[str, Any] = MappingProxyType({})
    version: int = 1
    custom: str = ""
    data: bytes = b""


def file_of(tensors: Sequence[Tensor], nodes: Sequence[Node], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """A file of anything, whether memaopt has it or not."""
    model, main = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [main], [], [schema.BufferT()]
    main.tensors, main.operators, main.inputs, main.outputs = [], [], list(inputs), list(outputs)
    for tensor in tensors:
        made, buffer = schema.TensorT(), schema.BufferT()
        made.name, made.shape = tensor.name, np.array(tensor.shape, np.int32)
        made.type, made.buffer = getattr(schema.TensorType, tensor.dtype.name), len(model.buffers)
        if tensor.data is not None:
            buffer.data = np.frombuffer(tensor.data.astype(tensor.dtype.numpy).tobytes(), np.uint8)
        if len(tensor.scales):
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = tensor.scales, tensor.zero_points
        main.tensors.append(made)
        model.buffers.append(buffer)
    for node in nodes:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, node.kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), node.version
        made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes), list(node.inputs), list(node.outputs)
        if node.custom:
            code.customCode, made.customOptions = node.custom, list(node.data)
        if node.table:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, node.table)
            made.builtinOptions = getattr(schema, f"{node.table}T")()
            for name, value in node.options.items():
                setattr(made.builtinOptions, name, value)
        model.operatorCodes.append(code)
        main.operators.append(made)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def made_unsigned(rng: np.random.Generator) -> Callable[[Any], None]:
    """int8 becomes uint8, in tensors and constants; weights have any zero point, for the bytes that they had."""

    def change(model: Any) -> None:
        types = schema.TensorType
        for tensor in model.subgraphs[0].tensors:
            if tensor.type != types.INT8:
                continue
            tensor.type, buffer = types.UINT8, model.buffers[tensor.buffer]
            quantization = tensor.quantization
            if quantization is not None and quantization.zeroPoint is not None:
                quantization.zeroPoint = np.array(quantization.zeroPoint) + 128
                if tensor.name == b"weights":
                    quantization.zeroPoint = np.array([rng.choice([0, 255, 128, int(rng.integers(256))])])
            if buffer.data is not None and len(buffer.data):
                buffer.data = np.array(buffer.data, np.uint8) ^ 0x80
        for code in model.operatorCodes:
            code.version = 1

    return change


def made_float(model: Any, *, but: bytes = b"") -> None:
    """int8 becomes float32, constants the reals that they mean; biases of int32 too. Not the tensor called ``but``."""
    types = schema.TensorType
    for tensor in model.subgraphs[0].tensors:
        given = tensor.quantization
        if tensor.type not in (types.INT8, types.INT32) or given is None or given.scale is None or tensor.name == but:
            continue
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data):
            values = np.array(buffer.data, np.uint8).view(np.int8 if tensor.type == types.INT8 else "<i4")
            along = [1] * len(tensor.shape)
            if len(given.scale) > 1:
                along[given.quantizedDimension] = -1
            scales, points = (np.array(of, np.float64).reshape(along) for of in (given.scale, given.zeroPoint))
            reals = ((values.reshape(tensor.shape) - points) * scales).astype("<f4")
            buffer.data = np.frombuffer(reals.tobytes(), np.uint8)
        tensor.type, tensor.quantization = types.FLOAT32, None
