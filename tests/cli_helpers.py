"""The command line called in-process, and what came of it."""

import json
from typing import Any, NamedTuple

import pytest

from memaopt.cli.main import main


class Result(NamedTuple):
    """Exit code and what was written."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, all of it, as JSON."""
        return json.loads(self.out)


class Cli:
    """Runs ``memaopt`` with arguments, as from a shell."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Result:
        """Arguments given as one string with blanks are split at them."""
        words = [str(a) for a in arguments]
        if len(words) == 1:
            words = words[0].split()
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = self._capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    def refused(self, *arguments: object, code: int = 2) -> str:
        """The one line on stderr with which the arguments are refused; nothing is on stdout."""
        result = self(*arguments)
        assert (result.code, result.out) == (code, ""), result
        lines = result.err.splitlines()
        assert len(lines) == 1, result
        assert lines[0].startswith("memaopt: ")
        assert "Traceback" not in result.err
        return lines[0].removeprefix("memaopt: ")
