"""Keras models in the usual styles, as TensorFlow's converter leaves them: equal to TFLite byte for byte; some are
built and run, all of them with MEMAOPT_KERAS_MODELS=1."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from network_helpers import MCU, Library
from whole_models_helpers import demand_equal, given

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.posttraining.quantise import quantised

pytest.importorskip("ai_edge_litert")

_FOLDER = Path(__file__).parents[1] / "keras_models" / "files"
FLOATS = ("dynamic_range", "floats", "gru", "half_floats", "lstm", "recurrent_both_ways", "stacked_lstm")
NAMES = tuple(sorted(path.stem for path in _FOLDER.glob("*.tflite")))
INTEGERS = tuple(name for name in NAMES if name not in FLOATS)
_ALL = bool(os.environ.get("MEMAOPT_KERAS_MODELS"))
#: With what only compiled code can get wrong: phases of a transposed convolution, words, several ends, sixteen bits.
_FEW = (
    "autoencoder",
    "branch_of_the_graph",
    "greatest_class_of_each_pixel",
    "picture_and_numbers",
    "sixteen_bits",
    "words",
)


def test_all_styles_are_there() -> None:
    """Catches a file that was left out, and a folder that has grown large."""
    assert len(NAMES) >= 60
    assert sum(path.stat().st_size for path in _FOLDER.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", INTEGERS)
def test_a_model_equals_tflite(name: str) -> None:
    """Catches a chain of a converter's that is not read as what it computes, and sizes that a file leaves open."""
    data = (_FOLDER / f"{name}.tflite").read_bytes()
    graph = Model.parsed(data, f"{name}.tflite").graph
    demand_equal(graph, data, [given(graph, seed) for seed in range(2)])


@pytest.mark.slow
@pytest.mark.parametrize("name", INTEGERS if _ALL else _FEW)
def test_its_library_equals_the_reference(name: str, tmp_path: Path) -> None:
    """Catches a layer of the usual styles whose C computes something else than TFLite; on 20 inputs with all."""
    graph = Model.read(_FOLDER / f"{name}.tflite").graph
    library = Library(compile_network(graph, MCU, name="model"), tmp_path)
    for seed in range(20 if _ALL else 2):
        library.check(given(graph, seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_quantised_by_samples(name: str, tmp_path: Path) -> None:
    """Catches floats that are refused without a word of what makes int8 of them, or are not made int8; loops of
    recurrent layers that are written out wrongly."""
    path = _FOLDER / f"{name}.tflite"
    with pytest.raises(UnsupportedModelError, match="`memaopt convert` makes int8 of a float network"):
        Model.read(path)
    oracle = Oracle.of_floats(path.read_bytes())
    shape = oracle._interpreter.get_input_details()[0]["shape"]
    samples = [[np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)] for seed in range(20)]
    made = quantised(path.read_bytes(), name, samples)
    graph = Model.parsed(made, f"{name}.tflite").graph
    demand_equal(graph, made, [given(graph, seed) for seed in range(2)])
    if _ALL:
        Library(compile_network(graph, MCU, name="model"), tmp_path).check(given(graph, 1))
