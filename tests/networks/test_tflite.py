"""Reading .tflite: what is refused, in which words, and that no file costs more than the limits allow."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks_helpers import CASES
from tensors_helpers import activation, single
from tflite_helpers import changed, put

from memaopt.certificates.network import certify
from memaopt.choice.compile import compile_network
from memaopt.errors import InputError, UnsupportedModelError
from memaopt.machines.mcu import mcu
from memaopt.networks import limits, reference
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import enumerations, flatbuffer, writer
from memaopt.networks.formats.tflite import reader as tflite
from memaopt.networks.formats.tflite import schema as tflite_schema
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def conv() -> Graph:
    return CASES["CONV_2D"](np.random.default_rng(0))


def add() -> Graph:
    shape = (1, 4)
    return single(ops.Add, [activation(n, shape, 0.1) for n in "aby"], 2)


def custom(model: Any) -> None:
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, "Evil\nop"


def sparse(model: Any) -> None:
    model.subgraphs[0].tensors[0].sparsity = schema.SparsityParametersT()


def cycle(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = [0, 2]


def twice(model: Any) -> None:
    model.subgraphs[0].operators.append(model.subgraphs[0].operators[0])


def backwards(model: Any) -> None:
    """Two operators, each of which reads what the other writes."""
    graph = model.subgraphs[0]
    second = schema.OperatorT()
    second.opcodeIndex, second.builtinOptionsType = 0, graph.operators[0].builtinOptionsType
    second.builtinOptions = graph.operators[0].builtinOptions
    graph.tensors.append(graph.tensors[0])
    second.inputs, second.outputs = [2, 0], [3]
    graph.operators[0].inputs = [0, 3]
    graph.operators.append(second)


TENSOR, OPERATOR = "subgraphs[0].tensors", "subgraphs[0].operators[0]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("version", 2), "schema version 2; 3 is supported"),
        (put("subgraphs", []), "has 0 subgraphs; one"),
        (put("operatorCodes[0].builtinCode", 24), "operator 0 of 1 is RNN, which is not supported; supported are A"),
        (put("operatorCodes[0].builtinCode", 132), "CONV_3D, which is not supported; neither LiteRT nor TFLite Micro"),
        (put("operatorCodes[0].builtinCode", 9999), "operator 0 of 1 is code 9999, which is not supported"),
        (custom, r"operator 0 of 1 is CUSTOM Evil op, which is not supported"),
        (put(f"{OPERATOR}.opcodeIndex", 5), "operator 0 of 1 has code 5 of 1"),
        (put(f"{OPERATOR}.inputs", [0, 7]), "tensor 7 of 3 is used"),
        (put(f"{OPERATOR}.inputs", [0, -2]), "tensor -2 of 3 is used"),
        (put(f"{OPERATOR}.inputs", [0, -1]), r"operator 0 of 1 \(ADD\): input 1 is missing"),
        (put(f"{OPERATOR}.inputs", [0]), r"operator 0 of 1 \(ADD\): 1 inputs and 1 outputs; 2 and one are supported"),
        (put(f"{OPERATOR}.outputs", [-1]), "an output is missing"),
        (put(f"{OPERATOR}.builtinOptionsType", 1), "its options are Conv2DOptions, not AddOptions"),
        (put(f"{OPERATOR}.builtinOptions.fusedActivationFunction", 4), "fused activation TANH; NONE, RELU, RELU_N1"),
        (put("subgraphs[0].inputs", [9]), "tensor 9 of 3 is used"),
        (put("subgraphs[0].inputs", []), "has no input"),
        (put("subgraphs[0].outputs", []), "has no output"),
        (put("subgraphs[0].inputs", [0, 0]), "the same input twice"),
        (put("subgraphs[0].outputs", [-1]), "has output -1"),
        (put(f"{TENSOR}[0].buffer", 99), r"tensor 0 \('a'\) is in buffer 99 of 4"),
        (put(f"{TENSOR}[0].shape", [1, -4]), r"shape \[1, -4\]"),
        (put(f"{TENSOR}[0].shape", [1, 0]), r"shape \[1, 0\]"),
        (put(f"{TENSOR}[0].shape", [1] * 7), "up to 6 dimensions"),
        (put(f"{TENSOR}[0].shape", [1] * 65), "has 65 elements, more than the 64 allowed"),
        (put(f"{TENSOR}[0].shape", [2**31 - 1, 2**31 - 1]), "at most 8,388,608 are supported"),
        (put(f"{TENSOR}[0].shape", [3, 4]), r"the output is \[1, 4\] in the file but \[3, 4\] by its inputs"),
        (put(f"{TENSOR}[0].shape", [1, 5]), r"shapes \[1, 5\] and \[1, 4\] do not broadcast"),
        (put(f"{TENSOR}[0].type", 3), r"operator 0 \(ADD\): input 'a' is uint8; int8 is supported"),
        (put(f"{TENSOR}[0].type", 100), r"tensor 0 \('a'\) is type 100, which is not supported"),
        (put(f"{TENSOR}[0].type", 2), r"operator 0 \(ADD\): input 'a' is int32; int8 is supported"),
        (put(f"{TENSOR}[0].type", 0), "input 'a' is float32; int8 is supported"),
        (put(f"{TENSOR}[0].isVariable", True), "has a state that it keeps"),
        (sparse, "sparse or stored outside"),
        (put(f"{TENSOR}[0].name", "x" * 70000), "has 70000 elements, more than the 65536"),
        (put(f"{TENSOR}[0].quantization", None), "'a' has 0 scales; activations need exactly one"),
        (put(f"{TENSOR}[0].quantization.scale", [0.0]), "a scale of 'a' is not a positive number"),
        (put(f"{TENSOR}[0].quantization.scale", [float("nan")]), "a scale of 'a' is not a positive number"),
        (put(f"{TENSOR}[0].quantization.scale", [1e30]), r"ratio of scales 1\.9.*e\+25 is out of range; at most 2\^30"),
        (put(f"{TENSOR}[0].quantization.scale", [0.1, 0.2]), "has 2 scales; activations need exactly one"),
        (put(f"{TENSOR}[0].quantization.zeroPoint", [128]), "zero point 128 of 'a' is not int8"),
        (put(f"{TENSOR}[0].quantization.zeroPoint", [1, 2, 3]), "1 scales and 3 zero points"),
        (cycle, "reads tensor 'y' before anything writes it"),
        (backwards, "before anything writes it"),
        (twice, "writes tensor 'y', which is written already"),
        (put("buffers[1].offset", 4096), "stored behind the model"),
    ],
)
def test_refusals(change: Callable[[Any], None], message: str) -> None:
    """Catches a hostile or foreign file that gets through, or an error that does not say what and where."""
    with pytest.raises(InputError, match=message) as caught:
        tflite.parse(changed(add(), change), "net.tflite")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(f"{OPERATOR}.builtinOptions.strideH", 0), "must be positive"),
        (put(f"{OPERATOR}.builtinOptions.dilationWFactor", 2**31 - 1), "1 to 32767 is supported|output would"),
        (put(f"{OPERATOR}.builtinOptions.padding", 7), "padding 7; SAME and VALID are supported"),
        (put(f"{OPERATOR}.builtinOptions", None), "its Conv2DOptions are missing"),
        (put(f"{TENSOR}[1].quantization.quantizedDimension", 2), "scales on axis 2; one, or"),
        (put(f"{TENSOR}[1].quantization.zeroPoint", [1]), "a zero point other than 0"),
        (put(f"{TENSOR}[1].buffer", 0), "reads tensor 'weights' before anything writes it"),
        (put(f"{TENSOR}[2].buffer", 0), "reads tensor 'bias' before anything writes it"),
        (put(f"{TENSOR}[2].type", 4), "needs .* bytes and has"),
        (put("buffers[2].data", np.zeros(3, np.uint8)), "needs .* bytes and has 3"),
    ],
)
def test_refusals_of_a_convolution(change: Callable[[Any], None], message: str) -> None:
    graph = next(g for g in map(CASES["CONV_2D"], map(np.random.default_rng, range(9))) if g.tensors[1].is_per_channel)
    with pytest.raises(InputError, match=message) as caught:
        tflite.parse(changed(graph, change), "net.tflite")
    assert "\n" not in str(caught.value)


def test_accumulators_that_overflow_are_refused() -> None:
    """Catches arithmetic that TFLite leaves undefined: a bias next to 2^31."""
    graph = conv()
    bias = graph.tensors[2]
    big = Tensor(bias.name, bias.shape, DType.INT32, data=np.full(bias.shape, 2**31 - 1, np.int32))
    data = writer.write(graph.replace(tensors=[*graph.tensors[:2], big, graph.tensors[3]]))
    with pytest.raises(UnsupportedModelError, match=r"operator 0 \(CONV_2D\): an accumulator can reach .* 32 bits"):
        tflite.parse(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a .tflite file: it has 0 bytes"),
        (b"hello world, this is text", "is not a .tflite file"),
        (b"\x00\x00\x00\x00TFL3", "the root has an offset of zero"),
        (b"\xff\xff\xff\xffTFL3", "the root needs bytes"),
        (b"\x08\x00\x00\x00TFL3\xff\xff\xff\x7f", "needs bytes -"),
        (b"\x08\x00\x00\x00TFL3" + b"\x00" * 8, "has a vtable of 0 bytes"),
    ],
)
def test_bytes_that_are_no_file(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tflite.parse(data, "net.tflite")


def test_paths(tmp_path: Path) -> None:
    """Catches a traceback for a file that is missing, a folder or too big."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Model.read(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="cannot be read"):
        Model.read(tmp_path)
    big = tmp_path / "big.tflite"
    with big.open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match="more than 67,108,864 bytes"):
        Model.read(big)


