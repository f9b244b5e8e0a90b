"""SVDF, of which the state is int8 (TFLite Micro alone has that) or int16: step by step what the interpreters give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from network_helpers import MCU
from svdf_helpers import svdf_file
from tflite_helpers import Micro

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.kernels.registry import emit, plans
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import Graph
from memaopt.problems.layers import Layer
from memaopt.problems.step_functions import Rescale
from memaopt.problems.svdf import SvdfFeatures, SvdfFilter
from memaopt.trials import library
from memaopt.trials import network as network_trial

pytest.importorskip("ai_edge_litert")

Rng = np.random.Generator


def _steps(rng: Rng, graph: Graph, count: int) -> list[np.ndarray]:
    shape = graph.tensors[graph.given[0]].shape
    return [rng.choice([rng.integers(-128, 128, shape), np.full(shape, 127)]).astype(np.int8) for _ in range(count)]


@pytest.mark.parametrize("wide", [False, True])
def test_each_step_equals_the_interpreters(wide: bool) -> None:
    """Catches a state that starts, wraps, moves or is rescaled otherwise, and filters in another order."""
    pytest.importorskip("tflite_micro")
    for seed in range(25):
        rng = np.random.default_rng([seed, wide])
        data = svdf_file(rng, wide)
        graph, micro = reader.parse(data), Micro(data, 1)
        litert = Oracle(data) if wide else None
        kept = [state.initial for state in graph.states]
        for x in _steps(rng, graph, 20):
            found, *kept = reference.run(graph, [x, *kept])
            np.testing.assert_array_equal(found, micro.run([x])[0], f"seed {seed}")
            if litert is not None:  # of itself it would be reset
                litert._interpreter.set_tensor(litert.inputs[0], x)
                litert._interpreter.invoke()
                np.testing.assert_array_equal(found, litert.tensor(litert.outputs[0]), f"seed {seed}")


@pytest.mark.parametrize(("wide", "rank", "seed"), [(False, 1, 3), (False, 2, 5), (True, 2, 4)])
def test_a_stream_runs_as_promised(wide: bool, rank: int, seed: int) -> None:
    """Catches rows of two bytes an element that are moved as one, and a state that is read after it is written."""
    graph = reader.parse(svdf_file(np.random.default_rng(seed), wide, rank=rank), "svdf")
    plan = compile_network(graph, MCU)
    library.check(plan, library.emit.files(plan))
    inputs = [*library.emit.random_inputs(plan), *(state.initial for state in graph.states)]
    for found, wanted in zip(library.execute(plan, inputs), reference.run(graph, inputs), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert network_trial.run(plan, 12).passed


def framed_layers() -> Iterator[Layer]:
    """What tests/kernels/test_frames.py measures: the largest C of some hundred random ones."""
    rng = np.random.default_rng(4)
    for sizes in ((2, 2, 2), (5, 3, 9)):
        yield SvdfFeatures(sizes[0], rng.integers(-127, 128, sizes[1:]).astype(np.int8), 3, Rescale(1518500250, -4))
    for batch, units, rank in ((2, 2, 4), (1, 8, 5)):
        weights = rng.integers(-99, 99, (2, units * rank)).astype(np.int16)
        yield SvdfFilter(batch, rank, weights, np.arange(units), Rescale(1518500250, -4), 3)


def _layers(rng: Rng) -> dict[str, Layer]:
    def features(rows: int, filters: int, inputs: int) -> Layer:
        weights = rng.integers(-127, 128, (filters, inputs)).astype(np.int8)
        return SvdfFeatures(rows, weights, -7, Rescale(1518500250, -1))

    def over_time(batch: int, units: int, rank: int, steps: int) -> Layer:
        weights = rng.integers(-32768, 32768, (steps, units * rank)).astype(np.int16)
        return SvdfFilter(batch, rank, weights, rng.integers(-9999, 9999, units), Rescale(1518500250, -22), -3)

    return {
        "features": features(1, 12, 30),
        "two_rows": features(2, 5, 7),
        "rank_1": over_time(1, 12, 1, 9),
        "rank_2": over_time(2, 5, 2, 8),
        "rank_6": over_time(1, 4, 6, 5),
    }


def test_kernels(tmp_path: Path) -> None:
    """Catches sums that overflow a signed integer, accesses that are not promised, and cycles that mislead."""
    layers = _layers(np.random.default_rng(3))
    emitted = {name: (layer, emit(layer, plans(layer)[0], name)) for name, layer in layers.items()}
    h.check_on_host(tmp_path, emitted, np.random.default_rng(2))
    h.check_on_board(tmp_path, emitted, np.random.default_rng(2), running.COMPILER, cycles_within=0.3)


def test_other_activations_are_refused() -> None:
    """Catches an activation that TFLite ignores or refuses, taken as none."""
    with pytest.raises(UnsupportedModelError, match="RELU"):
        reader.parse(svdf_file(np.random.default_rng(0), wide=True, activation=3))


def test_uint8_is_refused() -> None:
    """Catches the older scheme, of which no interpreter has SVDF, read as int8."""
    with pytest.raises(UnsupportedModelError, match="uint8"):
        reader.parse(svdf_file(np.random.default_rng(0), wide=False, unsigned=True))
