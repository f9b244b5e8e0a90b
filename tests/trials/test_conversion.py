"""Float networks made int8: each operator alone, whole networks, and what is refused."""

from __future__ import annotations

import copy
import functools
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks_helpers import CASES, activation, constant, single
from tflite_helpers import changed, made_float, schema

from memaopt.cli.main import main
from memaopt.errors import InputError, UnsupportedModelError
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.posttraining.quantise import quantised
from memaopt.networks.posttraining.rules import SUPPORTED
from memaopt.trials.conversion import convert

_KINDS = tuple(kind for kind in CASES if kind in SUPPORTED)
_POSITIVE = ("LOG", "SQRT", "RSQRT")
"""What is not defined at 0 and below."""


def _quantised(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    return np.clip(np.rint(values / tensor.scale) + tensor.zero_point, -128, 127).astype(np.int8)


@pytest.mark.parametrize("kind", _KINDS)
def test_an_operator_in_int8_is_near_its_floats(kind: str) -> None:
    """Catches a scale, an axis of weights, a bias or a rule that is wrong: outputs then are far off, not by steps."""
    for seed in range(5):
        rng = np.random.default_rng([zlib.crc32(kind.encode()), seed, 4])
        graph = CASES[kind](rng)
        data, low = changed(graph, made_float), 0.05 if kind in _POSITIVE else -2
        shapes = [graph.tensors[i].shape for i in graph.inputs]
        samples = [[rng.uniform(low, 2, shape).astype(np.float32) for shape in shapes] for _ in range(5)]
        made = quantised(data, kind, samples)
        if kind == "SUM" and reader.examine(made, kind).refusals:
            continue  # its scale happens to be the input's
        read = reader.parse(made, kind)
        oracle, written = Oracle.of_floats(data), read.tensors[read.outputs[0]]
        for sample in samples:
            wanted = oracle.run(sample)[0]
            given = [_quantised(value, read.tensors[i]) for value, i in zip(sample, read.inputs, strict=True)]
            got = reference.run(read, given)[0]
            if written.dtype is DType.INT8:
                real = float(written.scale) * (got.astype(np.float64) - written.zero_point)
                assert np.abs(real - wanted).max() <= 0.1 * 255 * float(written.scale), f"{kind} seed {seed}"


def _network(rng: np.random.Generator) -> Graph:
    """A convolution, a SOFTMAX that is concatenated with what has another range, and a matrix product."""
    one = np.ones(1) * 0.01
    weights = rng.integers(-127, 128, (4, 3, 3, 2)).astype(np.int8)
    tensors = (
        activation("x", (1, 6, 6, 2), 0.02, 0),
        constant("weights", weights, one),
        constant("bias", rng.integers(-900, 900, 4).astype(np.int32), one * 0.02),
        activation("a", (1, 4, 4, 4), 0.1, 0),
        activation("b", (1, 4, 4, 4), 1 / 256, -128),
        activation("c", (1, 4, 4, 8), 0.1, 0),
        constant("weights2", rng.integers(-127, 128, (5, 128)).astype(np.int8), one),
        activation("y", (1, 5), 0.1, 0),
    )
    operators = (
        ops.Conv2D(inputs=(0, 1, 2), outputs=(3,)),
        ops.Softmax(inputs=(3,), outputs=(4,), location=1),
        ops.Concatenation(inputs=(3, 4), outputs=(5,), axis=3, location=2),
        ops.FullyConnected(inputs=(5, 6), outputs=(7,), location=3),
    )
    return Graph("mixed", tensors, operators, (0,), (7,))


def test_a_network_through_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a scale that is given and shared with another range, a loss that is not measured, and a file that the
    reader does not take."""
    rng = np.random.default_rng(2)
    graph = _network(rng)
    float_file, data, out = tmp_path / "f.tflite", tmp_path / "d.npz", tmp_path / "q.tflite"
    float_file.write_bytes(changed(graph, made_float))
    x = rng.normal(0, 1, (24, 6, 6, 2)).astype(np.float32)
    labels = [int(Oracle(float_file.read_bytes()).run([s[None]])[0].argmax()) for s in x]
    np.savez(data, x=x, y=np.array(labels))
    with pytest.raises(SystemExit) as ended:
        main(["convert", str(float_file), "--data", str(data), "--out", str(out), "--json"])
    assert ended.value.code in (0, None)
    loss = json.loads(capsys.readouterr().out)
    assert loss["samples"] == 24
    assert 0 < loss["outputs"][0]["rms"] < 0.05 * loss["outputs"][0]["signal"]
    assert loss["accuracy"][0] == 1
    assert loss["accuracy"][1] >= 0.9
    assert [op.kind for op in reader.parse(out.read_bytes()).operators] == [
        "CONV_2D",
        "SOFTMAX",
        "QUANTIZE",
        "CONCATENATION",
        "FULLY_CONNECTED",
    ]


def test_what_cannot_be_converted_is_one_line(tmp_path: Path) -> None:
    """Catches a network that is int8 already, an operator without a rule, samples of another size, and no way told."""
    rng = np.random.default_rng(3)
    graph, samples = _network(rng), tmp_path / "d.npy"
    np.save(samples, np.ones((2, 6, 6, 2), np.float32))
    file = tmp_path / "m.tflite"
    file.write_bytes(changed(graph, lambda model: None))
    with pytest.raises(InputError, match="is int8 already: hand it to `memaopt solve`"):
        convert(file, samples)
    file.write_bytes(changed(graph, made_float))
    with pytest.raises(UnsupportedModelError, match="memaopt convert"):
        reader.parse(file.read_bytes())
    np.save(samples, np.ones((2, 5, 6, 2), np.float32))
    with pytest.raises(InputError, match="its samples are 5x6x2"):
        convert(file, samples)
    np.save(samples, np.full((2, 6, 6, 2), np.inf, np.float32))
    with pytest.raises(InputError, match="not finite"):
        convert(file, samples)
    tensors = [activation("x", (1, 4), 0.1, 0), activation("y", (1, 4), 0.1, 0)]
    file.write_bytes(changed(single(OPERATORS["SIN"], tensors, 1), made_float))
    np.save(samples, np.ones((2, 4), np.float32))
    with pytest.raises(UnsupportedModelError, match="SIN"):
        convert(file, samples)


def _halved(model: Any) -> None:
    """Weights are float16, behind a DEQUANTIZE, as converters write them."""
    made_float(model)
    graph, types = model.subgraphs[0], schema.TensorType
    index = next(i for i, tensor in enumerate(graph.tensors) if tensor.name == b"weights2")
    stored = copy.deepcopy(graph.tensors[index])
    values = np.array(model.buffers[stored.buffer].data, np.uint8).view("<f4").astype("<f2")
    model.buffers[stored.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    stored.type, graph.tensors[index].buffer = types.FLOAT16, 0
    graph.tensors.append(stored)
    code = copy.deepcopy(model.operatorCodes[0])
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs = len(model.operatorCodes) - 1, [len(graph.tensors) - 1]
    operator.outputs = [index]
    graph.operators.insert(0, operator)


def test_weights_of_float16_and_of_a_dynamic_range() -> None:
    """Catches weights that are read as another type, and those of eight bits that are rounded a second time."""
    rng = np.random.default_rng(2)
    graph = _network(rng)
    samples = [[rng.normal(0, 1, (1, 6, 6, 2)).astype(np.float32)] for _ in range(8)]
    whole = reader.parse(quantised(changed(graph, made_float), "whole", samples))
    halves = reader.parse(quantised(changed(graph, _halved), "halves", samples))
    dynamic = changed(graph, functools.partial(made_float, but=b"weights2"))
    kept = reader.parse(quantised(dynamic, "dynamic", samples))
    weights = [network.tensors[network.operators[-1].inputs[1]] for network in (whole, halves, kept)]
    assert np.abs(weights[0].values.astype(int) - weights[1].values).max() <= 1
    np.testing.assert_array_equal(weights[2].values, graph.tensors[6].values)
    np.testing.assert_array_equal(weights[2].scales, graph.tensors[6].scales)
