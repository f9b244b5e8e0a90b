"""Keras models and SavedModels through a TensorFlow that is a stub: what it is asked, and what is said without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import Cli
from networks_helpers import activation, single
from tflite_helpers import changed, made_float

from memaopt.errors import InputError, MissingToolError, UnsupportedModelError
from memaopt.networks.operators import Relu
from memaopt.trials.conversion import convert

#: A TensorFlow whose converter gives floats, or int8 where it was given samples, and that notes what it is asked.
_STUB = """
import json, os, pathlib, signal
from types import SimpleNamespace

HERE = pathlib.Path(__file__).parent
FAILS = (HERE / "fails").read_text()
if FAILS == "missing":
    raise ImportError("none")

def note(what):
    with open(HERE / "asked", "a") as file:
        file.write(json.dumps(what) + "\\n")

class Converter:
    representative_dataset = None

    def __init__(self, folder):
        note(folder)
        self.target_spec = SimpleNamespace()

    def convert(self):
        if FAILS == "at once":
            os.kill(os.getpid(), signal.SIGSEGV)
        if FAILS == "convert":
            raise RuntimeError("no kernel\\nin many lines")
        if self.representative_dataset is None:
            return (HERE / "floats").read_bytes()
        if FAILS == "signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        if FAILS == "exit":
            os._exit(3)
        note([[each.shape for each in given] for given in self.representative_dataset()])
        note([self.inference_input_type, self.inference_output_type])
        return (HERE / "int8").read_bytes()

def load(path, *, compile):
    if "broken" in path.name:
        raise ValueError("no such\\nlayer")
    def export(folder, input_signature):
        print("many words")
        os.mkdir(folder)
        note(input_signature)
    return SimpleNamespace(inputs=[SimpleNamespace(shape=(None, 2, 3, 4), dtype="float32")], export=export)

keras = SimpleNamespace(models=SimpleNamespace(load_model=load))
TensorSpec, int8 = lambda shape, dtype: (shape, dtype), "int8"
lite = SimpleNamespace(
    TFLiteConverter=SimpleNamespace(from_saved_model=Converter),
    Optimize=SimpleNamespace(DEFAULT="default"),
    OpsSet=SimpleNamespace(TFLITE_BUILTINS_INT8="int8"),
)
"""


def _stub(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> Path:
    """It, on the path; the file with what it was asked."""
    tensors = [activation("x", (1, 2, 3, 4), 0.1, 0), activation("y", (1, 2, 3, 4), 0.1, 0)]
    graph, here = single(Relu, tensors, 1), folder / "stub"
    here.mkdir(exist_ok=True)
    (here / "int8").write_bytes(changed(graph, lambda model: None))
    (here / "floats").write_bytes(changed(graph, made_float))
    (here / "fails").write_text(fails)
    (here / "tensorflow.py").write_text(_STUB)
    monkeypatch.syspath_prepend(here)
    return here / "asked"


def _asked(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _samples(folder: Path) -> Path:
    np.save(folder / "samples.npy", np.random.default_rng(1).uniform(-3, 3, (5, 2, 3, 4)).astype(np.float32))
    return folder / "samples.npy"


def test_a_keras_model_is_converted_by_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a batch that is left open, samples of another shape, ends of float, and a loss that is not shown."""
    asked = _stub(tmp_path, monkeypatch)
    made = convert(tmp_path / "model.keras", _samples(tmp_path))
    signature, folder, again, shapes, ends = _asked(asked)
    assert signature == [[[1, 2, 3, 4], "float32"]]
    assert folder == again
    assert shapes == [[[1, 2, 3, 4]]] * 5
    assert ends == ["int8", "int8"]
    assert [op.kind for op in made.model.graph.operators] == ["RELU"]
    assert made.loss.outputs[0].agreement is not None


def test_a_saved_model_is_given_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder that is loaded as a Keras file."""
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "saved_model.pb").write_bytes(b"")
    asked = _stub(tmp_path, monkeypatch)
    convert(tmp_path / "exported", _samples(tmp_path))
    assert _asked(asked)[0] == str(tmp_path / "exported")


@pytest.mark.parametrize(("fails", "how"), [("signal", "SIGSEGV"), ("exit", "exit code 3")])
def test_floats_that_tensorflow_makes_no_int8_of(
    fails: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a calibrator that takes memaopt with it, as TensorFlow's does on a Keras LSTM, and a file by other rules
    of which nobody is told."""
    _stub(tmp_path, monkeypatch, fails)
    made = convert(tmp_path / "m.keras", _samples(tmp_path))
    assert [op.kind for op in made.model.graph.operators] == ["RELU"]
    assert "memaopt's own rules; TensorFlow itself crashed" in made.loss.summary()
    assert how in made.loss.summary()


def test_a_crash_of_tensorflow_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """Catches a converter that takes memaopt with it, where it leaves nothing at all."""
    _stub(tmp_path, monkeypatch, "at once")
    line = cli.refused("convert", tmp_path / "m.keras", "--data", _samples(tmp_path), "--out", tmp_path / "out.tflite")
    assert "TensorFlow itself crashed (SIGSEGV" in line
    assert not (tmp_path / "out.tflite").exists()


def test_without_it_and_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """Catches a traceback of TensorFlow's, in its many lines, or a line that does not say what to install."""
    samples = _samples(tmp_path)
    _stub(tmp_path, monkeypatch, "convert")
    with pytest.raises(UnsupportedModelError, match="does not convert it: no kernel in many lines"):
        convert(tmp_path / "model.h5", samples)
    with pytest.raises(InputError, match="does not load it: no such layer"):
        convert(tmp_path / "broken.keras", samples)
    _stub(tmp_path, monkeypatch, "missing")
    with pytest.raises(MissingToolError, match=r"a Keras model.*pip install 'memaopt\[tensorflow\]'"):
        convert(tmp_path / "model.keras", samples)
    line = cli.refused("convert", tmp_path / "model.keras", "--data", samples, "--out", tmp_path / "out.tflite")
    assert "memaopt[tensorflow]" in line
    assert not (tmp_path / "out.tflite").exists()
