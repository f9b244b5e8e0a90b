"""The results of a sweep: one SQLite file, the same bytes for the same questions however they came to be answered.

======== =============================================================================================
table    what it holds
======== =============================================================================================
meta     the format, memaopt's version
machines every machine in its setting, as canonical JSON, by digest
models   every model's bytes, compressed, by digest
rows     a row for each question, in the order of the sweep's file; ``certificate`` is compressed
======== =============================================================================================
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from memaopt.errors import InputError
from memaopt.files import parse_json
from memaopt.interrupts import scratch_folder
from memaopt.networks.limits import MAX_FILE_BYTES
from memaopt.sweeps.task import Batch, SweepRow, Task, digest_of
from memaopt.version import __version__

FILE = "results.sqlite"
FORMAT = "memaopt-sweep-1"
_KINDS = {"gap": "REAL", "register_gap": "REAL", "certificate": "BLOB", "sram": "INTEGER", "flash": "INTEGER"}
_TASK = tuple(field.name for field in fields(Task))
_ROW = tuple(field.name for field in fields(SweepRow))


def _kind(column: str) -> str:
    return _KINDS.get(column, "INTEGER" if column.endswith("bytes") or column in ("cycles", "arena") else "TEXT")


_COLUMNS = (*_TASK, *_ROW)
_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE machines (sha256 TEXT PRIMARY KEY, json TEXT) WITHOUT ROWID;
CREATE TABLE models (sha256 TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE rows (position INTEGER PRIMARY KEY, {", ".join(f"{name} {_kind(name)}" for name in _COLUMNS)});
"""


def write(
    folder: Path,
    tasks: Sequence[Task],
    rows: Mapping[str, SweepRow],
    machines: Mapping[str, str],
    models: Mapping[str, bytes],
) -> Path:
    """Write the file, all of it or nothing; InputError if that cannot be done."""
    marks = ", ".join("?" * (1 + len(_COLUMNS)))
    try:
        with scratch_folder(beside=folder) as scratch:
            with closing(sqlite3.connect(scratch / FILE, isolation_level=None)) as base:
                base.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 4096;")
                base.executescript(_SCHEMA)
                base.execute("BEGIN")
                meta = {"format": FORMAT, "memaopt": __version__}
                base.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
                base.executemany("INSERT INTO machines VALUES (?, ?)", sorted(machines.items()))
                packed = ((sha, zlib.compress(data, 6)) for sha, data in sorted(models.items()))
                base.executemany("INSERT INTO models VALUES (?, ?)", packed)
                filled = ((i, *_values(task, rows[task.key])) for i, task in enumerate(tasks))
                base.executemany(f"INSERT INTO rows VALUES ({marks})", filled)
                base.execute("COMMIT")
            (scratch / FILE).replace(folder / FILE)
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"{folder / FILE}: cannot be written: {error}") from None
    return folder / FILE


def _values(task: Task, row: SweepRow) -> list[Any]:
    """A value for each column."""
    data = {**asdict(task), **asdict(row), "cost": None if row.cost is None else json.dumps(row.cost)}
    return [data[name] for name in _COLUMNS]


def read(folder: Path) -> Iterator[tuple[Task, SweepRow]]:
    """Every question with its answer, unverified; InputError if there is no file that can be read."""
    query = f"SELECT position, {', '.join(_COLUMNS)} FROM rows ORDER BY position"
    for position, *values in _select(folder, query):
        where = f"{folder / FILE}, row {position}"
        row = dict(zip(_ROW, values[len(_TASK) :], strict=True))
        if isinstance(row["cost"], str):
            row["cost"] = parse_json(row["cost"], where)
        yield Task.of(dict(zip(_TASK, values[: len(_TASK)], strict=True)), where), SweepRow.of(row, where)


def batch_of(folder: Path, tasks: Sequence[Task]) -> Batch:
    """Tasks with the machines and models that they name; InputError for one that is not there as its digest says."""
    machines = {sha: str(text) for sha, text in _select(folder, "SELECT sha256, json FROM machines")}
    packed = dict(_select(folder, "SELECT sha256, data FROM models"))
    wanted = {task.problem for task in tasks if task.kind == "network"}
    written = next(_select(folder, "SELECT value FROM meta WHERE name = 'memaopt'"), (None,))[0]
    if written != __version__:
        raise InputError(
            f"{folder / FILE}: written by memaopt {written}: verify it with that version; this is {__version__}"
        )
    for number, (position,) in enumerate(_select(folder, "SELECT position FROM rows ORDER BY position")):
        if position != number:
            raise InputError(f"{folder / FILE}: row {number} is not there: rows were taken out or moved")
    if missing := sorted({task.machine for task in tasks} - machines.keys()):
        raise InputError(f"{folder / FILE}: no machine {missing[0][:80]!r}, which a row names")
    try:
        models = {sha: zlib.decompressobj().decompress(packed[sha], MAX_FILE_BYTES) for sha in wanted}
    except (KeyError, zlib.error, TypeError) as error:
        raise InputError(f"{folder / FILE}: no model {error}") from None
    texts = {sha: text.encode() for sha, text in machines.items()}
    for sha, data in {**texts, **models}.items():
        if digest_of(data) != sha:
            raise InputError(f"{folder / FILE}: what is there as {sha[:16]} has another digest")
    return Batch(tuple(tasks), machines, models)


def _select(folder: Path, query: str) -> Iterator[tuple[Any, ...]]:
    path = folder / FILE
    if not path.is_file():
        raise InputError(f"{folder}: no {FILE} there; write one with memaopt sweep SWEEP.toml --out {folder}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            found = base.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
            if found != (FORMAT,):
                raise InputError(f"{path}: its format is {found and found[0]}, and this version reads {FORMAT}")
            yield from base.execute(query)
    except sqlite3.Error as error:
        raise InputError(f"{path}: not the results of a sweep: {error}") from None
