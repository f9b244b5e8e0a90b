"""The command line where all is well: what it prints, writes and returns, and that its own examples work."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import typer
from cli_helpers import Cli
from custom_helpers import write_own
from elf_helpers import firmware
from onnx_helpers import Sketch
from onnx_helpers import network as onnx

from memaopt import Certificate
from memaopt.cli.main import app
from memaopt.machines.mcu import preset_names
from memaopt.networks.formats.tflite.writer import write
from memaopt.networks.operators import Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.networks.zoo.zoo import build, fc_autoencoder
from memaopt.problems import suites
from memaopt.trials import gemm as trial
from memaopt.version import __version__

_ROOT = Path(__file__).parents[2]
_COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)
_KEYS = {
    *("problem", "schedule", "agreed", "promised", "counted", "equal", "correct", "cycles", "solve_ms", "bound", "gap"),
    *("passed", "error", "external_bytes", "register_bytes", "compiler", "flags", "sha256"),
}


def _examples(text: str) -> list[str]:
    """The command lines in a help text."""
    return [line.strip() for line in text.splitlines() if re.match(r"\s+memaopt \w", line)]


def test_solve_tells_the_schedule_and_its_proof(cli: Cli) -> None:
    """Catches an answer that leaves out where the operands are, the schedule, the bound, or who agrees."""
    result = cli("solve gemm 33x20x17 --dtype q15 --place all=qspi --sram 1KiB")
    assert (result.code, result.err) == (0, "")
    for said in (
        "33x20x17 q15",
        "A in qspi, B in qspi, C in qspi",
        "MC x KC x NC",
        "MR x KR x NR",
        "lower bound",
        "closed form",
        "CP-SAT",
        "exhaustive enumeration",
        "a_tile",
        "b_tile",
    ):
        assert said in result.out
    assert "counted" not in result.out


def test_each_setting_says_what_the_others_give_for_a_gemm(cli: Cli) -> None:
    """Catches figures of one setting under the name of another, and code in RAM that is not said."""
    command = "solve gemm 16x27x128 --dtype s8 --place a=flash --objective cycles --setting"
    found = {name: cli(f"{command} {name} --json").json for name in ("stock", "stock-prefetch", "ram")}
    for setting, here in found.items():
        others = {other["setting"]: other for other in here["elsewhere"]}
        assert set(others) == set(found) - {setting}
        for name, other in others.items():
            assert other["machine_cycles"] == found[name]["predicted_cycles"]
            assert other["code_in_ram"] == (found[name]["schedule"]["code"] == "ram")
    assert found["ram"]["schedule"]["code"] == "ram"
    words = " ".join(cli(f"{command} stock").out.split())
    assert f"ram: {found['ram']['predicted_cycles']:,} cycles with its code in RAM (predicted)" in words
    assert f"cycles {found['stock']['predicted_cycles']:,} predicted" in words


def test_run_tells_what_was_counted(cli: Cli) -> None:
    """Catches a run whose verdict, cycles with and without wait states, or compiler is not shown."""
    result = cli("solve gemm 33x20x17 --run")
    assert result.code == 0
    for said in (
        "every access is as promised",
        "every element of C is right",
        "without wait states (flash 5)",
        "for each multiply-accumulate",
        "modelled",
        "-O3",
        "M instructions/s",
        "(stack)",
    ):
        assert said in result.out


@pytest.mark.parametrize("arguments", ["gemm 64x576x64 --run", "gemm 2000x300x400 --size qspi=32MiB", "--suite tinyml"])
def test_nothing_is_wider_than_100_columns(arguments: str, cli: Cli) -> None:
    """Catches a table that a usual terminal breaks."""
    result = cli(f"solve {arguments}")
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 100


def test_mcus_lists_every_preset_within_100_columns(cli: Cli) -> None:
    """Catches a preset left out or a line that is broken."""
    result = cli("mcus")
    assert result.code == 0
    assert all(re.search(rf"^{name} ", result.out, re.MULTILINE) for name in preset_names())
    assert max(map(len, result.out.splitlines())) <= 100
    assert [machine["name"] for machine in cli("mcus --json").json] == preset_names()


def test_a_preset_is_printed_as_a_file_to_start_from(cli: Cli, tmp_path: Path) -> None:
    """Catches a printed preset that --mcu does not take back."""
    own = tmp_path / "own.toml"
    own.write_text(cli("mcus stm32f446").out.replace('name = "stm32f446"', 'name = "mine"'))
    assert cli("solve", "gemm", "8x8x8", "--mcu", own, "--json").json["mcu"] == "mine"


def test_json_is_all_of_stdout_and_complete(cli: Cli, tmp_path: Path) -> None:
    """Catches figures missing from the JSON, or text around it."""
    solved = cli("solve", "gemm", "20x9x7", "--run", "--json", "--out", tmp_path / "made")
    found = solved.json
    assert solved.code == 0
    assert set(found) >= _KEYS
    assert found["problem"]["m"] == 20
    assert found["agreed"] is found["equal"] is found["correct"] is found["passed"] is True
    assert found["promised"] == found["counted"]
    assert set(found["solve_ms"]) == {"closed_form", "cp_sat", "exhaustive"}
    assert found["cycles"] >= found["ideal_cycles"] > 0
    ideal = cli("solve gemm 20x9x7 --run --json --wait-states 0").json
    assert ideal["cycles"] == ideal["ideal_cycles"]
    without = cli("solve gemm 20x9x7 --json").json
    assert set(without) >= _KEYS
    assert (without["counted"], without["equal"], without["cycles"], without["passed"]) == (None, None, None, True)


def test_json_of_many_is_a_list(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a suite whose JSON is not one object for each problem, and progress on stdout."""
    monkeypatch.setitem(suites.SUITES, "tinyml", ((3, 4, 5), (6, 7, 8)))
    result = cli("solve --suite tinyml --json")
    assert [(o["problem"]["m"], o["problem"]["n"]) for o in result.json] == [(3, 5), (6, 8)]


