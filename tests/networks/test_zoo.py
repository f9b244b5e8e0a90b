"""The zoo: real files, the architectures they claim to be, and outputs that say something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memaopt.errors import InputError
from memaopt.memory import plan as memory
from memaopt.networks import reference, summary
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import reader as tflite
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.networks.simplify import simplify
from memaopt.networks.zoo import outgrown, zoo

pytest.importorskip("ai_edge_litert")

from memaopt.networks.formats.tflite.oracle import Oracle

REAL = {
    "fc_autoencoder": "ad01_int8",
    "ds_cnn": "kws_ref_model",
    "resnet8": "pretrainedResnet_quant",
    "mobilenet_v1": "vww_96_int8",
}

_COMMAND = (sys.executable, "-m", "memaopt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All networks, written by a process of its own."""
    made = tmp_path_factory.mktemp("zoo")
    done = subprocess.run([*_COMMAND, "zoo", str(made)], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == len(zoo.NETWORKS)
    return made


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.tflite").read_bytes() for name in zoo.NETWORKS}


def _shapes(graph: Graph) -> list[tuple[object, ...]]:
    """What the architecture is made of: kinds, shapes, windows, activations."""
    return [
        (
            op.kind,
            tuple(graph.tensors[i].shape for i in op.inputs),
            graph.output_of(op).shape,
            *(getattr(op, name, None) for name in ("kernel", "stride", "padding", "activation")),
        )
        for op in graph.operators
    ]


def test_what_the_command_writes_can_be_solved(folder: Path) -> None:
    """Catches a zoo that only the test suite can build: a process of its own writes and compiles it."""
    subprocess.run([*_COMMAND, "solve", str(folder / "fc_autoencoder.tflite")], capture_output=True, check=True)


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_bytes_are_deterministic_and_survive_reading(name: str, files: dict[str, bytes]) -> None:
    """Catches a dependence on time, order or earlier calls, and anything lost between writer and reader."""
    built, read = zoo.build(name), tflite.parse(files[name], name)
    assert writer.write(built) == files[name]
    assert _shapes(built) == _shapes(read)
    for a, b in zip(built.tensors, read.tensors, strict=False):
        assert (a.name, a.shape, a.dtype, a.quantized_dimension) == (b.name, b.shape, b.dtype, b.quantized_dimension)
        assert a.same_quantization(b)
        assert (a.data is None) == (b.data is None)
        assert a.data is None or np.array_equal(a.data, b.data)


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_layer_equals_tflite_and_is_not_degenerate(name: str, files: dict[str, bytes]) -> None:
    """Catches a layer that computes something else than TFLite, and weights that leave a layer constant."""
    graph, oracle = tflite.parse(files[name], name), Oracle(files[name])
    rng = np.random.default_rng(7)
    answers, count = set(), 2 if name in outgrown.NETWORKS else 4
    for _ in range(count):
        value = rng.integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
        answers.add(oracle.run([value])[0].tobytes())
        for op, output in reference.layers(graph, [value]):
            np.testing.assert_array_equal(output, oracle.tensor(op.output), f"{name}: {graph.place(op)}")
            # Probabilities in steps of 1/256 that add up to 1: 23 different values at most, whatever the classes.
            least = 2 if output.size < 64 else 8 if op.kind == "SOFTMAX" else 16
            assert len(np.unique(output)) >= least, f"{name}: {graph.place(op)} is constant"
    assert len(answers) == count, "the output does not depend on the input"


@pytest.mark.parametrize("name", REAL)
def test_architecture_is_that_of_the_reference_model(name: str) -> None:
    """Catches a layer of the zoo whose shape, stride, padding or activation is not the real model's."""
    folder = os.environ.get("MEMAOPT_MODELS")
    if not folder:
        pytest.skip("MEMAOPT_MODELS is not set")
    real, ours = Model.read(Path(folder) / f"{REAL[name]}.tflite").graph, zoo.build(name)
    assert sorted(map(repr, _shapes(real))) == sorted(map(repr, _shapes(ours)))


@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [
        ("mobilenet_v2_035_128", 20_220_672, 1_694_208),
        ("mobilenet_v1_025_224", 41_030_272, 478_544),
        ("unet", 49_283_072, 135_492),
        ("resnet8_wide", 76_473_920, 482_880),
        ("mobilenet_v1_050_224", 149_497_088, 1_345_536),
        ("mobilenet_v2_100_224", 300_774_272, 3_541_984),
    ],
)
def test_larger_networks_are_as_large_as_they_say(name: str, macs: int, weights: int, files: dict[str, bytes]) -> None:
    """Catches an architecture other than the one published: multiply-accumulates, bytes of weights and biases."""
    found = summary.summarize(tflite.parse(files[name], name))
    assert (found.macs, found.weight_bytes) == (macs, weights)


def test_float_ends_equal_tflite() -> None:
    """Catches a network that cannot begin and end in float32."""
    graph = zoo.with_float_ends(zoo.build("ds_cnn"))
    data = writer.write(graph)
    read, oracle = tflite.parse(data), Oracle(data)
    assert [read.tensors[i].dtype for i in (*read.inputs, *read.outputs)] == ["float32", "float32"]
    value = np.random.default_rng(0).normal(0, 1, read.tensors[read.inputs[0]].shape).astype(np.float32)
    expected = oracle.run([value])[0]
    np.testing.assert_array_equal(reference.run(read, [value])[0], expected)
    simplified = simplify.simplify(read).graph
    np.testing.assert_array_equal(reference.run(simplified, [value])[0], expected)
    memory.plan(simplified).verify(simplified)


def test_save_writes_the_files_and_reports_a_bad_name(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Catches files that differ from what build and write give, and a traceback on a wrong name."""
    paths = zoo.save(tmp_path / "new" / "folder", ("ds_cnn",))
    assert [p.name for p in paths] == ["ds_cnn.tflite"]
    assert paths[0].read_bytes() == files["ds_cnn"]
    with pytest.raises(InputError, match="no network 'lenet' in the zoo: choose one of"):
        zoo.build("lenet")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        zoo.save(tmp_path / "file" / "sub", ("fc_autoencoder",))
