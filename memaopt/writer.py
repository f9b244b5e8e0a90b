"""Writing files: all of them whole, or none, also when the process is killed between two of them.

A folder that is not there yet is made beside its place and renamed: one step. In a folder that is there, everything is
first written into ``.memaopt-*`` in it, with a journal of what shall be moved into place and what removed; renaming
that to ``.memaopt-*.ready`` is the step after which the change happens. What a killed process left is completed if it
was ready, else taken back, by the next command that writes or reads there.

``.memaopt.json`` has the digest of each file that memaopt wrote in a folder. Those alone are replaced or removed, and
only while they are as they were written; folders that are empty then go too.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from memaopt.errors import InputError
from memaopt.files import parse_json, read_text
from memaopt.interrupts import scratch_folder, whole
from memaopt.spelling import either

MANIFEST = ".memaopt.json"
_MANIFEST_BYTES = 1 << 20
_LEFTOVERS = ".memaopt-*"
_READY = ".ready"
_JOURNAL = "journal"
_PATIENCE_S = 30.0


def write_files(files: Mapping[str, str | bytes], folder: str | Path, *, keep: bool = False) -> Path:
    """Write ``files`` (name to text or bytes) into ``folder``, made if need be; InputError if that cannot be done.

    Files that an earlier call wrote there go, unless ``keep``; a file of somebody else, or one that was changed since
    memaopt wrote it, is never replaced or removed: then nothing is written. One that has the same bytes stays.
    """
    target = Path(os.path.abspath(folder))
    contents = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    try:
        if os.path.lexists(target):
            with _locked(target):
                _settle(target)
                _change(contents, target, keep)
        else:
            _create(contents, target)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; choose another folder") from None
    return Path(folder)


def write_scratch(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Write ``files`` into a scratch folder, which nobody reads once this process has ended: no journal, no waiting for
    the disk."""
    for name, data in files.items():
        path = folder / name
        with whole():  # once a signal has taken the folder away, it is not made again
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)


def write_file(path: str | Path, data: bytes) -> None:
    """Write one file, all of it or nothing; InputError if that cannot be done."""
    target = Path(path)
    try:
        with _locked(target.parent), scratch_folder(beside=target.parent) as scratch:
            _store(scratch / "file", data)
            (scratch / "file").replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from None


def complete(folder: str | Path) -> None:
    """Complete, or take back, what a killed process was writing in a folder, if there is such."""
    path = Path(folder)
    if path.is_dir() and any(path.glob(_LEFTOVERS)):
        with suppress(OSError), _locked(path):
            _settle(path)


def _create(contents: Mapping[str, bytes], target: Path) -> None:
    """Make a folder with all its files, and the folders above it that are not there, by one rename."""
    missing = [target, *(parent for parent in target.parents if not os.path.lexists(parent))]
    above = missing[-1].parent
    with _locked(above):
        _settle(above)
        with scratch_folder(beside=above) as scratch:
            inner = scratch / target.relative_to(missing[-1])
            for name, data in contents.items():
                _store(inner / name, data)
            _store(inner / MANIFEST, _manifest(dict.fromkeys(contents, ""), contents))
            with whole():
                scratch.rename(missing[-1])
                _synchronise(above)


def _change(contents: Mapping[str, bytes], target: Path, keep: bool) -> None:
    """Change a folder from what it holds to what it shall hold."""
    before = _read_manifest(target)
    own = {name: digest for name, digest in before.items() if (target / name).is_file()}
    stale = [] if keep else [name for name in own if name not in contents]
    for name in [*contents, *stale]:
        _demand_ours(target, name, contents.get(name), own)
    # A file that was there before us, with these very bytes, is not ours to remove later.
    written = {name: "" for name in contents if name in own or not (target / name).exists()}
    kept = {name: digest for name, digest in own.items() if keep and name not in contents}
    with scratch_folder(beside=target) as scratch:
        for name, data in contents.items():
            _store(scratch / "new" / name, data)
        _store(scratch / "new" / MANIFEST, _manifest({**kept, **written}, contents))
        journal = {"move": [*contents, MANIFEST], "remove": stale}
        _store(scratch / _JOURNAL, json.dumps(journal).encode())
        _synchronise(scratch)
        ready = scratch.with_name(scratch.name + _READY)
        with whole():
            scratch.rename(ready)
            _synchronise(target)
            _follow(ready, target)


def _demand_ours(target: Path, name: str, new: bytes | None, own: Mapping[str, str]) -> None:
    """InputError if a file that would be replaced or removed is not as memaopt wrote it."""
    path = target / name
    if path.is_dir():
        raise IsADirectoryError(0, f"{name} is a folder there")
    if not os.path.lexists(path):
        return
    found = path.read_bytes()
    if found == new or _digest(found) == own.get(name):
        return
    what = "was changed since memaopt wrote it" if name in own else "is there and not of memaopt's writing"
    other = f"choose another folder{either(' with --out', '')}"
    raise InputError(f"{target}: {name} {what}: move it away, or {other}")


def _settle(folder: Path) -> None:
    """Nobody else writes here now, so what is half done was left by the dead: it is completed if it was ready."""
    for left in sorted(folder.glob(_LEFTOVERS)):
        if left.name.endswith(_READY):
            _follow(left, folder)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _follow(ready: Path, target: Path) -> None:
    """Do what a journal says, or the rest of it. A name that leads out of the folder is not followed."""
    journal = _read_table(ready / _JOURNAL)
    for name in filter(partial(_is_inside, target), journal.get("move", ())):
        if (ready / "new" / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (ready / "new" / name).replace(target / name)
    for name in filter(partial(_is_inside, target), journal.get("remove", ())):
        (target / name).unlink(missing_ok=True)
        with suppress(OSError):  # a folder that holds something else stays
            for folder in (target / name).parents[: len(Path(name).parts) - 1]:
                folder.rmdir()
    _synchronise(target)
    shutil.rmtree(ready, ignore_errors=True)


def _manifest(digests: Mapping[str, str], contents: Mapping[str, bytes]) -> bytes:
    """The text of a manifest: the digests given, and those of the contents instead where there are any."""
    files = {name: _digest(contents[name]) if name in contents else digests[name] for name in sorted(digests)}
    return (json.dumps({"files": files}, indent=2) + "\n").encode()


def _read_manifest(folder: Path) -> dict[str, str]:
    """What memaopt wrote in a folder, by name; nothing where there is no manifest that says so."""
    files = _read_table(folder / MANIFEST).get("files")
    entries = files.items() if isinstance(files, dict) else ()
    return {name: digest for name, digest in entries if _is_inside(folder, name) and isinstance(digest, str)}


def _read_table(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty where there is none."""
    try:
        found = parse_json(read_text(path, _MANIFEST_BYTES), path.name)
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_inside(folder: Path, name: object) -> bool:
    """Whether a name is one of a file in the folder, or below it."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    return (folder / name).parent.resolve().is_relative_to(folder.resolve()) and not name.endswith("..")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _store(path: Path, data: bytes) -> None:
    """Put bytes onto the disk."""
    with whole():  # once a signal has taken the folder away, it is not made again
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    with file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _synchronise(folder: Path) -> None:
    """Put a folder's own entries onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time in a folder: a lock that ends with its process. Others wait a while."""
    try:
        import fcntl
    except ImportError:  # no such locks here
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InputError(f"{folder}: another process has been writing there for a while") from None
                time.sleep(0.05)
            except OSError:
                break  # a file system without locks
        yield
    finally:
        os.close(descriptor)
