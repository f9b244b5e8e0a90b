"""The MEMA paper's 20 layers, certified and run: what the project must show, and files of problems."""

import os
import re
from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt import certify, mcu
from memaopt.problems import suites
from memaopt.problems.gemm import DTYPES, Dtype, Gemm, Placement

#: Whether each of the 20 layers is run in both placements with each dtype.
_WHOLE = "MEMAOPT_WHOLE_SUITES" in os.environ
_EXAMPLES = Path(__file__).parents[2] / "examples"
#: Generous, since other work may share the processor; the figures themselves are in the README.
_LIMITS_MS = {"closed_form": 500, "cp_sat": 10_000}


#: M/K/N as the paper's figure names them.
_PAPER = """16/27/1024 16/144/1024 32/144/256 32/288/256 32/16/256 64/288/64 64/576/64 64/32/64 64/40/122 64/64/125
8/27/2304 16/8/2304 32/16/576 32/32/576 64/32/144 64/64/144 128/64/36 128/128/36 256/128/9 256/256/9"""


def test_the_suite_is_the_papers() -> None:
    """Catches a layer lost, doubled or mistyped."""
    layers = suites.suite("tinyml", dtype="s8")
    assert [layer.name for layer in layers] == _PAPER.replace("/", "x").split()
    assert {layer.dtype for layer in layers} == {"s8"}


@pytest.mark.parametrize("options", ["", "--place all=qspi --sram 16KiB"], ids=["internal", "external"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_20_layers_agree_keep_their_promise_and_are_correct(
    dtype: Dtype, options: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a layer on which the models differ, the binary makes other accesses, or the result is wrong.

    Each dtype has every layer, in one of the two placements; each placement has every layer, of one dtype or two.
    """
    if not _WHOLE:
        first = (DTYPES.index(dtype) + bool(options)) % 2
        monkeypatch.setitem(suites.SUITES, "tinyml", suites.TINYML[first::2])
    result = cli(f"solve --suite tinyml --mcu stm32l4r5 --dtype {dtype} --run --json {options}")
    rows = result.json
    assert (result.code, len(rows)) == (0, 20 if _WHOLE else 10)
    for row in rows:
        assert row["agreed"] is row["equal"] is row["correct"] is True
        assert row["promised"] == row["counted"]
        assert row["gap"] >= 0
        if "qspi" in options:
            assert set(row["problem"]["placement"].values()) == {"qspi"}


def test_the_table_counts_what_passed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a summary that does not say how many passed."""
    monkeypatch.setitem(suites.SUITES, "tinyml", suites.TINYML[4:7])
    out = cli("solve --suite tinyml --dtype q15 --run").out
    assert re.findall(r"^3 of 3 (\w+)", out, re.MULTILINE) == ["proven", "counted", "correct"]


def test_a_large_product_is_solved_in_time() -> None:
    """Catches models whose time grows with the sizes: 2,048 x 512 x 2,048 in 256 KiB of SRAM."""
    problem = Gemm(m=2048, k=512, n=2048, dtype="q15", placement=Placement(a="qspi", b="qspi", c="qspi"))
    machine = mcu("stm32l4r5").with_sizes(sram=256 << 10, qspi=64 << 20)
    certificate = certify(problem, machine)
    assert certificate.agreed
    assert all(answer.proven for answer in certificate.answers)
    for model, spent in certificate.milliseconds.items():
        assert spent < _LIMITS_MS.get(model, 10_000)


def test_the_example_file_is_solved_and_run(cli: Cli, tmp_path: Path) -> None:
    """Catches an example that went stale."""
    result = cli("solve", "--file", _EXAMPLES / "problems.toml", "--run", "--json", "--out", tmp_path)
    rows = result.json
    assert result.code == 0
    assert [row["problem"]["dtype"] for row in rows] == ["s8", "q15", "f32"]
    assert rows[0]["problem"]["clamp"] == [-128, 100]
    assert rows[1]["problem"]["placement"] == {"a": "qspi", "b": "qspi", "c": "sram"}
    assert all(row["passed"] for row in rows)
    assert len(list(tmp_path.glob("*/certificate.json"))) == 3
    table = cli("solve", "--file", _EXAMPLES / "problems.toml").out
    assert "dtype" in table
    assert "A/B/C in" in table


def test_the_command_line_fills_in_what_a_table_leaves_out(tmp_path: Path) -> None:
    """Catches --dtype and --place that do not reach the problems of a file."""
    file = tmp_path / "problems.toml"
    file.write_text('[[gemm]]\nm = 1\nk = 2\nn = 3\n[[gemm]]\nm = 1\nk = 2\nn = 3\ndtype = "f32"\n')
    problems = suites.read_problems(file, dtype="s8", placement={"a": "qspi"})
    assert [p.dtype for p in problems] == ["s8", "f32"]
    assert [p.placement.a for p in problems] == ["qspi", "qspi"]
