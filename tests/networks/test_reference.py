"""The executor against TFLite's own reference kernels, operator by operator and on whole models."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from cases_helpers import case_of
from networks_helpers import CASES, inputs, island
from tensors_helpers import activation, constant, single
from tflite_helpers import oracle_of

from memaopt.networks import checks, reference
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import reader as tflite
from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType
from memaopt.networks.operators.floating import Floating, FloatOnly
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.unary import Unary
from memaopt.networks.simplify import simplify

pytest.importorskip("ai_edge_litert")

SEEDS = int(os.environ.get("MEMAOPT_REFERENCE_SEEDS", "40"))


@pytest.mark.parametrize("kind", CASES)
def test_operator_equals_tflite(kind: str) -> None:
    """Catches a wrong rounding, clamp, window, multiplier or table in any kernel: bit for bit, on random shapes,
    attributes and quantisation, with random and extreme inputs."""
    for seed in range(SEEDS):
        graph, rng = case_of(kind, seed)
        checks.check(graph)
        data = writer.write(graph)
        read = tflite.parse(data, kind)
        oracle = oracle_of(graph)
        for value in inputs(rng, graph):
            expected = oracle.run(value)[0]
            for network in (graph, read):
                actual = reference.run(network, value)[0]
                assert actual.dtype == expected.dtype
                np.testing.assert_array_equal(actual, expected, f"{kind} seed {seed}: {network.operators[0]!r}")


def test_a_scalar_is_padded_to_itself() -> None:
    """Catches PAD of a tensor without dimensions, which numpy's refuses."""
    graph = single(ops.Pad, [activation("x", (), 0.1, 3), activation("y", (), 0.1, 3)], 1, paddings=())
    assert reference.run(graph, [np.array(7, np.int8)])[0] == 7


def _real_models() -> list[Path]:
    folder = os.environ.get("MEMAOPT_MODELS")
    return sorted(Path(folder).glob("*.tflite")) if folder else []


@pytest.mark.skipif(not _real_models(), reason="MEMAOPT_MODELS is not set")
@pytest.mark.parametrize("path", _real_models(), ids=lambda p: p.stem)
def test_real_model_equals_tflite_on_every_layer(path: Path) -> None:
    """Catches anything that only shows in trained weights and whole networks: every layer, 20 inputs."""
    graph = Model.read(path).graph
    oracle = Oracle(path.read_bytes())
    rng = np.random.default_rng(1)
    shape = graph.tensors[graph.inputs[0]].shape
    more = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(14)]
    for values in [*inputs(rng, graph), *more]:
        oracle.run(values)
        for op, actual in reference.layers(graph, values):
            np.testing.assert_array_equal(actual, oracle.tensor(op.output), f"{path.stem}: {graph.place(op)}")


EVERY = np.arange(-128, 128).astype(np.int8)
INT8 = tuple(
    k
    for k, cls in OPERATORS.items()
    if issubclass(cls, Unary) and DType.INT8 in cls.dtypes and not issubclass(cls, FloatOnly)
)
TABLES = (*INT8, "DEQUANTIZE")
FLOATING = tuple(k for k, cls in OPERATORS.items() if issubclass(cls, Floating) and k not in ("LOG", "RSQRT"))


@pytest.mark.parametrize("kind", TABLES)
def test_unary_operator_equals_tflite_on_all_256_inputs(kind: str) -> None:
    """Catches an entry of a table, or a tie, that random inputs miss."""
    for seed in range(SEEDS):
        graph = CASES[kind](np.random.default_rng([seed, 256]))
        x, y = (dataclasses.replace(tensor, shape=(256,)) for tensor in graph.tensors)
        if x.dtype is DType.FLOAT32:
            continue
        graph = graph.replace(tensors=[x, y])
        every = [EVERY.view(x.dtype.value)]
        expected = oracle_of(graph).run(every)[0]
        np.testing.assert_array_equal(reference.run(graph, every)[0], expected, f"{kind} seed {seed}")


@pytest.mark.parametrize("kind", FLOATING)
def test_floats_that_int8_decides_equal_tflite_on_all_256_inputs(kind: str) -> None:
    """Catches a function of floats that is not TFLite's, and a table of it that is not what it stands for."""
    for seed in range(max(SEEDS // 4, 1)):
        graph = island(OPERATORS[kind])(np.random.default_rng([seed, 257]))
        graph = graph.replace(tensors=[dataclasses.replace(tensor, shape=(256,)) for tensor in graph.tensors])
        expected = oracle_of(graph).run([EVERY])[0]
        simple = simplify.simplify(graph).graph
        assert {op.kind for op in simple.operators} <= {"LOOKUP", "FLOAT_LOOKUP"}
        for network in (graph, simple):
            np.testing.assert_array_equal(reference.run(network, [EVERY])[0], expected, f"{kind} seed {seed}")


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "SQUARED_DIFFERENCE"])
def test_binary_operator_equals_tflite_on_all_65536_pairs(kind: str) -> None:
    """Catches a rounding that shows in one pair of inputs among thousands."""
    pair = [EVERY.reshape(256, 1), EVERY.reshape(1, 256)]
    for seed in range(max(SEEDS // 4, 1)):
        graph = CASES[kind](np.random.default_rng([seed, 65536]))
        shapes = ((256, 1), (1, 256), (256, 256))
        tensors = [dataclasses.replace(t, shape=s) for t, s in zip(graph.tensors, shapes, strict=True)]
        graph = graph.replace(tensors=tensors)
        expected = Oracle(writer.write(graph)).run(pair)[0]
        np.testing.assert_array_equal(reference.run(graph, pair)[0], expected, f"{kind} seed {seed}")


@pytest.mark.parametrize("kind", ["FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("power", [0, -1, -2, -3])
def test_ties_round_as_in_tflite(kind: str, power: int) -> None:
    """Catches one rounding where two are due, and ties in the wrong direction: weights of zero leave the biases
    -120 .. 119 as accumulators, rescaled by a power of two."""
    count = 240
    bias = constant("bias", np.arange(-120, 120).astype(np.int32), np.array([0.5 * 2.0**power]))
    shape = {"FULLY_CONNECTED": (count, 1), "CONV_2D": (count, 1, 1, 1), "DEPTHWISE_CONV_2D": (1, 1, 1, count)}[kind]
    weights = constant("weights", np.zeros(shape, np.int8), np.array([2.0**power]))
    lead = (1,) * (len(shape) - 1)
    x, y = activation("x", (*lead, 1), 0.5, 0), activation("y", (*lead, count), 0.5, 0)
    graph = single(OPERATORS[kind], [x, weights, bias, y], 1)
    values = [np.zeros(x.shape, np.int8)]
    expected = Oracle(writer.write(graph)).run(values)[0]
    np.testing.assert_array_equal(reference.run(graph, values)[0], expected)
    if power == -1:
        # -1 * 0.5: rounded once it goes away from zero, in the high multiplication of convolutions up
        assert expected.reshape(-1)[119] == (-1 if kind == "FULLY_CONNECTED" else 0)
