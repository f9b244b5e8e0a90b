"""Files that are written: all of them or none, killed wherever; and nobody else's are touched."""

import fcntl
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt import writer
from memaopt.errors import InputError
from memaopt.writer import MANIFEST, complete, write_file, write_files

_FIRST = {"a.c": "one", "b.h": "two", "Makefile": "three"}
_SECOND = {"a.c": "other", "c.c": "new", "sub/d.c": "below"}
#: What changes a disk, and so where a process can be killed between two states of it.
_STEPS = ("mkdir", "rename", "replace", "unlink", "fsync", "open", "rmdir")


def _content(folder: Path) -> dict[str, str]:
    """Every file but the manifest, by its path in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def _killed(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that is killed before its n-th step on the disk; whether it got that far."""
    child = os.fork()
    if child == 0:
        count = itertools.count()

        def counted(operation: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                if next(count) == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return operation(*arguments, **options)

            return call

        for name in _STEPS:
            setattr(os, name, counted(getattr(os, name)))
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Catches half a project, and folders above it made for nothing, at every step of writing it."""
    for step in range(1000):
        base = tmp_path / str(step)
        base.mkdir()
        killed = _killed(step, lambda base=base: write_files(_FIRST, base / "x" / "y"))
        if (base / "x").exists():
            assert _content(base / "x" / "y") == _FIRST
        write_files({"other": ""}, base / "z")
        assert {path.name for path in base.iterdir()} <= {"x", "z"}, "what the dead left stays"
        if not killed:
            break
    assert step > 10


@pytest.mark.slow
@pytest.mark.parametrize("read", [True, False])
def test_a_folder_is_changed_whole_or_not_at_all(read: bool, tmp_path: Path) -> None:
    """Catches a folder with files of two projects, at every step, once somebody reads or writes there again."""
    seen = set()
    for step in range(1000):
        folder = tmp_path / f"{step}"
        write_files(_FIRST, folder)
        (folder / "notes").write_text("mine")
        killed = _killed(step, lambda folder=folder: write_files(_SECOND, folder))
        if read:
            complete(folder)
        else:
            write_files({}, folder, keep=True)
        found = _content(folder)
        assert found in ({**_FIRST, "notes": "mine"}, {**_SECOND, "notes": "mine"}), step
        seen.add(found["a.c"])
        assert not list(folder.glob(".memaopt-*"))
        listed = json.loads((folder / MANIFEST).read_text())["files"]
        assert listed.keys() == found.keys() - {"notes"}
        if not killed:
            break
    assert seen == {"one", "other"}
    assert step > 20


def test_the_earlier_project_goes_and_other_files_stay(tmp_path: Path) -> None:
    """Catches two networks mixed in a folder, and a user's file removed with them."""
    write_files(_FIRST, tmp_path / "out")
    (tmp_path / "out" / "build").mkdir()
    (tmp_path / "out" / "build" / "a.o").write_text("object")
    write_files(_SECOND, tmp_path / "out")
    assert _content(tmp_path / "out") == {**_SECOND, "build/a.o": "object"}
    write_files(_FIRST, tmp_path / "out", keep=True)
    assert _content(tmp_path / "out").keys() >= _SECOND.keys() | _FIRST.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: (out / "a.c").write_text("edited"), "a.c was changed since memaopt wrote it"),
        (lambda out: (out / "b.h").write_text("edited"), "b.h was changed since memaopt wrote it"),
        (lambda out: (out / "c.c").write_text("mine"), "c.c is there and not of memaopt's writing"),
        (lambda out: (out / "c.c").mkdir(), "c.c is a folder there"),
        (lambda out: (out / MANIFEST).unlink(), "a.c is there and not of memaopt's writing"),
    ],
)
def test_work_of_others_is_not_overwritten(change: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    """Catches an edited file lost, and a folder of another project half replaced."""
    out = write_files(_FIRST, tmp_path / "out")
    change(out)
    before = _content(out)
    with pytest.raises(InputError, match=said):
        write_files(_SECOND, out)
    assert _content(out) == before


def test_a_file_that_was_there_is_not_removed_later(tmp_path: Path) -> None:
    """Catches a user's model, which lay where the library was written, removed with the next library."""
    (tmp_path / "model.tflite").write_text("same")
    write_files({"model.tflite": "same", "a.c": "one"}, tmp_path)
    write_files({"b.c": "two"}, tmp_path)
    assert _content(tmp_path) == {"model.tflite": "same", "b.c": "two"}


@pytest.mark.parametrize("name", ["../outside", "/outside", "link/outside", ".."])
def test_a_manifest_or_a_journal_reaches_nothing_outside(name: str, tmp_path: Path) -> None:
    """Catches a prepared folder whose manifest or journal has files elsewhere removed or replaced."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    out = write_files(_FIRST, tmp_path / "out")
    (out / "link").symlink_to(tmp_path)
    name = str(outside) if name == "/outside" else name
    (out / MANIFEST).write_text(json.dumps({"files": {name: writer._digest(b"mine")}}))
    ready = out / ".memaopt-1.ready"
    (ready / "new").mkdir(parents=True)
    (ready / "journal").write_text(json.dumps({"move": [name], "remove": [name]}))
    complete(out)
    write_files({"e.c": ""}, out)
    assert outside.read_text() == "mine"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """Catches two processes that take each other's files for those of a dead one."""
    out = write_files(_FIRST, tmp_path / "out")
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    (out / ".memaopt-busy").mkdir()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (write_files(_SECOND, out), done.set()))
    thread.start()
    time.sleep(0.2)
    assert not done.is_set()
    assert (out / ".memaopt-busy").is_dir()
    os.close(descriptor)
    thread.join(10)
    assert _content(out) == _SECOND