def test_options_reach_the_certificate(cli: Cli, tmp_path: Path) -> None:
    """Catches an option that is read and forgotten."""
    sizes = "--sram 4KiB --size fmc=1MiB --size qspi=2MiB"
    given = f"--dtype s8 --mcu stm32f446 --objective cycles --buffering double {sizes} --out {tmp_path}"
    cli(f"solve gemm 21x10x9 {given} --place a=fmc,C=qspi,b=sram")
    assert not (tmp_path / "certificate.json").exists()  # the F446's QSPI flash is read-only, and C must be written
    cli(f"solve gemm 21x10x9 {given} --place a=qspi,C=fmc,b=sram")
    made = Certificate.read(tmp_path / "certificate.json")
    assert (made.problem.dtype, made.machine.name) == ("s8", "stm32f446")
    assert made.problem.placement.model_dump() == {"a": "qspi", "b": "sram", "c": "fmc"}
    assert (made.objective, made.buffering) == ("cycles", "double")
    assert [made.machine.memory(name).size for name in ("sram", "fmc", "qspi")] == [4 << 10, 1 << 20, 2 << 20]


def test_a_written_project_runs_and_verifies(cli: Cli, tmp_path: Path) -> None:
    """Catches a project that differs from what was solved."""
    folder = tmp_path / "new" / "folder"
    assert cli("solve", "gemm", "20x9x7", "--out", folder).code == 0
    ran = cli("run", folder, "--json")
    assert ran.code == 0
    assert ran.json["passed"] is True
    assert "every access is as promised" in cli("run", folder).out
    verified = cli("verify", folder / "certificate.json")
    assert (verified.code, verified.err) == (0, "")
    holds, *premises = verified.out.splitlines()
    assert holds == f"{folder / 'certificate.json'}: every claim holds, given"
    assert [premise.split()[0] for premise in premises] == ["problem", "machine", "objective"]
    assert cli("verify", folder / "certificate.json", "--json").json[0]["holds"] is True


def test_flash_holds_no_more_than_the_program(cli: Cli) -> None:
    """Catches expected results linked into a flash that has room for the code alone."""
    assert cli("solve gemm 64x64x64 --dtype f32 --place all=qspi --size flash=12KiB --run").code == 0


