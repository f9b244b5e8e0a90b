"""A network on samples: the figures are those of TFLite and numpy, whatever the samples came in."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Cli
from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.errors import InputError
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators.attributes import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import executors, validation
from memaopt.trials import samples as files
from memaopt.trials.target import TargetRun

SHAPE = (6, 6, 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    b = Builder("small", (1, *SHAPE), 0)
    x = b.conv_2d(0, 6, Size2D(3, 3), Activation.RELU)
    x = b.mean(x)
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(writer.write(b.finish(b.fully_connected(x, 5))))
    return path


@pytest.fixture(scope="module")
def plan(model: Path) -> NetworkPlan:
    return compile_network(Model.read(model), MCU)


def given(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.9, (count, *SHAPE)).astype(np.float32), rng.integers(0, 5, count)


def expected(model: Path, inputs: np.ndarray) -> np.ndarray:
    """Outputs by TFLite's reference kernels."""
    oracle = Oracle(model.read_bytes())
    return np.stack([oracle.run([value[None]])[0][0] for value in inputs])


def test_2000_samples_as_tflite_and_numpy_have_them(model: Path, plan: NetworkPlan, tmp_path: Path) -> None:
    """Catches a figure that is computed from other outputs, other labels or another definition."""
    floats, labels = given(2000)
    np.savez(tmp_path / "d.npz", x=floats, y=labels)
    tensor = plan.source.tensors[plan.source.inputs[0]]
    samples = files.read(tmp_path / "d.npz", tensor)
    scaled = floats.astype(np.float64) / float(tensor.scale) + tensor.zero_point
    assert np.abs(samples.inputs - np.clip(scaled, -128, 127)).max() <= 0.5001
    found = validation.validate(Model.read(model), samples, k=2, tflite=True)
    outputs = expected(model, samples.inputs)
    order = np.argsort(-outputs.astype(int), axis=1, kind="stable")
    assert (found.samples, found.different) == (2000, 0)
    assert found.accuracy == np.mean(order[:, 0] == labels)
    assert found.top == np.mean([label in row[:2] for label, row in zip(labels, order, strict=True)])
    table = np.array([[np.sum((labels == i) & (order[:, 0] == j)) for j in range(5)] for i in range(5)])
    np.testing.assert_array_equal(found.confusion, table)


def test_errors_against_real_outputs(model: Path, plan: NetworkPlan) -> None:
    """Catches errors of the quantised values, a mean over the wrong axis, and another sample called the worst."""
    inputs = np.random.default_rng(1).integers(-128, 128, (40, *SHAPE)).astype(np.int8)
    output = plan.source.tensors[plan.source.outputs[0]]
    real = float(output.scale) * (expected(model, inputs).astype(np.float64) - output.zero_point)
    wanted = real + np.random.default_rng(2).normal(0, 0.1, real.shape)
    wanted[17] += 3.0
    found = validation.validate(Model.read(model), files.Samples(inputs, wanted))
    assert found.rmse == pytest.approx(np.sqrt(np.mean((real - wanted) ** 2)))
    assert found.mae == pytest.approx(np.mean(np.abs(real - wanted)))
    assert found.worst == 17
    assert found.accuracy is None


