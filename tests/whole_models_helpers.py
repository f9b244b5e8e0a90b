"""Whole models from files: inputs of any type, and the interpreters' outputs beside the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from tflite_helpers import Micro, schema

from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph
from tests.fuzz.oracle import ask_micro

Array = np.ndarray[Any, Any]


def given(graph: Graph, seed: int) -> list[Array]:
    """Random inputs: of floats normal ones, of integers any that the type has, of indices those of small tables."""
    rng, values = np.random.default_rng(seed), []
    for tensor in (graph.tensors[i] for i in graph.given):
        if tensor.dtype is DType.FLOAT32:
            values.append(rng.normal(0, 1.5, tensor.shape).astype(np.float32))
        elif tensor.dtype is DType.INT32:  # words, those before the first too
            values.append(rng.integers(-20, 20, tensor.shape).astype(np.int32))
        else:
            ends = np.iinfo(tensor.dtype.numpy)
            values.append(rng.integers(ends.min, ends.max + 1, tensor.shape).astype(tensor.dtype.numpy))
    return values


def demand_equal(graph: Graph, data: bytes, values: Sequence[Sequence[Array]]) -> None:
    """Assert that the reference's outputs are TFLite's; operators that LiteRT has not, or not so, are asked in TFLite
    Micro, each alone. DIV is the same in both."""
    if any(op.micro and op.kind != "DIV" for op in graph.operators):
        for value in values:
            assert ask_micro(graph, value) == "TFLite Micro agrees"
        return
    oracle = Oracle(data)
    for value in values:
        for found, wanted in zip(reference.run(graph, list(value)), oracle.run(value), strict=True):
            assert found.shape == wanted.shape
            np.testing.assert_array_equal(found, wanted)


def demand_equal_runs(data: bytes, values: Sequence[Sequence[Array]]) -> None:
    """The same of a file with SVDFs, run by run, in all that its operators of int8 give: by TFLite Micro, since
    LiteRT's SVDF of int16 writes beyond its memory."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    main = model.subgraphs[0]
    ends = [op.outputs[0] for op in main.operators if main.tensors[op.outputs[0]].type == schema.TensorType.INT8]
    main.outputs = [*ends[:-1], *main.outputs]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    data = bytes(builder.Output())
    graph, micro, seen = reader.parse(data), Micro(data, len(main.outputs)), set[bytes]()
    for number, (value, (_, found)) in enumerate(zip(values, reference.runs(graph, values), strict=True)):
        for one, wanted in zip(found, micro.run(value), strict=False):
            np.testing.assert_array_equal(one, wanted.reshape(one.shape), f"run {number}")
        seen.add(b"".join(one.tobytes() for one in found))
    assert len(seen) == len(values)


def has_svdf(data: bytes) -> bool:
    """Whether a file does."""
    codes = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0)).operatorCodes
    return any(code.builtinCode == schema.BuiltinOperator.SVDF for code in codes)