def test_paths_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder made elsewhere, and the shell's own folder replaced by another one of that name."""
    monkeypatch.chdir(tmp_path)
    write_files(_FIRST, "new/../other/deep")
    assert _content(tmp_path / "other" / "deep") == _FIRST
    assert not (tmp_path / "new").exists()
    inode = tmp_path.stat().st_ino
    write_files({"x": "y"}, ".")
    assert tmp_path.stat().st_ino == inode
    assert oct((tmp_path / "other").stat().st_mode & 0o777) == oct(0o777 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_one_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """Catches half a certificate or plot, and a temporary file beside it."""
    for step in range(100):
        path = tmp_path / str(step) / "file"
        path.parent.mkdir()
        killed = _killed(step, lambda path=path: write_file(path, b"all of it"))
        assert not path.exists() or path.read_bytes() == b"all of it"
        complete(path.parent)
        assert {entry.name for entry in path.parent.iterdir()} <= {"file"}
        if not killed:
            break
    assert path.read_bytes() == b"all of it"


@pytest.mark.slow
def test_another_gemm_in_the_same_folder(cli: Cli, tmp_path: Path) -> None:
    """Catches the C of two problems in one folder, whose certificate speaks of one."""
    assert cli("solve", "gemm", "20x9x7", "--out", tmp_path / "out").code == 0
    assert cli("solve", "gemm", "8x8x8", "--out", tmp_path / "out").code == 0
    left = [str(path) for path in (tmp_path / "out").rglob("*") if "20x9x7" in path.name]
    assert not left, "files and folders of the other one"
    assert [path.name for path in (tmp_path / "out").rglob("*.c")] == ["gemm_q15_8x8x8.c"]
    assert cli("run", tmp_path / "out").code == 0


@pytest.mark.slow
def test_a_gemm_is_written_with_the_same_bytes(cli: Cli, tmp_path: Path) -> None:
    """Catches a time of day, or of the solver, in what is emitted and signed."""
    for name in ("one", "two"):
        assert cli("solve", "gemm", "20x9x7", "--place", "all=qspi", "--out", tmp_path / name).code == 0
    assert _content(tmp_path / "one") == _content(tmp_path / "two")
