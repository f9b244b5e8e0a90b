"""``memaopt solve MODEL --input rows``: the option, and what it says where it does not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains_helpers import random_chain
from cli_helpers import Cli

from memaopt.networks.formats.model import Model
from memaopt.networks.operators import Size2D
from memaopt.networks.zoo.builder import Builder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "chain_3.tflite"
    path.write_bytes(Model.of(random_chain(3)).data)
    return path


def test_an_input_by_rows_is_solved(cli: Cli, model: Path, tmp_path: Path) -> None:
    """Catches a library without its function for a row, and a report that does not say how the input is taken."""
    done = cli("solve", str(model), "--input", "rows", "--objective", "ram", "--out", str(tmp_path / "out"))
    assert done.code == 0, done.err
    assert "by rows" in done.out
    text = (tmp_path / "out" / "include" / "chain_3.h").read_text()
    assert "int chain_3_feed(int32_t row, const int8_t *in" in text
    assert "CHAIN_3_INPUT_OFFSET" not in text
    assert "chain_3_feed(row" in (tmp_path / "out" / "examples/chain_3_example/chain_3_example.ino").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--input", "columns"), "--input 'columns': there are whole, rows"),
        (("--input", "rows", "--stream", "rows"), "--input rows has no effect with --stream"),
        (("--input", "rows", "--within", "5%"), "--within has no effect with --input rows"),
        (("--input", "rows", "--arena", "16"), "no plan takes less than"),
    ],
)
def test_what_is_refused(cli: Cli, model: Path, options: tuple[str, ...], said: str) -> None:
    """Catches a request that is taken for another one."""
    done = cli("solve", str(model), *options)
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert not done.out


def test_one_layer_takes_no_rows(cli: Cli, tmp_path: Path) -> None:
    """Catches a convolution by itself that is refused because convolutions would do."""
    builder = Builder("one", (1, 6, 6, 4), 0)
    (tmp_path / "one.tflite").write_bytes(Model.of(builder.finish(builder.conv_2d(0, 4, Size2D(3, 3)))).data)
    said = cli.refused("solve", tmp_path / "one.tflite", "--input", "rows")
    assert "a chain of two layers or more takes rows as they come, and none starts with operator 0" in said


def test_a_gemm_has_no_rows(cli: Cli) -> None:
    """Catches an option that is ignored."""
    done = cli("solve", "gemm", "8x8x8", "--input", "rows")
    assert done.code == 2
    assert "--input" in done.err