def test_an_output_that_is_not_tflites_is_counted(
    model: Path, plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a comparison that cannot fail."""
    run = executors._called

    def wrong(*arguments: object) -> object:
        right = run(*arguments)  # type: ignore[arg-type]
        return lambda value: right(value) + (value.flat[0] > 0)

    monkeypatch.setattr(executors, "_called", wrong)
    inputs = np.random.default_rng(1).integers(-100, 101, (20, *SHAPE)).astype(np.int8)
    samples = files.Samples(inputs, None)
    found = validation.validate(Model.read(model), samples, plan=plan, library=True, tflite=True)
    assert found.different == np.count_nonzero(inputs[:, 0, 0, 0] > 0)
    assert not found.passed


def test_the_library_and_processes_answer_alike(
    model: Path, plan: NetworkPlan, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches executors that answer differently, and a library that nothing can build found late."""
    read, values = Model.read(model), np.random.default_rng(1).integers(-128, 128, (90, *SHAPE)).astype(np.int8)
    samples = files.Samples(values, np.arange(90) % 5)
    here = validation.validate(read, samples)
    built = validation.validate(read, samples, plan=plan, library=True)
    monkeypatch.setattr(executors, "_WORTH_PROCESSES", -1.0)
    elsewhere = validation.validate(read, samples)
    assert (here.executor, built.executor[:18]) == ("the reference", "its C, built here ")
    assert here.accuracy == built.accuracy == elsewhere.accuracy
    assert here.confusion == built.confusion == elsewhere.confusion
    np.savez(tmp_path / "d.npz", x=values)
    monkeypatch.setattr(executors, "host_compiler", lambda: None)
    assert "--library needs a C compiler" in cli.refused("validate", model, tmp_path / "d.npz", "--library")


def test_every_form_of_samples(plan: NetworkPlan, tmp_path: Path) -> None:
    """Catches a form that is read in another order, with other labels, or as other values."""
    image = pytest.importorskip("PIL.Image")
    tensor = plan.source.tensors[plan.source.inputs[0]]
    pixels = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype(np.uint8)
    for number, picture in enumerate(pixels):
        (tmp_path / "pictures" / f"class{number % 2}").mkdir(parents=True, exist_ok=True)
        image.fromarray(picture).save(tmp_path / "pictures" / f"class{number % 2}" / f"{number}.png")
    for hidden in (tmp_path / "pictures" / ".thumbnails", tmp_path / "pictures" / "class0" / ".index"):
        hidden.mkdir()
        (hidden.parent / ".notes").touch()
    found = files.read(tmp_path / "pictures", tensor, pixels=(0.0, 1.0))
    assert found.pixels == (0.0, 1.0)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.classes == ("class0", "class1")
    floats = pixels[[0, 2, 1, 3]].astype(np.float32) / 255
    np.testing.assert_array_equal(found.inputs, files.quantised(floats, tensor))
    np.save(tmp_path / "d.npy", floats)
    np.testing.assert_array_equal(files.read(tmp_path / "d.npy", tensor).inputs, found.inputs)
    rows = "\n".join(",".join(map(repr, row.ravel().tolist())) for row in floats)
    (tmp_path / "d.csv").write_text(f"{','.join(f'f{i}' for i in range(108))}\n{rows}\n")
    (tmp_path / "l.csv").write_text("label\n0\n0\n1\n1\n")
    read = files.read(tmp_path / "d.csv", tensor, tmp_path / "l.csv")
    np.testing.assert_array_equal(read.inputs, found.inputs)
    assert read.labels is not None
    assert read.labels.tolist() == [0, 0, 1, 1]
    (tmp_path / "sounds").mkdir()
    with wave.open(str(tmp_path / "sounds" / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(np.arange(-54, 54).astype("<i2").tobytes())
    heard = files.read(tmp_path / "sounds", tensor)
    np.testing.assert_array_equal(
        heard.inputs.ravel(), files.quantised((np.arange(-54, 54) / 32768).astype(np.float32), tensor)
    )
    (tmp_path / "sounds" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes\.txt: a folder of pictures"):
        files.read(tmp_path / "sounds", tensor)


def test_pictures_have_the_networks_channels(tmp_path: Path) -> None:
    """Catches a grey network that refuses pictures in colour, and the other way round."""
    image = pytest.importorskip("PIL.Image")
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    for name, values in (("grey", grey), ("colours", np.stack([grey] * 3, -1))):
        (tmp_path / name).mkdir()
        image.fromarray(values).save(tmp_path / name / "a.png")
        for channels in (1, 3):
            tensor = Tensor("x", (1, 4, 4, channels), DType.FLOAT32)
            found = files.read(tmp_path / name, tensor, pixels=(0.0, 255.0))
            np.testing.assert_array_equal(found.inputs[0], np.repeat(grey[..., None], channels, -1).astype(np.float32))


@pytest.mark.parametrize(
    ("scale", "zero_point", "ends"),
    [
        (1 / 255, -128, (0.0, 1.0)),
        (0.00390625, -128, (0.0, 1.0)),
        (2 / 255, -1, (-1.0, 1.0)),
        (1 / 128, 0, (-1.0, 1.0)),
        (1.0, -128, (0.0, 255.0)),
        (1.0, 0, (-128.0, 127.0)),
    ],
)
def test_what_pixels_stand_for(scale: float, zero_point: int, ends: tuple[float, float]) -> None:
    """Catches pictures that are read as if the network had been trained on another range."""
    scales, zeros = np.array([scale], np.float32), np.array([zero_point], np.int64)
    assert files.range_of(Tensor("x", (1, 4, 4, 3), DType.INT8, scales, zeros)) == ends


def test_the_board_runs_the_first_samples(model: Path, plan: NetworkPlan, cli: Cli, tmp_path: Path) -> None:
    """Catches samples that the board does not run, one that differs there and passes, or is held against TFLite."""
    floats, labels = given(4)
    np.savez(tmp_path / "d.npz", x=floats, y=labels)
    found = cli("validate", model, tmp_path / "d.npz", "--board", 2, "--json").json
    assert found["passed"]
    assert (found["board"]["samples"], found["board"]["wrong"]) == (2, 0)
    assert found["board"]["cycles"] == pytest.approx(plan.machine_cycles, rel=0.03)
    wrong = validation.BoardRun(samples=2, wrong=1, passed=False, cycles=None)
    made = validation.validate(Model.read(model), files.Samples(np.zeros((1, *SHAPE), np.int8), None))
    made = made.model_copy(update={"board": wrong, "different": 0})
    assert not made.passed
    assert ("TFLite", "every output is TFLite's, to the last bit") in made.facts()
    assert "--pixels has no effect" in cli.refused("validate", model, tmp_path / "d.npz", "--pixels", "-1:1")
    for text in ("1", "1:0", "a:b", "0:inf", "nan:1"):
        assert "give what 0 and 255 stand for" in cli.refused("validate", model, tmp_path / "d.npz", "--pixels", text)


def test_samples_that_cannot_be_read(model: Path, cli: Cli, tmp_path: Path) -> None:
    """Catches a traceback, and a message that does not say what is wrong with which file."""
    floats, labels = given(3)
    np.savez(tmp_path / "two.npz", x=floats, z=floats)
    assert "one array of samples is expected" in cli.refused("validate", model, tmp_path / "two.npz")
    np.save(tmp_path / "small.npy", floats[:, :2])
    assert "its samples are 2x6x3, the network takes 6x6x3" in cli.refused("validate", model, tmp_path / "small.npy")
    np.savez(tmp_path / "few.npz", x=floats, y=labels[:2])
    assert "2 labels for 3 samples" in cli.refused("validate", model, tmp_path / "few.npz")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY rubbish")
    assert "no array that can be read" in cli.refused("validate", model, tmp_path / "bad.npy")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    assert "numbers for each sample are expected" in cli.refused("validate", model, tmp_path / "words.npy")
    np.savez(tmp_path / "one.npz", x=floats, y=np.array(3))
    assert "numbers for each sample are expected" in cli.refused("validate", model, tmp_path / "one.npz")
    (tmp_path / "renamed.npz").write_bytes((tmp_path / "small.npy").read_bytes())
    assert "no archive of arrays" in cli.refused("validate", model, tmp_path / "renamed.npz")
    np.savez_compressed(tmp_path / "torn.npz", x=floats)
    torn = bytearray((tmp_path / "torn.npz").read_bytes())
    torn[200:600] = bytes(400)
    (tmp_path / "torn.npz").write_bytes(torn)
    assert "no archive of arrays" in cli.refused("validate", model, tmp_path / "torn.npz")
    (tmp_path / "quoted.csv").write_text('"' + "1," * 100_000)
    assert "no array that can be read" in cli.refused("validate", model, tmp_path / "quoted.csv")
    (tmp_path / "empty").mkdir()
    assert "a folder of pictures" in cli.refused("validate", model, tmp_path / "empty")
    assert cli.refused("validate", model, tmp_path / "none.npz").count("none.npz") == 1
    for name in ("text.npz", "text.npy", "text.txt"):
        (tmp_path / name).write_text("no array")
        assert "pickle" not in cli.refused("validate", model, tmp_path / name)
    np.savez(tmp_path / "nan.npz", x=floats, y=np.full((3, 5), np.nan))
    assert "nan.npz: holds NaN" in cli.refused("validate", model, tmp_path / "nan.npz")
    (tmp_path / "ragged.csv").write_text("1,2,3\n1,2\n")
    assert "rows are not equally long" in cli.refused("validate", model, tmp_path / "ragged.csv")
    np.savez(tmp_path / "beyond.npz", x=floats, y=labels + 9)
    assert "no classes from 0 to 4" in cli.refused("validate", model, tmp_path / "beyond.npz")
    with pytest.raises(InputError, match="its samples are int64"):
        files.quantised(labels, Model.read(model).graph.tensors[0])


def test_on_the_command_line(model: Path, cli: Cli, tmp_path: Path) -> None:
    """Catches options that are passed over."""
    floats, labels = given(30)
    np.savez(tmp_path / "d.npz", x=floats, y=labels)
    shown = cli("validate", model, tmp_path / "d.npz", "--tflite", "--top", "3")
    assert shown.code == 0
    assert "every output is TFLite's, to the last bit" in shown.out
    found = cli("validate", model, tmp_path / "d.npz", "--top", "3", "--json").json
    assert (found["samples"], found["k"], found["different"]) == (30, 3, None)


def test_what_is_said_of_samples() -> None:
    """Catches cycles of one sample that are told as those of each, and outputs told equal to another run's than they
    were compared with."""
    ran = validation.BoardRun(samples=2, wrong=0, passed=True, cycles=1234)
    assert ran.describe().startswith("2 samples, the first in 1,234 cycles: ")
    assert ran.model_copy(update={"samples": 1}).describe().startswith("1 sample in 1,234 cycles: ")
    sent = TargetRun(where="silicon", samples=2, wrong=0, cycles=(5, 6))
    assert sent.describe() == "2 samples on silicon, 5 to 6 cycles each: every output is the same, bit for bit"
    made = validation.Validation(name="n", samples=2, executor="the reference", seconds=1)
    assert [name for name, _ in made.facts()] == ["compared"]
    table = {"accuracy": 0.5, "top": 1.0, "confusion": ((9, 1), (0, 12)), "classes": ("a cat\x1b\n",)}
    told = [text for _, text in made.model_copy(update=table).facts()][2:]
    assert told == ["           0  1", "0 a cat?   9  1", "1          0 12"]
