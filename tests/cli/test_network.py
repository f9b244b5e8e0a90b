"""The command line for networks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from memaopt.cli import main as cli
from memaopt.networks.zoo import zoo
from memaopt.trials import network as network_trial


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.save(tmp_path_factory.mktemp("zoo"), ("ds_cnn",))[0]


def test_solve_writes_a_verified_library(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a table, a certificate or a library that does not fit the others, and layers whose cycles leave out what
    the setting makes them wait for; all of it as a user would do it.
    """
    monkeypatch.chdir(tmp_path)
    out = Path("build")
    assert _run("solve", str(model), "--out", str(out), "--run", "--inputs", "2") == 0
    text = capsys.readouterr().out
    words = " ".join(text.split())
    for part in ("chained", "depthwise", "arena", "the largest live set is", "every access counted was promised"):
        assert part in words
    assert "stock: STM32Cube as it comes" in text
    best = r"[\d,]+ cycles for the best choice"
    assert re.search(rf"elsewhere +stock-prefetch: {best}; ram: {best}", words)
    assert all(len(line) <= 100 for line in text.splitlines())
    rows = re.findall(r" ([\d,]+) +(?:[\d.]+ +)?[\d.]+% +([\d,]+) +ok", text)
    total = re.search(r"cycles +([\d,]+) predicted", text)
    assert total is not None
    layers = sum(int(predicted.replace(",", "")) for predicted, _ in rows)
    around = int(total[1].replace(",", "")) - layers
    assert 28 + 7 * len(rows) <= around < 28 + 30 * len(rows), "invoke and its calls, and what they wait for"
    names = {str(path.relative_to(out)) for path in out.rglob("*")}
    assert {"src/ds_cnn.c", "include/ds_cnn.h", "Makefile", "CMakeLists.txt", "ds_cnn.tflite"} <= names
    assert _run("verify", str(out / "certificate.json")) == 0
    assert "every claim holds" in capsys.readouterr().out
    assert _run("run", str(out)) == 0
    assert "every access counted was promised" in " ".join(capsys.readouterr().out.split())
    source = out / "src" / "ds_cnn.c"
    changed, count = re.subn(r"(ds_cnn_2_\w+\()base \+ ", r"\g<1>16 + base + ", source.read_text(), count=1)
    assert count == 1
    source.write_text(changed)
    assert _run("run", str(out)) == 1, "a library that was changed by hand must fail"
    damaged = json.loads((out / "certificate.json").read_text())
    damaged["totals"]["cycles"] = 1
    (out / "certificate.json").write_text(json.dumps(damaged))
    assert _run("verify", str(out / "certificate.json")) == 1


def test_json_is_one_object_with_the_trial(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches text mixed into JSON, and a run whose figures are missing."""
    assert _run("solve", str(model), "--run", "--json", "--wait-states", "0") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert found["trial"]["layers"][0]["counted"] == found["trial"]["layers"][0]["promised"]
    assert found["certificate"]["totals"]["arena_bytes"] == found["totals"]["arena_bytes"]


def test_a_failed_check_ends_with_1(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run whose failure a script would not notice."""
    run = network_trial.run

    def broken(*args: object, **kwargs: object) -> network_trial.NetworkTrial:
        return run(*args, **kwargs).model_copy(update={"wrong": 3})  # type: ignore[arg-type]

    monkeypatch.setattr(network_trial, "run", broken)
    assert _run("solve", str(model), "--run") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sram", "4KiB"), "bytes of SRAM"),
        (("--flash", "16KiB"), "bytes of flash"),
        (("--objective", "speed"), "objective"),
        (("--mcu", "stm32"), "no microcontroller"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    model: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Catches a traceback, a half-written folder, or an exit code of 0."""
    out = tmp_path / "build"
    assert _run("solve", str(model), "--out", str(out), *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x00" * 100])
def test_a_file_that_is_no_model_is_one_line(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback on a damaged model, from either command."""
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    for command in ("solve", "inspect"):
        assert _run(command, str(path)) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_inspect_shows_every_operator(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an operator missing from the table or from JSON."""
    assert _run("inspect", str(model)) == 0
    text = capsys.readouterr().out
    assert text.count("depthwise") == 4
    assert _run("inspect", str(model), "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == len(zoo.build("ds_cnn").operators)


def test_each_setting_says_what_the_others_give(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches figures of one setting under the name of another, ones that are not the best there although they are
    said to be, and a budget of RAM that is not said.
    """
    found = {}
    for setting in ("stock", "stock-prefetch", "ram"):
        assert _run("solve", str(model), "--setting", setting, "--within", "0", "--json") == 0
        found[setting] = json.loads(capsys.readouterr().out)
        assert found[setting]["certificate"]["machine"]["setting"]["name"] == setting
    for setting, here in found.items():
        others = {other["setting"]: other for other in here["elsewhere"]}
        assert set(others) == set(found) - {setting}
        for name, other in others.items():
            assert other["machine_cycles"] == found[name]["totals"]["machine_cycles"]
            assert other["ram_bytes"] == found[name]["totals"]["ram_bytes"]
    assert found["stock"]["totals"]["ram_bytes"] == 0
    assert found["ram"]["totals"]["machine_cycles"] < found["stock"]["totals"]["machine_cycles"]
    assert _run("solve", str(model), "--ram-for-constants", "20KiB") == 0
    text = capsys.readouterr().out
    assert "budgets: up to 20,480 bytes of constants in RAM" in text
    assert "kernels of 0 layers" in text
