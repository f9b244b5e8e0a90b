"""Integers that are known when a file is read, against those that TFLite's interpreter computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tensors_helpers import Rng, activation, constant
from tflite_helpers import Node, changed, file_of, schema

from memaopt.errors import UnsupportedModelError
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor

INT32, INT64 = schema.TensorType.INT32, schema.TensorType.INT64


class _File:
    """A file in the making: an int8 input, and integers computed from its shape and constants."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.tensors = [activation("x", shape, 0.1, 3)]
        self.nodes: list[Node] = []

    def known(self, values: Any, dtype: DType = DType.INT32) -> int:
        self.tensors.append(constant(f"c{len(self.tensors)}", np.array(values, dtype.value)))
        return len(self.tensors) - 1

    def node(
        self, kind: str, inputs: list[int], shape: Any, table: str = "", dtype: DType = DType.INT32, **options: Any
    ) -> int:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), dtype))
        self.nodes.append(Node(kind, inputs, [len(self.tensors) - 1], table, options))
        return len(self.tensors) - 1

    def shape(self, dtype: DType = DType.INT32) -> int:
        rank = len(self.tensors[0].shape)
        out = INT32 if dtype is DType.INT32 else INT64
        return self.node("SHAPE", [0], [rank], "ShapeOptions", dtype, outType=out)

    def flat(self) -> bytes:
        """The file, whose output is the input as one axis."""
        size = self.tensors[0].elements
        self.tensors.append(activation("y", (1, size), 0.1, 3))
        self.nodes.append(Node("RESHAPE", [0, self.known([1, size])], [len(self.tensors) - 2]))
        return file_of(self.tensors, self.nodes, [0], [len(self.tensors) - 2])


def _each(rng: Rng) -> _File:
    """Everything that is computed from shapes, one from the other."""
    shape = (1, *rng.integers(1, 9, rng.integers(2, 4)).tolist())
    rank, wide = len(shape), bool(rng.integers(2))
    dtype = DType.INT64 if wide else DType.INT32
    file = _File(shape)
    sizes = file.shape(dtype)
    low, high = sorted(rng.choice(np.arange(rank + 1), 2, replace=False).tolist())
    mask = {"shrinkAxisMask": 1} if rng.integers(2) else {}
    span = [file.known([low]), file.known([high]), file.known([1])]
    left = [] if mask else [high - low]
    file.node("STRIDED_SLICE", [sizes, *span], left, "StridedSliceOptions", dtype, **mask)
    indices = rng.integers(0, rank, rng.integers(1, 4))
    some = file.node("GATHER", [sizes, file.known(indices)], [len(indices)], "GatherOptions", dtype, axis=0)
    factor = file.known(rng.integers(-4, 5), dtype)
    product = file.node("MUL", [some, factor], [len(indices)], "MulOptions", dtype)
    total = file.node("ADD", [product, some], [len(indices)], "AddOptions", dtype)
    file.node("SUB", [total, factor], [len(indices)], "SubOptions", dtype)
    number = file.node(
        "CAST",
        [total],
        [len(indices)],
        "CastOptions",
        DType.INT32,
        inDataType=INT64 if wide else INT32,
        outDataType=INT32,
    )
    prod = file.node("REDUCE_PROD", [number, file.known([0])], [], "ReducerOptions")
    file.node("REDUCE_PROD", [number, file.known([-1])], [1], "ReducerOptions", keepDims=True)
    rows = file.node("PACK", [prod, file.known(7), prod], [3], "PackOptions", valuesCount=3, axis=0)
    file.node("PACK", [rows, rows], [3, 2], "PackOptions", valuesCount=2, axis=-1)
    both = file.node("CONCATENATION", [rows, number], [3 + len(indices)], "ConcatenationOptions", axis=0)
    file.node("EXPAND_DIMS", [both, file.known(0)], [1, 3 + len(indices)])
    filled = rng.integers(1, 4, 2).tolist()
    file.node("FILL", [file.known(filled), file.known(5)], filled)
    start, delta = int(rng.integers(-9, 9)), int(rng.choice([-3, -1, 1, 2]))
    limit = start + delta * int(rng.integers(1, 6))
    file.node(
        "RANGE",
        [file.known(start), file.known(limit), file.known(delta)],
        [len(range(start, limit, delta))],
        "RangeOptions",
    )
    return file


@pytest.mark.parametrize("seed", range(40))
def test_integers_are_those_of_tflite(seed: int) -> None:
    """Catches a value, an axis or a type that is not TFLite's, and an operator that stays in the network."""
    rng = np.random.default_rng([seed, 14])
    file = _each(rng)
    data = file.flat()
    graph = reader.parse(data)
    assert [op.kind for op in graph.operators] == ["RESHAPE"]
    oracle = Oracle(data)
    x = rng.integers(-128, 128, file.tensors[0].shape).astype(np.int8)
    np.testing.assert_array_equal(reference.run(graph, [x])[0], oracle.run([x])[0])
    for node in file.nodes[:-1]:
        (index,) = node.outputs
        expected = oracle.tensor(index)
        assert graph.tensors[index].values.dtype == expected.dtype
        np.testing.assert_array_equal(graph.tensors[index].values, expected, f"{node.kind} seed {seed}")


