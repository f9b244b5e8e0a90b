"""What a command imports, and leaves behind: a command that does little starts at once, and ends as soon."""

import subprocess
import sys
from pathlib import Path
from types import UnionType

import pytest

from memaopt import Gemm, certify, mcu

_HEAVY = ("ortools", "pandas", "numpy", "jinja2", "unicorn", "capstone", "elftools", "matplotlib")
#: pydantic is not among them: typer itself reads arguments with it.
_REPORT = """
import atexit, gc, sys
atexit.register(lambda: print("imported", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr))
atexit.register(lambda: print("to be collected", len(gc.get_objects()), file=sys.stderr))
from memaopt.__main__ import main
main()
"""
#: Objects in which Python looks for circles as it ends: of these modules alone there are ten times as many.
_FEW = 2_000


def imported(*arguments: object) -> set[str]:
    """The packages that a command has imported when it ends; it must succeed and leave nothing to be looked through."""
    command = [sys.executable, "-c", _REPORT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stderr.split("to be collected ", 1)[1].split()[0]) < _FEW
    return set(done.stderr.split("imported ", 1)[1].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("solve", "--help"), ("bench", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """Catches seconds of imports before a line of help, and a tenth of a second for garbage after it."""
    assert not imported(*arguments) & set(_HEAVY)


def test_verify_never_loads_the_solver(tmp_path: Path) -> None:
    """Catches a check that waits for the solver, or believes it."""
    gemm = certify(Gemm(m=8, k=27, n=8), mcu("stm32l4r5"), "cycles")
    gemm.write(tmp_path / "certificate.json")
    assert not imported("verify", tmp_path / "certificate.json") & {"ortools", "pandas", "unicorn"}


def test_importing_memaopt_imports_nothing_heavy() -> None:
    """Catches a package that loads everything for whoever wants an exception's name."""
    code = "import sys; from memaopt import InputError, emit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(_HEAVY)


def test_everything_named_is_there(tmp_path: Path) -> None:
    """Catches a public name without a home, and the package ``emit`` in the place of the function."""
    import memaopt.emit.gemm  # as any module may

    for name in memaopt.__all__:
        assert callable(named := getattr(memaopt, name)) or isinstance(named, UnionType), name
    assert set(memaopt.__all__) <= set(dir(memaopt))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = memaopt.nothing
