"""uint8 throughout, the older scheme, against LiteRT: operators alone, and a network built and run on the board."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from network_helpers import MCU, Library
from networks_helpers import CASES, inputs
from tensors_helpers import activation, constant, int8, single
from tflite_helpers import changed, made_unsigned

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.formats.tflite.unsigned import REFUSED
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Padding2D, Size2D
from memaopt.networks.simplify.simplify import simplify
from memaopt.trials import library
from memaopt.trials import network as network_trial

_SINCE_INT8 = ("CEIL", "ROUND")
"""Of floats behind DEQUANTIZE alone; LiteRT's reference kernels have none."""
_KINDS = tuple(kind for kind in CASES if kind not in REFUSED and kind not in _SINCE_INT8)
_SEEDS = 6


def _values(rng: np.random.Generator, graph: Graph) -> list[np.ndarray]:
    return [int8(rng, *graph.tensors[i].shape).view(graph.tensors[i].dtype.value) for i in graph.inputs]


@pytest.mark.parametrize("kind", _KINDS)
def test_an_operator_of_uint8_equals_tflite(kind: str) -> None:
    """Catches a kernel of uint8 that does not do what that of int8 does, as read and simplified; zero points of
    weights that are added, or lost where nine bits become two weights."""
    base, found = zlib.crc32(kind.encode()), 0
    for seed in range(_SEEDS):
        rng = np.random.default_rng([base, seed, 8])
        graph = CASES[kind](rng)
        if any(tensor.is_per_channel for tensor in graph.tensors):
            continue  # the older scheme has one scale for each tensor
        data = changed(graph, made_unsigned(rng))
        oracle, read = Oracle(data), reader.parse(data, kind)
        for network in (read, simplify(read).graph):
            values = next(inputs(rng, read))
            for output, expected in zip(reference.run(network, values), oracle.run(values), strict=True):
                assert output.dtype == expected.dtype
                np.testing.assert_array_equal(output, expected, f"{kind} seed {seed}")
        found += 1
    assert found


@pytest.mark.parametrize("kind", sorted(REFUSED & {*CASES}))
def test_what_no_kernel_computes_is_refused(kind: str) -> None:
    """Catches an operator of uint8 that is computed as of int8, where LiteRT does something else or nothing."""
    rng = np.random.default_rng(5)
    with pytest.raises(UnsupportedModelError, match="uint8 is not supported"):
        reader.parse(changed(CASES[kind](rng), made_unsigned(rng)))


def test_parts_of_other_scales_are_concatenated() -> None:
    """Catches a part that is copied as it is, or rescaled in integers."""
    rng = np.random.default_rng(6)
    for seed in range(20):
        scales, points = np.exp(rng.uniform(-4, 1, 3)), rng.integers(-128, 128, 3)
        shapes = ((1, 3, 5), (1, 3, 40), (1, 3, 45))
        tensors = [activation(f"t{i}", shapes[i], float(scales[i]), int(points[i])) for i in range(3)]
        data = changed(single(ops.Concatenation, tensors, 2, axis=2), made_unsigned(rng))
        read = reader.parse(data)
        values = _values(rng, read)
        np.testing.assert_array_equal(reference.run(read, values)[0], Oracle(data).run(values)[0], f"seed {seed}")


@pytest.mark.slow
def test_a_network_of_uint8_runs_as_promised(tmp_path: Path) -> None:
    """Catches ends that are not uint8_t, ties of a mean that go down, and nine bits in a kernel of eight."""
    rng = np.random.default_rng(8)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0, 60, shape).clip(-127, 127).astype(np.int8)

    one = np.ones(1)
    tensors = (
        activation("x", (1, 9, 9, 3), 0.05, -3),
        constant("weights", weights(8, 3, 3, 3), one * 0.01),
        constant("bias", rng.integers(-900, 900, 8).astype(np.int32), one * 0.0005),
        activation("a", (1, 9, 9, 8), 0.1, -128),
        constant("weights", weights(1, 3, 3, 8), one * 0.01, 3),
        constant("bias", rng.integers(-900, 900, 8).astype(np.int32), one * 0.001),
        activation("b", (1, 5, 5, 8), 0.12, -128),
        activation("c", (1, 2, 2, 8), 0.12, -128),
        constant("weights", weights(6, 32), one * 0.01),
        constant("bias", rng.integers(-900, 900, 6).astype(np.int32), one * 0.0012),
        activation("d", (1, 6), 0.2, 10),
        activation("y", (1, 6), 1 / 256, -128),
    )
    same, relu = {"padding": Padding2D(1, 1, 1, 1)}, {"activation": ops.Activation.RELU6}
    operators = (
        ops.Conv2D(inputs=(0, 1, 2), outputs=(3,), **same, **relu),
        ops.DepthwiseConv2D(inputs=(3, 4, 5), outputs=(6,), stride=Size2D(2, 2), location=1, **same, **relu),
        ops.AveragePool2D(inputs=(6,), outputs=(7,), kernel=Size2D(2, 2), stride=Size2D(2, 2), location=2),
        ops.FullyConnected(inputs=(7, 8, 9), outputs=(10,), location=3),
        ops.Softmax(inputs=(10,), outputs=(11,), location=4),
    )
    data = changed(Graph("older", tensors, operators, (0,), (11,)), made_unsigned(rng))
    graph = reader.parse(data, "older")
    assert any(getattr(op, "wide", False) for op in graph.operators)
    plan = compile_network(graph, MCU)
    built, oracle = Library(plan, tmp_path), Oracle(data)
    for values in (_values(rng, graph) for _ in range(4)):
        wanted = oracle.run(values)
        for found in (built.run(values)[1], library.execute(plan, values)):
            np.testing.assert_array_equal(found[0], wanted[0])
    assert network_trial.run(plan, 2).passed


def test_the_writer_has_no_form_for_it() -> None:
    """Catches a network of uint8 that is written as int8, whose means round otherwise."""
    rng = np.random.default_rng(9)
    graph = CASES["AVERAGE_POOL_2D"](rng)
    with pytest.raises(Exception, match="no form"):
        writer.write(reader.parse(changed(graph, made_unsigned(rng))))
