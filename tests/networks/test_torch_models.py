"""PyTorch models in the usual styles, quantised by onnxruntime: read, and near to what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from network_helpers import MCU, Library

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.networks import reference
from memaopt.networks.formats.model import Model

_FOLDER = Path(__file__).parents[1] / "torch_models" / "files"
REFUSED = {
    "gru": "but its steps written out are",
    "lstm": "but its steps written out are",
    "transformer": "but as the operators that a .tflite file has of it",
}
READ = tuple(sorted(path.stem for path in _FOLDER.glob("*.onnx") if path.stem not in REFUSED))
#: Networks whose last outputs may be a step off where inner ones are; in steps of the output.
_FAR = {"attention": 3}


def test_files_name_no_program_that_made_them() -> None:
    """Catches an exporter's notes, half of a file: lines of source with the paths of whoever ran it."""
    assert not [path.name for path in _FOLDER.iterdir() if b'File "' in path.read_bytes()]


@pytest.mark.parametrize("name", READ)
def test_a_model_is_near_to_onnxruntime(name: str) -> None:
    """Catches a node of an exporter's that is not read, or is read as something else."""
    runtime = pytest.importorskip("onnxruntime")
    data = (_FOLDER / f"{name}.onnx").read_bytes()
    model, session = Model.parsed(data, f"{name}.onnx"), runtime.InferenceSession(data)
    graph = model.graph
    for seed in range(2):
        x = np.random.default_rng(seed).normal(0, 1, graph.tensors[graph.inputs[0]].shape).astype(np.float32)
        found, wanted = reference.run(graph, [x]), session.run(None, {"input": x})
        for index, got, theirs in zip(graph.outputs, found, wanted, strict=True):
            last = next(op for op in graph.operators if op.output == index)
            assert got.shape == theirs.shape
            steps = np.rint(np.abs(got - theirs) / float(graph.tensor_of(last).scale))
            assert steps.max() <= (_FAR.get(name, 1) if model.notes else 0)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_would_do(name: str) -> None:
    """Catches a line that names an operator and leaves its user there."""
    with pytest.raises(UnsupportedModelError, match=REFUSED[name]):
        Model.read(_FOLDER / f"{name}.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parametric", "super_resolution"])
def test_its_library_equals_the_reference(name: str, tmp_path: Path) -> None:
    """Catches C of what ONNX alone has: slopes and blocks of channels in its order."""
    graph = Model.read(_FOLDER / f"{name}.onnx").graph
    library = Library(compile_network(graph, MCU, name="model"), tmp_path)
    library.check([np.random.default_rng(1).normal(0, 1, graph.tensors[graph.inputs[0]].shape).astype(np.float32)])
