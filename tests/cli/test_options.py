"""Options that change nothing: refused where they cannot, told of where they happen not to."""

from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt.problems import suites


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("solve gemm 4x4x4 --arena 4KiB", "--arena has no effect on a gemm"),
        ("solve gemm 4x4x4 --inputs 2 --run", "--inputs has no effect on a gemm"),
        ("solve gemm 4x4x4 --inputs 2", "--inputs has no effect without --run"),
        ("solve gemm 4x4x4 --ram-for-constants 4KiB", "--ram-for-constants has no effect on a gemm"),
        ("solve gemm 4x4x4 --compiler gcc", "--compiler has no effect on a gemm: nothing is built without --run"),
        ("bench --models .", "--models has no effect on bench: they are for --suite"),
        ("bench --layers", "--layers has no effect on bench"),
        ("bench --within 2", "--within has no effect on bench: it is for --tiles"),
        ("bench --places --within 2", "--within has no effect on bench --places"),
        ("bench --tiles --places", "--places has no effect on bench --tiles: one study at a time"),
        ("bench squares --tiles", "a section has no effect on bench --tiles"),
        ("bench --tiles --plots x", "--plots has no effect on bench --tiles"),
        *(
            (f"bench --suite mlperf-tiny {option}", "has no effect on bench --suite")
            for option in (
                "layers",
                "--dtype s8",
                "--mcu stm32f407",
                "--setting ram",
                "--wait-states 0",
                "--layer 4x4x4",
                "--plots x",
                "--tiles",
                "--places",
                "--within 2",
            )
        ),
    ],
)
def test_refused(arguments: str, said: str, cli: Cli) -> None:
    """Catches an option that somebody relies on and nobody reads."""
    assert said in cli.refused(arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "--buffering double --place all=sram",
            "--buffering has no effect on gemm 8x8x8: nothing is copied into SRAM, where A, B and C live",
        ),
        ("--size qspi=4MiB", "the size of qspi has no effect on gemm 8x8x8: nothing of it lives there"),
        ("--flash 64KiB --place all=sram", "the size of flash has no effect on gemm 8x8x8"),
        ("--ram-for-code 64KiB", "--ram-for-code has no effect on gemm 8x8x8: under bytes"),
        ("--objective cycles --ram-for-code 64", "--ram-for-code has no effect on gemm 8x8x8: under cycles"),
    ],
)
def test_told(arguments: str, said: str, cli: Cli) -> None:
    """Catches an option that changes nothing here without a word, and JSON that the word is mixed into."""
    for more in ("", " --json"):
        result = cli(f"solve gemm 8x8x8 {arguments}{more}")
        assert result.code == 0
        assert result.err.startswith(f"memaopt: {said}")
        assert result.err.count("\n") == 1
    assert result.json["passed"]


@pytest.mark.parametrize(
    "arguments",
    [
        "--buffering double --place all=qspi",
        "--buffering single",
        "--flash 64KiB",
        "--size qspi=4MiB --place a=qspi",
        "--flash 64KiB --place all=sram --run",
        "--objective cycles --ram-for-code 64KiB",
        "--flash 64",
    ],
)
def test_not_told(arguments: str, cli: Cli) -> None:
    """Catches a word about an option that does have an effect: the last one moves A out of flash."""
    assert "no effect" not in cli(f"solve gemm 8x8x8 {arguments}").err


def test_many_problems_are_counted(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches a line for each of twenty problems, or one that is true of some of them alone."""
    monkeypatch.setitem(suites.SUITES, "tinyml", ((3, 4, 5), (6, 7, 8)))
    told = cli("solve --suite tinyml --buffering double --place all=sram").err
    assert told == (
        "memaopt: --buffering has no effect on 2 of 2 problems: nothing is copied into SRAM, where A, B and C live\n"
    )
    file = tmp_path / "p.toml"
    file.write_text("[[gemm]]\nm = 4\nk = 4\nn = 4\ndtype = 's8'\nplacement = { a = 'sram' }\n")
    assert cli("solve", "--file", file).code == 0
    for option, value, field in (("--dtype", "q15", "dtype"), ("--place", "a=qspi", "placement")):
        said = f"{option} has no effect on {file}: every [[gemm]] there has its own {field}"
        assert said in cli.refused("solve", "--file", file, option, value)
    file.write_text(file.read_text() + "[[gemm]]\nm = 4\nk = 4\nn = 4\n")
    assert cli("solve", "--file", file, "--dtype", "f32", "--json").json[1]["problem"]["dtype"] == "f32"
