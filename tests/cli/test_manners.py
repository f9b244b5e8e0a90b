"""How the command line behaves in a terminal, in a pipe and to a shell that completes words."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt.cli.completion import SHELLS


def in_terminal(*arguments: object, **environment: str) -> str:
    """What a command writes to a terminal, stdout and stderr together."""
    here, there = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "TERM")}
    command = [sys.executable, "-m", "memaopt", *map(str, arguments)]
    done = subprocess.Popen(
        command, stdout=there, stderr=there, stdin=there, env={**settings, "TERM": "xterm-256color", **environment}
    )
    os.close(there)
    written = b""
    while True:
        try:
            part = os.read(here, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(here)
    assert done.wait() == 0, written
    return written.decode()


def test_what_is_done_is_shown_in_a_terminal_alone(tmp_path: Path) -> None:
    """Catches seconds without a word in a terminal, and a bar in a file that only the result belongs in."""
    command = ["solve", "gemm", "8x8x8", "--out", tmp_path / "made"]
    seen = in_terminal(*command)
    assert "gemm 8x8x8 q15" in seen
    assert "\x1b[?25l" in seen, "a bar hides the cursor"
    assert "\x1b[?25h" in seen
    assert seen.index("\x1b[?25h") > seen.index("\x1b[?25l")
    words = [sys.executable, "-m", "memaopt", *map(str, command)]
    piped = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (piped.stderr, "\x1b" in piped.stdout) == ("", False)


def test_no_color_and_columns() -> None:
    """Catches colours for who wants none, and help that is folded where there is room."""
    colour = re.compile(r"\x1b\[(\d+;)*[39]\d")
    for command in (["--help"], ["mcus"]):
        assert colour.search(in_terminal(*command))
    wide = in_terminal("solve", "--help", NO_COLOR="1", COLUMNS="140")
    assert max(len(line) for line in wide.splitlines()) > 120
    assert not colour.search(wide + in_terminal("mcus", NO_COLOR="1"))


def asked(shell: str, words: str) -> str:
    """What the program answers a shell that completes these words."""
    environment = {
        **os.environ,
        "_MEMAOPT_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = "from memaopt.cli.main import main; import sys; sys.argv[0] = 'memaopt'; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, cli: Cli) -> None:
    """Catches a script for a program of another name, and an answer without commands, options or presets."""
    script = cli("--completion", shell)
    assert script.code == 0
    assert "_MEMAOPT_COMPLETE" in script.out
    assert "measure" in asked(shell, "memaopt me")
    if shell == "bash":
        assert "--objective" in asked(shell, "memaopt solve --obj")
        assert asked(shell, "memaopt solve --mcu stm32l4").split() == [
            "stm32l432",
            "stm32l476",
            "stm32l4r5",
            "stm32l4s5",
        ]
        assert asked(shell, "memaopt evaluate --objective cy").split() == ["cycles"]


def test_a_shell_that_is_not_known(cli: Cli) -> None:
    """Catches a traceback for tcsh."""
    assert "there are bash, zsh, fish" in cli.refused("--completion", "tcsh")


@pytest.mark.parametrize(
    "command", ["solve", "verify", "run", "mcus", "bench", "check", "measure", "validate", "evaluate", "sweep", "fit"]
)
def test_help_is_of_one_style(command: str, cli: Cli) -> None:
    """Catches an option whose help says its type instead of what to give, or its default in another form."""
    shown = cli(command, "--help").out
    assert "Example" in shown
    options = shown[shown.index("─ Options") if "─ Options" in shown else 0 :]
    for stray in ("<bool>", "<str>", "<int", "<float", "<list", "<path>", "default: gcc if on PATH.", "Default:"):
        assert stray not in options, stray


def test_a_chip_of_another_family_is_not_a_misspelt_one(cli: Cli) -> None:
    """Catches an answer that leads to a chip with another core."""
    for name in ("stm32h7", "stm32h743", "rp2040"):
        said = cli.refused("solve", "gemm", "4x4x4", "--mcu", name)
        assert "did you mean" not in said
        assert "(or give a .toml file)" in said
    assert "did you mean stm32l4r5" in cli.refused("solve", "gemm", "4x4x4", "--mcu", "stm32l4r5zi")
