"""``memaopt sweep``: thousands of problems, on all cores or a cluster; ``memaopt verify --all``: their certificates."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memaopt.printable import counted

if TYPE_CHECKING:
    from memaopt.sweeps.task import SweepRow, Task

#: Failures that are shown: the results have all.
_SHOWN = 10

SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="local|tcp://...",
        help="A Dask cluster: one that is started here, or the one at an address.  \\[default: a pool of processes]",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Processes to start.  \\[default: one for each core]"),
]


def sweep_command(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="What is asked.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go, results.sqlite.", show_default=False)],
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", metavar="", help="Ask again what failed, or died with its worker.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar="", help="Each row as a line of JSON: those that are there, others as they come."
        ),
    ] = False,
) -> None:
    """Solve every problem on every machine, setting, objective and budget. Killed at any moment, it goes on from there.

    Each row is solved once, whatever sweep asked it; failures are rows. The same sweep gives the same file, byte for
    byte, whoever solved it in whatever order. Exit 1 if a row failed for another reason than that nothing fits.

    \b
    Examples:
      memaopt sweep sweep.toml --out results/
      memaopt sweep sweep.toml --out results/ --scheduler tcp://10.0.0.1:8786
      memaopt verify --all results/
    """
    from memaopt.report import console
    from memaopt.sweeps import pools, results, run, spec

    begin = time.monotonic()
    with console.spinner(f"reading {file.name}"):
        questions = spec.read(file)
    with _progress("sweeping", len(questions.tasks)) as advance:

        def told(task: Task, row: SweepRow, new: bool) -> None:
            advance(new)
            if as_json:
                sys.stdout.write(json.dumps(_json(task, row)) + "\n")

        outcome = run.run(questions, out, lambda: pools.workers_of(scheduler, workers), told, retry_failed)
    left = {"kept for the sweep that was ended there": outcome.kept, f"no longer in {results.FILE}": outcome.dropped}
    for what, count in left.items():
        if count:
            sys.stderr.write(f"memaopt: {out}: {what}: {counted(count, 'answer')} to what this one does not ask\n")
    failed = _told(outcome, [task.key for task in questions.tasks], out, time.monotonic() - begin, as_json)
    if failed:
        raise typer.Exit(1)


def verify_all(folder: Path, scheduler: str | None, workers: int | None, as_json: bool) -> None:
    """Verify every certificate of a sweep's results; Exit 1 if one claims what is false, or a row is not its own."""
    from memaopt.report import console
    from memaopt.sweeps import check, pools

    false: list[dict[str, str]] = []
    there, unproven = check.count(folder), 0
    with (
        _progress("verifying", there.certificates + there.infeasible) as advance,
        pools.workers_of(scheduler, workers) as pool,
    ):
        for found in check.check(folder, pool):
            advance(True)
            unproven += found.unproven
            if found.claim:
                false.append({"problem": found.task.name, "key": found.task.key, "claim": found.claim})
    if as_json:
        console.print_json({**there._asdict(), "unproven": unproven, "false": false})
    else:
        stdout = console.stdout()
        for each in false[:_SHOWN]:
            stdout.print(f"{each['problem']} ({each['key'][:16]}): {each['claim']}", soft_wrap=True)
        but = f"; of {unproven:,} no other proof than the one they name was asked" if unproven else ""
        fits = f" and {counted(there.infeasible, 'row')} that nothing fits" if there.infeasible else ""
        total = there.certificates + there.infeasible
        whole = f"{counted(there.certificates, 'certificate')}{fits}"
        stdout.print(f"{whole}: {total - len(false):,} of {total:,} hold{but}", soft_wrap=True)
        if there.others:
            stdout.print(f"{counted(there.others, 'row')} failed: what is said there is not verified", soft_wrap=True)
    if false:
        raise typer.Exit(1)


def _told(outcome: Any, keys: list[str], out: Path, seconds: float, as_json: bool) -> int:
    """Say what came of a sweep; the number of rows that failed."""
    from memaopt.report import console
    from memaopt.sweeps.results import FILE
    from memaopt.sweeps.task import FAILED

    counts = Counter(row.status for row in outcome.rows.values())
    failed = [outcome.rows[key] for key in keys if outcome.rows[key].status in FAILED]
    if not as_json:
        stdout = console.stdout()
        for row in failed[:_SHOWN]:
            stdout.print(f"{row.status}: {row.message}", soft_wrap=True)
        said = ", ".join(f"{counts[status]:,} {status}" for status in sorted(counts))
        rate = f", {outcome.solved / seconds:,.0f} a second" if outcome.solved else ""
        stdout.print(f"{counted(outcome.questions, 'question')}: {said}")
        stdout.print(f"{outcome.solved:,} of them answered now, in {seconds:,.1f} s{rate}")
        stdout.print(f"written to {out / FILE}", soft_wrap=True)
    return len(failed)


def _json(task: Task, row: SweepRow) -> dict[str, Any]:
    """A row with what was asked, but for its certificate."""
    return {**asdict(task), **{name: value for name, value in asdict(row).items() if name != "certificate"}}


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[bool], None]]:
    """A bar with the time left and the rate of what is new, if somebody watches."""
    from memaopt.report import console

    with console.timed_progress() as bar:
        task = bar.add_task(what, total=total, rate="")
        begin, done = time.monotonic(), 0

        def advance(new: bool) -> None:
            nonlocal done
            done += new
            bar.update(task, advance=1, rate=f"{done / max(time.monotonic() - begin, 1e-9):,.1f}/s")

        yield advance
