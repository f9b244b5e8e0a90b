"""The journal of a sweep: a line, a disk or a file that is lost costs no more than itself."""

import errno
import os
from pathlib import Path

import pytest

from memaopt.errors import InputError
from memaopt.sweeps import journal
from memaopt.sweeps.task import SweepRow


def test_a_line_that_is_wrong_costs_itself_alone(tmp_path: Path) -> None:
    """Catches rows behind a line that a disk lost, thrown away with it."""
    path, names = tmp_path / "journal", ("a", "b", "c")
    with journal.Journal(path) as there:
        there.add(SweepRow(name, "infeasible") for name in names)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"0" + lines[1][1:] + lines[2] + lines[1][:9])
    for _ in range(2):
        with journal.Journal(path) as there:
            assert list(there.rows) == ["a", "c"]
            assert path.read_bytes().endswith(lines[2])


def test_a_full_disk_is_one_line_and_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an error of closing the file in place of the first one, and rows that were there before it."""
    write, path = os.write, tmp_path / "journal"

    def full(descriptor: int, data: bytes) -> int:
        if os.fstat(descriptor).st_size > 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:300])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InputError, match="journal: cannot be written: No space left"), journal.Journal(path) as there:
        there.add(SweepRow(str(number), "infeasible") for number in range(9))
    monkeypatch.undo()
    with journal.Journal(path) as there:
        kept = list(there.rows)
    assert kept == list("012345678")[: len(kept)]
    assert 0 < len(kept) < 9


def test_a_journal_that_was_taken_away_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a second sweep that opens the file of a first, which then removes it and leaves the lock."""
    fcntl, path = pytest.importorskip("fcntl"), tmp_path / "journal"
    monkeypatch.setattr(fcntl, "flock", lambda *_: path.unlink())
    with pytest.raises(InputError, match="another sweep was just writing there"):
        journal.Journal(path)
