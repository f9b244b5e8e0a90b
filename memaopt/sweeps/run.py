"""A sweep run: what is not answered yet is solved, written down as it comes, and at the end all of it is the results.

The order in which answers come has no say in what is written: a sweep that was killed and went on, one on a cluster and
one on a single core leave the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from memaopt.errors import InputError, MemaoptError
from memaopt.sweeps import results, worker
from memaopt.sweeps.journal import Journal
from memaopt.sweeps.pools import Workers
from memaopt.sweeps.spec import Questions
from memaopt.sweeps.task import FAILED, Batch, SweepRow, Task

JOURNAL = ".memaopt-sweep.journal"
#: Products in a batch that a closed form solves: some ten milliseconds each.
_TOGETHER = 16
#: How often a task may be under way when its worker dies, the last time with nothing else.
_DEATHS = 3


class Outcome(NamedTuple):
    """How many questions there were, how many of them were solved in this run, and every row by its key.

    Of rows in the folder to questions that nobody asked here: how many are ``kept`` in the journal, of a sweep that did
    not finish, and how many were in the results and are not any more (``dropped``).
    """

    questions: int
    solved: int
    rows: dict[str, SweepRow]
    kept: int = 0
    dropped: int = 0


class _Batched(NamedTuple):
    """Tasks under way together; how often their worker has died."""

    tasks: tuple[Task, ...]
    deaths: int = 0


def run(
    questions: Questions,
    folder: Path,
    start: Callable[[], Workers],
    told: Callable[[Task, SweepRow, bool], None] | None = None,
    retry_failed: bool = False,
) -> Outcome:
    """Answer all questions and write the results into ``folder``, made if need be.

    ``start`` makes the workers, if any are needed; ``told`` hears of each row, of those that were there at once and of
    others as they come, and whether it is new. With ``retry_failed`` rows that failed or died are asked again.
    Raises InputError if the folder cannot be written, or another sweep is writing there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}; choose another folder") from None
    asked = {task.key: task for task in questions.tasks}
    with Journal(folder / JOURNAL) as journal:
        before = {row.key: row for _, row in results.read(folder)} if (folder / results.FILE).is_file() else {}
        known = {key: row for key, row in {**before, **journal.rows}.items() if key in asked}
        rows = {key: row for key, row in known.items() if not (retry_failed and row.status in FAILED)}
        open_ = [task for task in questions.tasks if task.key not in rows]
        for key, task in asked.items():
            if told is not None and key in rows:
                told(task, rows[key], False)
        if open_:
            with start() as pool:
                for found in _answers(pool, open_, questions):
                    journal.add(found)
                    rows.update((row.key, row) for row in found)
                    for row in found:
                        if told is not None:
                            told(asked[row.key], row, True)
        results.write(folder, questions.tasks, rows, questions.machines, questions.models)
        others = {key: row for key, row in journal.rows.items() if key not in asked}
        journal.leave(others.values())
    return Outcome(len(asked), len(open_), rows, len(others), len(before.keys() - asked.keys() - others.keys()))


def batches(tasks: Sequence[Task]) -> Iterator[tuple[Task, ...]]:
    """Tasks that are quick together, others alone."""
    together: list[Task] = []
    for task in tasks:
        if task.proof != "closed form":
            yield (task,)
            continue
        together.append(task)
        if len(together) == _TOGETHER:
            yield tuple(together)
            together = []
    if together:
        yield tuple(together)


def _answers(pool: Workers, tasks: Sequence[Task], questions: Questions) -> Iterator[list[SweepRow]]:
    """The rows of each batch as they come. A task whose worker dies again and again has a row that says so."""
    waiting = deque(map(_Batched, batches(tasks)))
    suspects: deque[_Batched] = deque()
    pending: dict[Future[list[SweepRow]], _Batched] = {}
    while waiting or suspects or pending:
        # Of what was under way when a worker died one task is to blame: each is tried alone.
        limit, source = (1, suspects) if suspects else (4 * pool.size, waiting)
        while source and len(pending) < limit:
            batched = source.popleft()
            pending[pool.submit(worker.solve, _batch(batched.tasks, questions))] = batched
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        died = []
        for future in done:
            batched = pending.pop(future)
            if future.cancelled():
                raise MemaoptError(
                    "the scheduler is gone; answers so far are kept, and the same command goes on from them"
                )
            if (error := future.exception()) is None:
                yield future.result()
            elif batched.deaths + 1 >= _DEATHS and len(batched.tasks) == 1:
                yield [
                    SweepRow(batched.tasks[0].key, "died", f"its worker ended {_DEATHS} times: {type(error).__name__}")
                ]
            else:
                died += [_Batched((task,), batched.deaths + 1) for task in batched.tasks]
            if isinstance(error, BrokenProcessPool):
                died += [_Batched((task,), each.deaths) for each in pending.values() for task in each.tasks]
                pending.clear()
                pool.renew()
                break
        suspects.extend(died)


def _batch(tasks: tuple[Task, ...], questions: Questions) -> Batch:
    """The tasks with what they name."""
    machines = {task.machine: questions.machines[task.machine] for task in tasks}
    models = {task.problem: questions.models[task.problem] for task in tasks if task.kind == "network"}
    return Batch(tasks, machines, models)
