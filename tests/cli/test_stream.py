"""``memaopt solve MODEL --stream``: the options, and what they say where they do not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt.networks.formats.tflite import writer
from memaopt.networks.zoo import zoo


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "tcn.tflite"
    path.write_bytes(writer.write(zoo.build("tcn")))
    return path


def test_a_stream_is_solved_and_run(cli: Cli, model: Path, tmp_path: Path) -> None:
    """Catches an option that does not arrive, and a folder that cannot be run again."""
    out = tmp_path / "lib"
    done = cli("solve", str(model), "--stream", "auto", "--hop", "2", "--run", "--out", str(out), "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["certificate"]["stream"] == {"axis": "rows", "hop": 2, "fill": "zero"}
    assert found["trial"]["pushed"] is True
    assert found["trial"]["inputs"] == 23
    assert "int tcn_push(tcn_state *state, const int8_t *in, int8_t *out);" in (out / "include/tcn.h").read_text()
    assert cli("verify", str(out / "certificate.json")).code == 0
    again = cli("run", str(out))
    assert again.code == 0
    assert "on 23 pushes" in again.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--hop", "1"), "--hop has no effect without --stream"),
        (("--fill", "first"), "--fill has no effect without --stream"),
        (("--stream", "time"), "stream 'time': there are auto, rows, columns"),
        (("--stream", "rows", "--fill", "last"), "fill 'last': there are zero, first"),
        (("--stream", "columns"), "rows would do"),
        (("--stream", "rows", "--hop", "41"), "1 to 39 would do"),
    ],
)
def test_a_bad_request_is_one_line(cli: Cli, model: Path, options: tuple[str, ...], said: str) -> None:
    """Catches a traceback, or an option that is passed over in silence."""
    done = cli("solve", str(model), *options)
    assert done.code == 2
    assert done.err.startswith("memaopt: ")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_a_gemm_has_no_window(cli: Cli) -> None:
    """Catches an option that has no effect and says nothing."""
    done = cli("solve", "gemm", "8x8x8", "--stream", "rows")
    assert done.code == 2
    assert "--stream" in done.err


def test_fronts_and_chips_of_a_stream(cli: Cli, model: Path) -> None:
    """Catches a front or a chip that is asked for the whole window, and a bound that a smaller arena contradicts."""
    done = cli("pareto", str(model), "--stream", "rows")
    assert done.code == 0, done.err
    assert "layers that write over a row's inputs while they compute it pass below that" in " ".join(done.out.split())
    fronts = cli("pareto", str(model), "--stream", "rows", "--json").json
    fit = cli("fit", str(model), "--stream", "rows", "--mcus", "stm32l4r5", "--json").json
    assert fronts["arena"][0]["machine_cycles"] == fit[0]["cycles"] < 20_000
    refused = cli("fit", str(model), "--hop", "1")
    assert refused.code == 2
    assert "--hop has no effect without --stream" in refused.err