def test_bytes_digest_and_network_are_of_one_read(tmp_path: Path) -> None:
    """Catches a digest, or a copy beside the certificate, of other bytes than were compiled: files change."""
    path = tmp_path / "net.tflite"
    path.write_bytes(writer.write(conv()))
    before = path.read_bytes()
    plan = compile_network(path, mcu("stm32l4r5"))
    path.write_bytes(writer.write(add()))
    assert plan.model is not None
    assert plan.model.data == before
    assert certify(plan).model_sha256 == plan.model.sha256 == hashlib.sha256(before).hexdigest()


class Shared:
    """Packs its object once and then refers to it again."""

    def __init__(self, item: Any) -> None:
        self.item, self.offset = item, 0

    def Pack(self, builder: Any) -> int:  # noqa: N802
        self.offset = self.offset or self.item.Pack(builder)
        return self.offset


@pytest.mark.parametrize("used", [True, False])
def test_shared_objects_do_not_multiply_work(used: bool) -> None:
    """Catches amplification: thousands of tensors (and a thousand operators) that share one table and its vectors."""
    channels = limits.MAX_CHANNELS
    scales = np.ones(channels, np.float32)
    weights = Tensor(
        "w", (channels, 1), DType.INT8, scales, np.zeros(channels, np.int64), 0, np.ones((channels, 1), np.int8)
    )
    x, y = activation("x", (1, 1), 0.1), activation("y", (1, channels), 0.1)
    graph = Graph("shared", (x, weights, y), (ops.FullyConnected(inputs=(0, 1), outputs=(2,)),), (0,), (2,))

    def alias(model: Any) -> None:
        main = model.subgraphs[0]
        tensors = [Shared(tensor) for tensor in main.tensors]
        count = limits.MAX_OPERATORS - 1
        main.tensors = [*tensors, *[tensors[1]] * count, *[tensors[2]] * count]
        main.tensors += [tensors[1]] * (limits.MAX_ENTRIES - len(main.tensors))
        for i in range(count if used else 0):
            operator = schema.OperatorT()
            operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 3 + i], [3 + count + i]
            main.operators.append(operator)

    data = changed(graph, alias)
    assert len(data) < 2 << 20
    tracemalloc.start()
    started = time.monotonic()
    try:
        tflite.parse(data)
    except UnsupportedModelError as error:
        outcome = str(error)
    else:
        outcome = "accepted"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - started < 10
    assert peak < 1 << 30
    assert outcome == "accepted" if not used else "constants take more than" in outcome


