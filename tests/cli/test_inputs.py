"""What --run tries: random inputs, or a user's samples; and models in formats that are not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Cli

from memaopt.networks.formats.tflite import writer
from memaopt.networks.zoo.builder import Builder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    b = Builder("small", (1, 6), 0)
    path = tmp_path / "small.tflite"
    path.write_bytes(writer.write(b.finish(b.fully_connected(0, 4))))
    return path


def test_samples_of_a_file_are_what_runs(model: Path, cli: Cli, tmp_path: Path) -> None:
    """Catches a file that is passed over: as many inputs as it has run, and each is compared."""
    np.save(tmp_path / "three.npy", np.arange(18).reshape(3, 6).astype(np.int8))
    assert cli("solve", model, "--run", "--inputs", tmp_path / "three.npy", "--json").json["trial"]["inputs"] == 3
    assert cli("solve", model, "--run", "--inputs", "random:2", "--json").json["trial"]["inputs"] == 2
    assert cli("solve", model, "--run", "--json").json["trial"]["inputs"] == 1
    for text in ("0", "random:0", "random:many"):
        assert "give a number of 1 or more" in cli.refused("solve", model, "--run", "--inputs", text)
    assert "cannot be read" in cli.refused("solve", model, "--run", "--inputs", tmp_path / "none.npy")
    np.save(tmp_path / "wide.npy", np.zeros((2, 7), np.int8))
    assert "the network takes 6" in cli.refused("solve", model, "--run", "--inputs", tmp_path / "wide.npy")


def test_what_the_project_leaves_is_said(model: Path, cli: Cli) -> None:
    """Catches a budget that nobody gave, of a byte where the project has no room itself."""
    said = cli.refused("solve", model, "--size", "sram=3KiB")
    assert "more than the 0 that the project leaves of 3,072" in said
    assert "more than the 0 bytes of flash that the project leaves of 3,072" in cli.refused(
        "solve", model, "--size", "flash=3KiB"
    )
    assert "more than the 16 given" in cli.refused("solve", model, "--sram", 16)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("model.h5", "from_keras_model"),
        ("model.keras", "from_keras_model"),
        ("saved_model.pb", "from_saved_model"),
        ("net.pt", "litert_torch"),
        ("net.PTH", "litert_torch"),
    ],
)
def test_a_model_of_another_format_is_answered_with_how_to_convert_it(name: str, how: str, cli: Cli) -> None:
    """Catches a Keras or PyTorch file that is taken for the sizes of a product, by whatever command."""
    for command in (["solve", name], ["inspect", name], ["pareto", name], ["validate", name, "x.npz"]):
        line = cli.refused(*command)
        assert "an int8 .tflite file is read: convert it with" in line
        assert (name in line, how in line) == (True, True)


def test_a_model_that_its_name_does_not_tell(cli: Cli, tmp_path: Path) -> None:
    """Catches a SavedModel's folder, or an HDF5 file of another name, answered with what a flatbuffer lacks."""
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "weights.bin").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    for command in ("solve", "inspect"):
        assert "from_saved_model" in cli.refused(command, tmp_path / "exported")
        assert "from_keras_model" in cli.refused(command, tmp_path / "weights.bin")


def test_a_name_longer_than_names_may_be_is_refused_in_one_line(cli: Cli) -> None:
    """Catches a traceback of the look for a SavedModel's file beneath such a name."""
    cli.refused("solve", "x" * 300 + ".tflite")
