"""The native hook: built here without a warning, by whatever compiler there is."""

import subprocess
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest
from emit_helpers import WARNINGS, host_compilers

from memaopt.board import layout
from memaopt.errors import BuildError, MissingToolError

native = import_module("memaopt.board.native")


@pytest.mark.parametrize("compiler", host_compilers(), ids=lambda command: Path(command[-1]).name)
def test_compilers_find_nothing_to_say(compiler: tuple[str, ...], tmp_path: Path) -> None:
    """Catches C that one of them warns of, and a record that C lays out otherwise than numpy."""
    (tmp_path / "layout.h").write_text(layout.header())
    source = Path(native.__file__).with_name("hook.c")
    command = [*compiler, "-std=c11", "-O1", *WARNINGS, f"-I{tmp_path}", "-c", str(source), "-o", str(tmp_path / "h.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_record_of_another_size_is_no_hook(tmp_path: Path) -> None:
    """Catches sizes that the compiler does not compare."""
    wrong = layout.header().replace(
        f"sizeof(Row) == {layout.ROW.itemsize}", f"sizeof(Row) == {layout.ROW.itemsize + 8}"
    )
    (tmp_path / "layout.h").write_text(wrong)
    source = Path(native.__file__).with_name("hook.c")
    command = [*host_compilers()[0], "-std=c11", f"-I{tmp_path}", "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Row has another size" in done.stderr


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback where a chip's compiler is all that a computer has."""
    monkeypatch.setattr(native, "host_command", lambda: None)
    with pytest.raises(MissingToolError, match=r"cc, gcc, clang on PATH, or pip install 'memaopt\[zig\]'"):
        native._build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_library_of_windows_has_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a library whose loading calls whatever code comes first, since the compiler's own start is left out."""
    built: list[Sequence[str]] = []

    def run(command: Sequence[str], scratch: Path) -> tuple[int, str, str]:
        built.append(command)
        return 0, "", ""

    monkeypatch.setattr(native.sys, "platform", "win32")
    monkeypatch.setattr(native, "host_command", lambda: ("gcc",))
    monkeypatch.setattr(native.interrupts, "run", run)
    native._build(tmp_path)
    assert len(built) == 1
    assert "-nostdlib" not in built[0]


def test_where_nothing_may_be_kept_or_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches half a library that stays beside Python's files, and an error without a word of what it is of."""
    kept = tmp_path / "kept"
    kept.mkdir()
    built = tmp_path / "built"
    built.write_bytes(b"no library")
    monkeypatch.setattr(native, "cache_from_source", lambda path: str(kept / "hook.pyc"))
    monkeypatch.setattr(native, "_build", lambda folder: built)

    def refuse(*paths: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(native.os, "replace", refuse)
    with pytest.raises(BuildError, match=r"native hook was built, and cannot be loaded: .*built"):
        native.on_instruction.__wrapped__()
    assert list(kept.iterdir()) == []
