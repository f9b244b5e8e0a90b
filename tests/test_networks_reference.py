"""The executor against TFLite's own reference kernels, operator by operator and on whole models."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from networks_helpers import CASES, inputs

from memaopt.networks import checks, reference, tflite, writer
from memaopt.networks.oracle import Oracle

pytest.importorskip("ai_edge_litert")

SEEDS = int(os.environ.get("MEMAOPT_REFERENCE_SEEDS", "40"))


@pytest.mark.parametrize("kind", CASES)
def test_operator_equals_tflite(kind: str) -> None:
    """Catches a wrong rounding, clamp, window, multiplier or table in any kernel: bit for bit, on random shapes,
    attributes and quantisation, with random and extreme inputs."""
    base = zlib.crc32(kind.encode())
    for seed in range(SEEDS):
        rng = np.random.default_rng([base, seed])
        graph = CASES[kind](rng)
        checks.check(graph)
        data = writer.write(graph)
        read = tflite.parse(data, kind)
        oracle = Oracle(data)
        for value in inputs(rng, graph):
            expected = oracle.run(value)[0]
            for network in (graph, read):
                actual = reference.run(network, value)[0]
                assert actual.dtype == expected.dtype
                np.testing.assert_array_equal(actual, expected, f"{kind} seed {seed}: {network.operators[0]!r}")


def _real_models() -> list[Path]:
    folder = os.environ.get("MEMAOPT_MODELS")
    return sorted(Path(folder).glob("*.tflite")) if folder else []


@pytest.mark.skipif(not _real_models(), reason="MEMAOPT_MODELS is not set")
@pytest.mark.parametrize("path", _real_models(), ids=lambda p: p.stem)
def test_real_model_equals_tflite_on_every_layer(path: Path) -> None:
    """Catches anything that only shows in trained weights and whole networks: every layer, 20 inputs."""
    graph = tflite.read(path)
    oracle = Oracle(path.read_bytes())
    rng = np.random.default_rng(1)
    shape = graph.tensors[graph.inputs[0]].shape
    more = [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(14)]
    for values in [*inputs(rng, graph), *more]:
        oracle.run(values)
        for op, actual in reference.layers(graph, values):
            np.testing.assert_array_equal(actual, oracle.tensor(op.output), f"{path.stem}: {graph.place(op)}")
