"""Whole models of the folders that MEMAOPT_CASES names: each ends in a library that is exact on 20 inputs, or on 500
runs of one that keeps a state, and keeps its promise on the board. Networks of floats are quantised by samples."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from network_helpers import MCU
from whole_models_helpers import demand_equal, demand_equal_runs, given, has_svdf

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.posttraining.quantise import quantised
from memaopt.trials import network as network_trial
from tests.fuzz.host import Host, compilers
from tests.streams_helpers import check_library_on, compare, signal

pytest.importorskip("ai_edge_litert")

_INPUTS, _RUNS = 20, 500
_FOLDERS = filter(None, os.environ.get("MEMAOPT_CASES", "").split(os.pathsep))
_FILES = sorted(path for folder in _FOLDERS for path in Path(folder).glob("*.tflite"))


def _model(path: Path) -> tuple[Model, bytes]:
    """The model, and the file that the interpreters read: its own, or what is made of a network of floats."""
    data = path.read_bytes()
    try:
        return Model.read(path), data
    except UnsupportedModelError as error:
        if "`memaopt convert` makes int8 of a float network" not in str(error):
            raise
    shape = Oracle.of_floats(data)._interpreter.get_input_details()[0]["shape"]
    samples = [[np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)] for seed in range(20)]
    made = quantised(data, path.stem, samples)
    return Model.parsed(made, path.name), made


@pytest.mark.skipif(not _FILES, reason="MEMAOPT_CASES is not set")
@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_model_ends_in_a_library_that_is_exact_and_as_promised(path: Path, tmp_path: Path) -> None:
    """Catches what shows only in whole models: in the executor, in C where the sanitizers look on, and on the board."""
    model, data = _model(path)
    graph, plan = model.graph, compile_network(model, MCU, name="model")
    if graph.states:
        runs = list(signal(graph.tensors[graph.given[0]], np.random.default_rng(1), _RUNS))
        if has_svdf(data):
            demand_equal_runs(data, runs)
        else:
            assert compare(path, "rows", None, _RUNS, seed=1) == (0, _RUNS)
        check_library_on(plan, tmp_path, runs)
        assert network_trial.run(plan, runs[:20]).passed
        return
    values = [given(graph, seed) for seed in range(_INPUTS)]
    demand_equal(graph, data, values)
    Host([plan], tmp_path / "host", next(tool for tool in compilers() if "-O2" not in tool)).check(0, values)
    assert network_trial.run(plan, values[:2]).passed