def test_an_open_batch_is_one() -> None:
    """Catches a network that is refused, or computed for another batch, because its file leaves the batch open; and
    signatures, metadata, tensors and buffers that nobody uses."""
    x, y = activation("x", (1, 4, 4, 2), 0.1), activation("y", (1, 32), 0.1)
    reshape = ops.Reshape(inputs=(0,), outputs=(1,))

    def change(model: Any) -> None:
        main = model.subgraphs[0]
        for tensor in main.tensors[:2]:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
            tensor.shape = tensor.shapeSignature
        unused = schema.TensorT()
        unused.shape, unused.type, unused.buffer = np.array([3, -1], np.int32), schema.TensorType.STRING, 99
        main.tensors.append(unused)
        metadata, signature, ends = schema.MetadataT(), schema.SignatureDefT(), schema.TensorMapT()
        metadata.name, metadata.buffer = "min_runtime_version", 1
        ends.name, ends.tensorIndex = "x", 0
        signature.inputs, signature.signatureKey = [ends], "serving_default"
        model.metadata, model.signatureDefs = [metadata], [signature]
        model.buffers.append(schema.BufferT())

    graph = reader.parse(changed(Graph("open", (x, y), (reshape,), (0,), (1,)), change))
    assert [graph.tensors[t].shape for t in (0, 1)] == [(1, 4, 4, 2), (1, 32)]


def _regrouped(x: tuple[int, ...], y: tuple[int, ...], change: Callable[[Any], None]) -> Graph:
    """RESHAPE, RELU, and a transpose of the first two axes, of a file that is changed."""
    shapes = (x, y, y, (y[1], y[0], *y[2:]))
    tensors = tuple(activation(name, shape, 0.1) for name, shape in zip("xyrt", shapes, strict=True))
    made = (
        ops.Reshape(inputs=(0,), outputs=(1,)),
        ops.Relu(inputs=(1,), outputs=(2,), location=1),
        ops.Transpose(inputs=(2,), outputs=(3,), location=2, permutation=(1, 0, 2, 3)),
    )
    return reader.parse(changed(Graph("regrouped", tensors, made, (0,), (3,)), change))


def test_two_open_sizes_are_what_the_operands_say() -> None:
    """Catches sizes of a converter's placeholder, as behind an upsampling in Keras by rows and columns."""

    def change(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors[1:4]:
            tensor.shapeSignature = np.array([-1, -1, *tensor.shape[2:]], np.int32)
            tensor.shape = np.array([1, 1, *tensor.shape[2:]], np.int32)

    graph = _regrouped((1, 4, 4, 2), (1, 2, 8, 2), change)
    assert [tensor.shape for tensor in graph.tensors[1:4]] == [(1, 2, 8, 2), (1, 2, 8, 2), (2, 1, 8, 2)]


def test_an_output_that_its_operands_contradict_is_refused() -> None:
    """Catches a reshape to what the tensor says where TFLite reshapes to what the operand says."""

    def change(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors[1:4]:
            tensor.shape = np.array([1, 8, 2, 2], np.int32)

    with pytest.raises(UnsupportedModelError, match=r"\[1, 8, 2, 2\] in the file but \[1, 2, 8, 2\] by its operands"):
        _regrouped((1, 4, 4, 2), (1, 2, 8, 2), change)


@pytest.mark.parametrize(
    ("kind", "inputs", "shape", "table", "message"),
    [
        ("FILL", [[1 << 20, 1 << 20], 1], (4,), "", r"1 elements do not fill \[1048576, 1048576\] as the output \[4\]"),
        ("RANGE", [0, 1 << 30, 1], (4,), "RangeOptions", r"1073741824 elements do not fill the output \[4\]"),
        ("RANGE", [0, 4, 0], (4,), "RangeOptions", "no three numbers, or the last is 0"),
        ("REDUCE_PROD", [[1, 2], [3]], (), "ReducerOptions", r"axes \[3\] of 1 dimensions"),
        ("GATHER", [[1, 2], [2]], (1,), "GatherOptions", r"indices \[2\] of an axis of 2"),
        ("PACK", [[1, 2], [2]], (2, 2), "PackOptions", r"shapes \[2\], \[1\] are not one"),
        ("MUL", [[1, 2], [2, 3, 4]], (2,), "MulOptions", "do not broadcast"),
        ("ADD", [[1, 2], [2, 3]], (3,), "AddOptions", r"the output is \[3\] in the file but \[2\] by its inputs"),
        ("CAST", [0.5], (), "CastOptions", "input .* is float32; int8 or bool is supported"),
        ("REDUCE_PROD", ["x", [0]], (), "ReducerOptions", "is computed or not an integer; a constant is supported"),
    ],
)
def test_what_is_not_known_is_refused(kind: str, inputs: list[Any], shape: Any, table: str, message: str) -> None:
    """Catches gigabytes filled for a file of a few bytes, and a traceback of numpy for what does not fit."""
    file = _File((1, 4))
    given = [
        0 if value == "x" else file.known(value, DType.FLOAT32 if isinstance(value, float) else DType.INT32)
        for value in inputs
    ]
    file.node(kind, given, shape, table)
    with pytest.raises(UnsupportedModelError, match=message):
        reader.parse(file.flat())


def test_an_output_that_is_known_is_refused() -> None:
    """Catches a network of which nothing is left to run, and a message that blames the file."""
    file = _File((1, 4))
    file.shape()
    with pytest.raises(UnsupportedModelError, match="output 't1' is a constant, whatever the inputs are"):
        reader.parse(file_of(file.tensors, file.nodes, [0], [1]))