def _changed_c(folder: Path, old: str, new: str) -> None:
    path = folder / "src" / "gemm_q15_20x9x7.c"
    text = path.read_text()
    assert len(re.findall(old, text)) >= 1
    path.write_text(re.sub(old, new, text))


def test_extra_accesses_fail_the_run(cli: Cli, tmp_path: Path) -> None:
    """Catches a comparison of counted and promised that cannot fail."""
    cli("solve", "gemm", "20x9x7", "--out", tmp_path)
    _changed_c(tmp_path, r"(?m)^(    block_\w+\(.*\);)$", r"\1\n\1")
    ran = cli("run", tmp_path, "--json")
    assert ran.code == 1
    assert (ran.json["equal"], ran.json["correct"], ran.json["passed"]) == (False, True, False)
    table = cli("run", tmp_path).out
    assert "not as promised" in table
    assert ", counted " in table


def test_a_wrong_result_fails_the_run(cli: Cli, tmp_path: Path) -> None:
    """Catches a check of the result that cannot fail."""
    cli("solve", "gemm", "20x9x7", "--out", tmp_path)
    _changed_c(tmp_path, r"asr #15", "asr #14")
    ran = cli("run", tmp_path, "--json")
    assert ran.code == 1
    assert (ran.json["equal"], ran.json["correct"], ran.json["passed"]) == (True, False, False)
    assert "C is wrong" in cli("run", tmp_path).out