def test_too_many_entries() -> None:
    def grow(model: Any) -> None:
        model.subgraphs[0].operators *= limits.MAX_OPERATORS + 1

    with pytest.raises(InputError, match=r"has 1025 elements, more than the 1024 allowed"):
        tflite.parse(changed(add(), grow), "net.tflite")


def test_work_is_limited() -> None:
    """Catches a file of a few bytes that asks for an hour of multiplications."""
    graph = single(
        ops.MaxPool2D,
        [activation("x", (1, 2048, 2048, 1), 0.1), activation("y", (1, 2048, 2048, 1), 0.1)],
        1,
        kernel=ops.Size2D(1025, 1025),
        padding=ops.Padding2D(512, 512, 512, 512),
    )
    with pytest.raises(UnsupportedModelError, match="multiply-accumulates so far"):
        tflite.parse(writer.write(graph))


def test_defaults_of_absent_options() -> None:
    """Catches a refusal of ADD without options, which means no activation."""
    data = changed(
        add(),
        lambda model: (put(f"{OPERATOR}.builtinOptions", None)(model), put(f"{OPERATOR}.builtinOptionsType", 0)(model)),
    )
    op = tflite.parse(data).operators[0]
    assert isinstance(op, ops.Add)
    assert op.activation is ops.Activation.NONE


#: What struct calls the numbers of flatbuffers.
FORMATS = {
    "Int8": "b", "Uint8": "B", "Bool": "?", "Int32": "i", "Uint32": "I", "Float32": "f", "Int64": "q", "Uint64": "Q",
}  # fmt: skip


