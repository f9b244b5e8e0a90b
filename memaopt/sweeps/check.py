"""A sweep's results, verified: every certificate holds, and is the one of its row's question."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from memaopt.sweeps import results, worker
from memaopt.sweeps.pools import Workers
from memaopt.sweeps.task import Batch, SweepRow, Task

#: Certificates that go to a worker together.
_TOGETHER = 8


class Checked(NamedTuple):
    """A row's question; the false ``claim`` of it or its certificate, if any; whether something is ``unproven``."""

    task: Task
    claim: str
    unproven: bool


class Count(NamedTuple):
    """Rows that have a certificate or should have one, rows that say that nothing fits, and others, which failed."""

    certificates: int
    infeasible: int
    others: int


def count(folder: Path) -> Count:
    """How many rows there are of each kind; InputError for no results."""
    rows = [row for _, row in results.read(folder)]
    certified = sum(map(_certified, rows))
    derived = sum(map(_derived, rows))
    return Count(certified, derived - certified, len(rows) - derived)


def check(folder: Path, pool: Workers) -> Iterator[Checked]:
    """Each row that is no failure, derived again, in the order of the results."""
    rows = (pair for pair in results.read(folder) if _derived(pair[1]))
    stored = results.batch_of(folder, [task for task, _ in results.read(folder)])
    pending: deque[tuple[list[tuple[Task, SweepRow]], Future[list[worker.Verdict]]]] = deque()
    while True:
        while len(pending) < 4 * pool.size and (some := list(islice(rows, _TOGETHER))):
            tasks = tuple(task for task, _ in some)
            models = {task.problem: stored.models[task.problem] for task in tasks if task.kind == "network"}
            batch = Batch(tasks, {task.machine: stored.machines[task.machine] for task in tasks}, models)
            pending.append((some, pool.submit(worker.verify, batch, tuple(row for _, row in some))))
        if not pending:
            return
        some, future = pending.popleft()
        verdicts = pool.result(future)
        for (task, _), verdict in zip(some, verdicts, strict=True):
            yield Checked(task, verdict.claim, verdict.unproven)


def _derived(row: SweepRow) -> bool:
    """Whether what the row says can be derived again."""
    return _certified(row) or row.status == "infeasible"


def _certified(row: SweepRow) -> bool:
    return row.certificate is not None or row.status == "solved"
