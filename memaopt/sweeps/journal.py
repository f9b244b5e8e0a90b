"""Rows as they finish, on disk before they count: a file that a killed sweep goes on from.

A line is a checksum and a row as JSON. A process killed in the middle of a line leaves half of one at the end: it is
cut off, and its task solved again. So is that of a line elsewhere that is not as it was written.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from memaopt.errors import InputError
from memaopt.files import parse_json
from memaopt.sweeps.task import SweepRow


class Journal:
    """The file, held by one process at a time. ``rows`` are those that were there when it was opened, by key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, SweepRow] = {}
        try:
            self._file = path.open("ab+")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}; choose another folder") from None
        _lock(self._file.fileno(), path)
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            row = _read(line, f"{path}, at byte {end:,}")
            if row is not None:
                self.rows[row.key] = row
            end += len(line)
        self._file.truncate(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.empty:
            self.remove()
        self._file.close()

    @property
    def empty(self) -> bool:
        """Whether nothing is written down."""
        return os.fstat(self._file.fileno()).st_size == 0

    def add(self, rows: Iterable[SweepRow]) -> None:
        """Write rows. What is written survives the process; a failure of power may cost the last ones."""
        left = memoryview(b"".join(map(_line, rows)))
        try:
            while left:  # past Python's buffer, which a full disk would leave full for whoever closes the file
                left = left[os.write(self._file.fileno(), left) :]
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """Its rows are in the results now."""
        with suppress(OSError):
            self._path.unlink()

    def leave(self, rows: Iterable[SweepRow]) -> None:
        """Its rows are in the results now, but for these, which stay, at any moment, for the sweep that asked them."""
        kept = b"".join(map(_line, rows))
        if not kept:
            self._file.truncate(0)
            return
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            beside.write_bytes(kept)
            os.replace(beside, self._path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from None


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks here
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path.parent}: another sweep is writing there") from None
    except OSError:
        os.stat(path)  # a file system without locks
    if not (path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())):
        raise InputError(f"{path.parent}: another sweep was just writing there; ask again")


def _line(row: SweepRow) -> bytes:
    data = asdict(row)
    if row.certificate is not None:
        data["certificate"] = base64.b64encode(row.certificate).decode()
    text = json.dumps(data, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(line: bytes, where: str) -> SweepRow | None:
    """The row of a line, None if it is not as it was written; InputError for one that is and is no row."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    data = parse_json(text.decode(errors="replace"), where)
    if isinstance(data, dict) and isinstance(data.get("certificate"), str):
        try:
            data["certificate"] = base64.b64decode(data["certificate"])
        except ValueError as error:
            raise InputError(f"{where}: certificate: {error}") from None
    return SweepRow.of(data, where)