def test_described_slots_are_those_of_the_accessors() -> None:
    """Catches a slot, name, format or default in our description that is not what flatc's accessor reads."""
    text = Path(schema.__file__).read_text()
    classes = {part.split("(")[0]: part for part in text.split("\nclass ")[1:]}

    def visit(table: flatbuffer.Table) -> None:
        read: dict[int, tuple[str, str, int]] = {}
        for body in re.split(r"\n    def ", classes[table.name])[1:]:
            slot = re.search(r"Offset\((\d+)\)", body)
            kind = re.search(r"self\._tab\.Get\(flatbuffers\.number_types\.(\w+)Flags, (?:o|a)", body)
            ends = re.findall(r"return (-?[\d.]+|False|True)$", body.split("\n    #")[0].rstrip(), re.MULTILINE)
            if slot and kind and not body.startswith("_"):
                default = {"False": 0, "True": 1}.get(ends[-1], ends[-1])
                read[(int(slot[1]) - 4) // 2] = (body.split("(")[0], FORMATS[kind[1]], int(float(default)))
        for slot, field in table.fields.items():
            if slot in read and field.name:
                name, format_, default = read[slot]
                assert name.lower() == field.name.replace("_", "").lower(), (table.name, slot)
                if isinstance(field, flatbuffer.Scalar):
                    # Options have no bools of their own: a byte is one.
                    assert field.format in (format_, "b" if format_ == "?" else format_), (table.name, field.name)
                    assert field.default == default, (table.name, field.name)
                elif isinstance(field, flatbuffer.Vector):
                    assert field.format == format_, (table.name, field.name)
            if isinstance(field, flatbuffer.Tables | flatbuffer.Child):
                visit(field.table)
        if table.union is not None:
            for kind, inner in table.union[1].items():
                assert getattr(schema.BuiltinOptions, inner.name) == kind
                visit(inner)

    visit(tflite_schema.MODEL)


def test_enumerations_are_those_of_the_schema() -> None:
    """Catches a number that has another name in TFLite."""
    ours = {"BuiltinOperator": enumerations.BUILTIN_OPERATORS, **enumerations.ENUMERATIONS}
    for name, members in ours.items():
        for number, member in enumerate(members):
            assert getattr(getattr(schema, name), member) == number, (name, member)


@pytest.mark.parametrize("kind", CASES)
def test_the_writers_bytes_are_those_of_the_accessors(kind: str) -> None:
    """Catches a field in another order or place than flatc's own code writes it: files would change with us."""
    data = writer.write(CASES[kind](np.random.default_rng(5)))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert bytes(builder.Output()) == data


def test_a_file_is_read_without_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches ai-edge-litert, or anything but the base install, needed to read or write a file."""
    for name in ("ai_edge_litert", "ai_edge_litert.schema_py_generated", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    graph = CASES["ADD"](np.random.default_rng(0))
    assert tflite.parse(writer.write(graph)).operators[0].kind == "ADD"


@pytest.mark.parametrize("kind", CASES)
def test_attributes_survive_writing_and_reading(kind: str) -> None:
    """Catches an attribute that the writer or the reader loses or changes."""
    for seed in range(20):
        graph = CASES[kind](np.random.default_rng([seed, 3]))
        read = tflite.parse(writer.write(graph))
        a, b = graph.operators[0], read.operators[0]
        if isinstance(a, ops.StridedSlice):  # a slice of one element may have any step
            slices = tuple(s._replace(step=1) if s.length == 1 else s for s in a.slices)
            a = a.model_copy(update={"slices": slices})
        if isinstance(a, ops.LeakyRelu | ops.Softmax):
            name = "alpha" if isinstance(a, ops.LeakyRelu) else "beta"
            a = a.model_copy(update={name: float(np.float32(getattr(a, name)))})
        assert a == b
        assert [t.shape for t in graph.tensors] == [t.shape for t in read.tensors[: len(graph.tensors)]]


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_weights_of_four_bits_are_unpacked(kind: str) -> None:
    """Catches halves of bytes in the other order, without their sign, or one more than there are."""
    for seed in range(6):
        rng = np.random.default_rng([4, seed])
        graph = CASES[kind](rng)
        (op,) = graph.operators
        small = np.clip(graph.tensors[op.inputs[1]].values, -8, 7)
        tensors = list(graph.tensors)
        tensors[op.inputs[1]] = dataclasses.replace(tensors[op.inputs[1]], data=small)
        graph = graph.replace(tensors=tensors)

        def pack(model: Any, index: int = op.inputs[1], values: Any = small) -> None:
            tensor = model.subgraphs[0].tensors[index]
            tensor.type = 17
            flat = np.resize(values.reshape(-1) & 15, values.size + values.size % 2).astype(np.uint8)
            model.buffers[tensor.buffer].data = flat[::2] | flat[1::2] << 4
            model.operatorCodes[0].version = 6 if kind == "DEPTHWISE_CONV_2D" else 7

        data = changed(graph, pack)
        read = tflite.parse(data)
        np.testing.assert_array_equal(read.tensors[op.inputs[1]].values, small)
        x = rng.integers(-128, 128, graph.tensors[0].shape).astype(np.int8)
        expected = Oracle(data).run([x])[0]
        np.testing.assert_array_equal(reference.run(read, [x])[0], expected)