def test_one_failing_row_fails_the_suite(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches exit code 0 while a row of the table failed."""
    monkeypatch.setitem(suites.SUITES, "tinyml", ((3, 4, 5), (6, 7, 8)))
    good = trial.run

    def second_is_wrong(certificate: Certificate, **options: str | None) -> trial.GemmTrial:
        ran = good(certificate, **options)
        return ran.model_copy(update={"wrong": int(certificate.problem.m != 3)})

    monkeypatch.setattr(trial, "run", second_is_wrong)
    result = cli("solve --suite tinyml --run")
    assert result.code == 1
    assert "2 of 2 counted = promised" in result.out
    assert "1 of 2 correct" in result.out
    assert "wrong result" in result.out
    assert [o["passed"] for o in cli("solve --suite tinyml --run --json").json] == [True, False]


def test_rows_that_do_not_fit_fail_alone(cli: Cli, tmp_path: Path) -> None:
    """Catches one impossible problem that takes the others with it, or that is not reported."""
    file = tmp_path / "two.toml"
    file.write_text("[[gemm]]\nm = 4\nk = 4\nn = 4\n\n[[gemm]]\nm = 40000\nk = 40000\nn = 4\n")
    result = cli("solve", "--file", file)
    assert result.code == 1
    assert "40000x40000x4: " in result.out
    assert "1 of 2 proven" in result.out
    objects = cli("solve", "--file", file, "--json").json
    assert [o["passed"] for o in objects] == [True, False]
    assert set(objects[0]) == set(objects[1]) >= _KEYS - {"instructions_per_second"}


def test_equal_problems_of_a_file_get_folders_of_their_own(cli: Cli, tmp_path: Path) -> None:
    """Catches a project overwritten by the next one of the same sizes."""
    file = tmp_path / "two.toml"
    table = "[[gemm]]\nm = 4\nk = 4\nn = 4\n"
    file.write_text(f'{table}\n{table}placement = {{ a = "sram" }}\n')
    assert cli("solve", "--file", file, "--out", tmp_path / "made").code == 0
    paths = sorted((tmp_path / "made").glob("*/certificate.json"))
    homes = [Certificate.read(path).problem.placement.a for path in paths]
    assert homes == ["flash", "sram"]


@pytest.mark.parametrize("command", ["", *_COMMANDS])
def test_help_is_complete_and_well_rendered(command: str, cli: Cli) -> None:
    """Catches options without a word of help, markup left in the text, examples and paragraphs broken over lines."""
    result = cli(f"{command} --help")
    assert result.code == 0
    assert not re.search(r"\\\[|\[/|\[bold|\\b\s", result.out)
    if command:
        parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
        assert all(getattr(parameter, "help", None) for parameter in parameters)
        examples = _examples(result.out)
        assert examples
        assert all(f"   {line}" in result.out for line in examples)
        assert all(line.split()[1] in _COMMANDS for line in examples)


def test_the_examples_of_the_help_work(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches examples that fail when they are typed in, in the order in which they stand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(suites.SUITES, "tinyml", suites.TINYML[:2])
    shutil.copy(_ROOT / "examples" / "problems.toml", tmp_path)
    firmware(tmp_path)
    (tmp_path / "model.tflite").write_bytes(write(fc_autoencoder()))
    (tmp_path / "tcn.tflite").write_bytes(write(build("tcn")))
    (tmp_path / "model.onnx").write_bytes(onnx(Sketch(np.random.default_rng(3))).SerializeToString())
    # The image and the first tensor together are beyond the arena that the example gives.
    b = Builder("camera", (1, 32, 32, 3), 3)
    x = b.conv_2d(b.conv_2d(b.input, 16, Size2D(3, 3)), 16, Size2D(3, 3), stride=Size2D(2, 2))
    (tmp_path / "camera.tflite").write_bytes(write(b.finish(b.classify(b.average_pool(x), 10))))
    write_own(tmp_path / "own.tflite")
    for name in ("wake", "door"):
        b = Builder(name, (1, 6, 1, 8), 3)
        x = b.conv_2d(0, 4, Size2D(3, 1), same=False)
        (tmp_path / f"{name}.tflite").write_bytes(write(b.finish(b.fully_connected(b.flatten(x), 2))))
    (tmp_path / "sweep.toml").write_text("[[gemm]]\nm = 4\nk = 4\nn = 4\n")
    assert cli("sweep sweep.toml --out results --workers 1").code == 0
    for command in ("solve", "mcus", "run", "verify"):
        lines = _examples(cli(f"{command} --help").out)
        assert lines
        for line in lines:
            words, _, target = line.removeprefix("memaopt ").partition(" > ")
            result = cli(words)
            assert (result.code, result.err) == (0, ""), line
            if target:
                Path(target).write_text(result.out)


def test_without_a_command_the_help_is_shown(cli: Cli) -> None:
    """Catches a bare call that says nothing, or succeeds."""
    result = cli("")
    assert (result.code, result.err) == (2, "")
    assert "solve" in result.out
    assert cli("--version").out == f"memaopt {__version__}\n"


def _spawn(*arguments: str, stdout: int | IO[str], **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **variables}
    command = [sys.executable, "-m", "memaopt", *arguments]
    return subprocess.run(command, env=environment, check=False, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_one_line() -> None:
    """Catches a traceback, at the write or when the process ends."""
    with Path("/dev/full").open("w") as full:
        done = _spawn("mcus", "--json", stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode() == "memaopt: standard output: No space left on device\n"


def test_a_closed_pipe_is_no_error() -> None:
    """Catches a traceback when the reader, such as head, leaves early."""
    reading, writing = os.pipe()
    os.close(reading)
    done = _spawn("mcus", "--json", stdout=writing)
    os.close(writing)
    assert done.stderr == b""


def test_a_terminal_without_the_characters() -> None:
    """Catches a UnicodeEncodeError where stdout is ASCII."""
    for arguments in (["solve", "gemm", "4x4x4"], ["solve", "--help"], ["mcus"], ["verify", "\udcff\u2192.json"]):
        done = _spawn(*arguments, stdout=subprocess.PIPE, PYTHONIOENCODING="ascii")
        assert b"Traceback" not in done.stderr
        assert done.returncode == (2 if arguments[0] == "verify" else 0)


def test_the_module_is_a_program() -> None:
    """Catches a __main__ that does not pass on the exit code."""
    done = _spawn("solve", "gemm", "4x4x4", "--json", stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert json.loads(done.stdout)["agreed"] is True
    assert _spawn("solve", "gemm", "0x4x4", stdout=subprocess.PIPE).returncode == 2
