"""Keras models and SavedModels through a TensorFlow that is a stub: what it is asked, and what is said without it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_helpers import Cli
from networks_helpers import activation, single
from tflite_helpers import changed, made_float

from memaopt.errors import InputError, MissingToolError, UnsupportedModelError
from memaopt.networks.operators import Relu
from memaopt.trials.conversion import convert


def _stub(monkeypatch: pytest.MonkeyPatch, *, fails: str = "") -> list[Any]:
    """A TensorFlow whose converter gives floats, or int8 where it was given samples; what it is asked."""
    tensors = [activation("x", (1, 2, 3, 4), 0.1, 0), activation("y", (1, 2, 3, 4), 0.1, 0)]
    graph, asked = single(Relu, tensors, 1), list[Any]()
    int8, floats = changed(graph, lambda model: None), changed(graph, made_float)

    class Converter:
        representative_dataset = None

        def __init__(self, folder: str) -> None:
            asked.append(folder)
            self.target_spec = SimpleNamespace()

        def convert(self) -> bytes:
            if fails:
                raise RuntimeError(f"{fails}\nin many lines")
            if self.representative_dataset is None:
                return floats
            asked.append([[each.shape for each in given] for given in self.representative_dataset()])
            asked.append((self.inference_input_type, self.inference_output_type))  # type: ignore[attr-defined]
            return int8

    def load(path: Path, *, compile: bool) -> Any:
        if "broken" in path.name:
            raise ValueError("no such\nlayer")
        given = SimpleNamespace(shape=(None, 2, 3, 4), dtype="float32")
        return SimpleNamespace(inputs=[given], export=lambda folder, input_signature: asked.append(input_signature))

    module: Any = ModuleType("tensorflow")
    module.keras = SimpleNamespace(models=SimpleNamespace(load_model=load))
    module.TensorSpec, module.int8 = lambda shape, dtype: (shape, dtype), "int8"
    module.lite = SimpleNamespace(
        TFLiteConverter=SimpleNamespace(from_saved_model=Converter),
        Optimize=SimpleNamespace(DEFAULT="default"),
        OpsSet=SimpleNamespace(TFLITE_BUILTINS_INT8="int8"),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    return asked


def _samples(folder: Path) -> Path:
    np.save(folder / "samples.npy", np.random.default_rng(1).uniform(-3, 3, (5, 2, 3, 4)).astype(np.float32))
    return folder / "samples.npy"


def test_a_keras_model_is_converted_by_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a batch that is left open, samples of another shape, ends of float, and a loss that is not shown."""
    asked = _stub(monkeypatch)
    made = convert(tmp_path / "model.keras", _samples(tmp_path))
    signature, folder, again, shapes, ends = asked
    assert signature == [([1, 2, 3, 4], "float32")]
    assert folder == again
    assert shapes == [[(1, 2, 3, 4)]] * 5
    assert ends == ("int8", "int8")
    assert [op.kind for op in made.model.graph.operators] == ["RELU"]
    assert made.loss.outputs[0].agreement is not None


def test_a_saved_model_is_given_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder that is loaded as a Keras file."""
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "saved_model.pb").write_bytes(b"")
    asked = _stub(monkeypatch)
    convert(tmp_path / "exported", _samples(tmp_path))
    assert asked[0] == str(tmp_path / "exported")


def test_without_it_and_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """Catches a traceback of TensorFlow's, in its many lines, or a line that does not say what to install."""
    samples = _samples(tmp_path)
    _stub(monkeypatch, fails="no kernel")
    with pytest.raises(UnsupportedModelError, match="does not convert it: no kernel in many lines"):
        convert(tmp_path / "model.h5", samples)
    with pytest.raises(InputError, match="does not load it: no such layer"):
        convert(tmp_path / "broken.keras", samples)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingToolError, match=r"a Keras model.*pip install 'memaopt\[tensorflow\]'"):
        convert(tmp_path / "model.keras", samples)
    line = cli.refused("convert", tmp_path / "model.keras", "--data", samples, "--out", tmp_path / "out.tflite")
    assert "memaopt[tensorflow]" in line
    assert not (tmp_path / "out.tflite").exists()
