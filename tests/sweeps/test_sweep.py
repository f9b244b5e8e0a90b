"""Sweeps: the same bytes however they came to be, nothing solved twice, failures as rows, certificates that hold."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Cli

from memaopt.errors import InputError, MemaoptError
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators import Activation
from memaopt.networks.zoo.builder import Builder
from memaopt.sweeps import check, journal, results, run, spec
from memaopt.sweeps.pools import Processes, Workers
from memaopt.sweeps.task import SweepRow, Task

_SWEEP = """
proof = "closed form"
models = ["two.tflite"]
[[gemm]]
m = 5
k = 9
n = 4
[[gemm]]
m = 5
k = 9
n = 4
[[random]]
count = 5
m = [1, 12]
k = [1, 12]
n = [1, 12]
fields = { dtype = "f32" }
[[budget]]
[[budget]]
sram = "300"
"""


class _Here(Workers):
    """Solves in this process, the last batch first; dies with the tasks called ``deadly``."""

    size = 2

    def __init__(self, deadly: str = "") -> None:
        self.deadly, self.solved = deadly, 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if self.deadly and any(task.name == self.deadly for task in arguments[0].tasks):
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            self.solved += len(arguments[0].tasks)
            future.set_result(function(*arguments))
        return future

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sweep of products and a network."""
    builder = Builder("two", (1, 6, 5, 3), 4)
    x = builder.depthwise_conv_2d(0, Activation.RELU)
    (tmp_path / "two.tflite").write_bytes(
        writer.write(builder.finish(builder.fully_connected(builder.average_pool(x), 4)))
    )
    (tmp_path / "sweep.toml").write_text(_SWEEP)
    return tmp_path / "sweep.toml"


def _no_workers() -> Workers:
    raise AssertionError("something is solved again")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _rows(folder: Path) -> list[tuple[Task, SweepRow]]:
    return list(results.read(folder))


def test_the_order_of_answers_has_no_say(file: Path, tmp_path: Path) -> None:
    """Catches results that depend on who was first, or on how often a question was asked."""
    asked = spec.read(file)
    turned = asked._replace(tasks=asked.tasks[::-1])
    here = run.run(asked, tmp_path / "here", _Here)
    run.run(asked, tmp_path / "pool", lambda: Processes(2))
    run.run(turned, tmp_path / "turned", _Here)
    run.run(asked, tmp_path / "turned", _no_workers)
    files = {(tmp_path / name / results.FILE).read_bytes() for name in ("here", "pool", "turned")}
    assert len(files) == 1
    # 6 products and 1 network under 2 budgets: the product that is there twice is one.
    assert here.questions == here.solved == len(_rows(tmp_path / "here")) == 7 * 2
    assert not (tmp_path / "here" / run.JOURNAL).exists()


def test_failures_are_rows(file: Path, tmp_path: Path) -> None:
    """Catches one problem that ends all others, or is left out."""
    out = tmp_path / "50%41 # of all?"  # characters that are special in an address
    run.run(spec.read(file), out, _Here)
    rows = _rows(out)
    assert {row.status for _, row in rows} == {"solved", "infeasible"}
    tight = [row for task, row in rows if task.kind == "network" and task.sram == 300]
    assert [(row.status, row.certificate) for row in tight] == [("infeasible", None)]
    assert "SRAM" in tight[0].message
    assert all(row.cost and row.certificate for _, row in rows if row.status == "solved")


def test_a_sweep_of_more_solves_only_what_is_new(file: Path, tmp_path: Path) -> None:
    """Catches a sweep that is solved again because its file changed, and rows of questions that nobody asks."""
    run.run(spec.read(file), tmp_path / "out", _Here)
    file.write_text(_SWEEP.replace('sram = "300"', 'sram = "64KiB"'))
    pool = _Here()
    outcome = run.run(spec.read(file), tmp_path / "out", lambda: pool)
    assert outcome.solved == pool.solved == 7
    assert outcome.questions == len(_rows(tmp_path / "out")) == 7 * 2
    assert (outcome.kept, outcome.dropped) == (0, 7)


def test_a_killed_sweeps_answers_survive_another_sweep(file: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches a journal that another sweep in the same folder throws away without a word."""
    first = spec.read(file)
    solved = run.run(first, tmp_path / "whole", _Here).rows
    with journal.Journal(_made(tmp_path / "out") / run.JOURNAL) as written:
        written.add(solved.values())
    file.write_text('proof = "closed form"\n[[gemm]]\nm = 3\nk = 4\nn = 5\n')
    said = cli("sweep", file, "--out", tmp_path / "out", "--workers", "1")
    kept = "kept for the sweep that was ended there: 14 answers to what this one does not ask"
    assert said.err == f"memaopt: {tmp_path / 'out'}: {kept}\n"
    outcome = run.run(first, tmp_path / "out", _no_workers)
    assert (outcome.solved, outcome.kept, outcome.dropped) == (0, 0, 1)
    assert not (tmp_path / "out" / run.JOURNAL).exists()


def test_a_task_that_kills_its_worker_is_a_row(file: Path, tmp_path: Path) -> None:
    """Catches a sweep that never ends, or ends, because one task brings its process down; and innocent neighbours."""
    file.write_text('proof = "closed form"\n[random]\n'.replace("[random]", "[[random]]") + "count = 40\nm = [1, 9]\n")
    asked = spec.read(file)
    outcome = run.run(asked, tmp_path / "out", lambda: _Here(asked.tasks[17].name))
    died = [key for key, row in outcome.rows.items() if row.status == "died"]
    assert died == [asked.tasks[17].key]
    assert "its worker ended 3 times" in outcome.rows[died[0]].message


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    """Catches a row that is lost or there twice, half a line that stays, and workers that outlive a killed sweep."""
    file = tmp_path / "sweep.toml"
    file.write_text('proof = "closed form"\n[[random]]\ncount = 48\nm = [1, 64]\nk = [1, 64]\nn = [1, 64]\n')
    command = [sys.executable, "-m", "memaopt", "sweep", str(file), "--workers", "2", "--out"]
    for lines in (1, 17, 33):
        killed = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
        path, deadline = tmp_path / "killed" / run.JOURNAL, time.monotonic() + 60
        while killed.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.002)
        assert killed.poll() is None, "it was done before it could be killed"
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        with path.open("ab") as half:
            half.write(b'00000000 {"key": "half a li')
    subprocess.run([*command, str(tmp_path / "killed")], check=True, stdout=subprocess.DEVNULL)
    run.run(spec.read(file), tmp_path / "whole", _Here)
    assert (tmp_path / "killed" / results.FILE).read_bytes() == (tmp_path / "whole" / results.FILE).read_bytes()


def test_ended_by_a_signal_it_says_nothing(tmp_path: Path) -> None:
    """Catches a warning of Python's own on stderr of a sweep that was told to end."""
    (tmp_path / "s.toml").write_text(
        'proof = "closed form"\n[[random]]\ncount = 999\nm = [1, 9]\nk = [1, 9]\nn = [1, 9]\n'
    )
    command = [sys.executable, "-m", "memaopt", "sweep", str(tmp_path / "s.toml"), "--workers", "1", "--out"]
    ended = subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / run.JOURNAL).exists() or not (tmp_path / run.JOURNAL).stat().st_size:
        assert ended.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    ended.terminate()
    assert ended.communicate(timeout=60) == ("", "")
    assert ended.returncode == 128 + signal.SIGTERM


def test_two_sweeps_do_not_write_into_one_folder(file: Path, tmp_path: Path) -> None:
    """Catches two journals in one."""
    (tmp_path / "out").mkdir()
    with (
        journal.Journal(tmp_path / "out" / run.JOURNAL),
        pytest.raises(InputError, match="another sweep is writing there"),
    ):
        run.run(spec.read(file), tmp_path / "out", _no_workers)


def test_a_scheduler_that_is_not_there_leaves_nothing(file: Path, tmp_path: Path) -> None:
    """Catches a journal without a row, which looks as if a sweep were to be gone on with."""

    def start() -> Workers:
        raise InputError("no scheduler answers there")

    with pytest.raises(InputError, match="no scheduler"):
        run.run(spec.read(file), tmp_path / "out", start)
    assert not list((tmp_path / "out").iterdir())


def test_what_was_changed_by_hand_is_one_line(file: Path, tmp_path: Path) -> None:
    """Catches a traceback from a journal or results whose fields are of other types, or others."""
    out = tmp_path / "out"
    run.run(spec.read(file), out, _Here)
    for text in (b'{"key": "a", "status": "solved", "speed": 3}', b"[1, 2]", b"{", b'{"key": 1, "status": "best"}'):
        (out / run.JOURNAL).write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
        with pytest.raises(InputError, match="journal, at byte 0"):
            run.run(spec.read(file), out, _no_workers)
    (out / run.JOURNAL).unlink()
    for column, value in (("cost", "[1,"), ("cycles", "many"), ("status", "good"), ("kind", "layer")):
        with closing(sqlite3.connect(out / results.FILE)) as base:
            base.execute(f"UPDATE rows SET {column} = ? WHERE position = 3", (value,))
            base.commit()
            with pytest.raises(InputError, match="row 3"):
                list(results.read(out))
            base.execute(
                f"UPDATE rows SET {column} = ? WHERE position = 3", ({"status": "solved", "kind": "gemm"}.get(column),)
            )
            base.commit()


def test_what_names_nothing_is_a_claim_or_one_line(file: Path, tmp_path: Path) -> None:
    """Catches a traceback from results in which a problem is none, or a machine is not there."""
    out = tmp_path / "out"
    run.run(spec.read(file), out, _Here)
    with closing(sqlite3.connect(out / results.FILE)) as base, base:
        base.execute("UPDATE rows SET problem = '{}' WHERE position = 2")
        base.execute("UPDATE rows SET kind = 'gemm' WHERE kind = 'network'")
    false = [found for found in check.check(out, _Here()) if found.claim]
    assert [found.task.name for found in false if "problem: " in found.claim or "row: it is" in found.claim]
    assert len(false) == 3
    with closing(sqlite3.connect(out / results.FILE)) as base, base:
        base.execute("UPDATE rows SET machine = 'theirs' WHERE position = 1")
    with pytest.raises(InputError, match="no machine 'theirs', which a row names"):
        list(check.check(out, _Here()))
    with closing(sqlite3.connect(out / results.FILE)) as base, base:
        base.execute("DELETE FROM rows WHERE position = 1")
    with pytest.raises(InputError, match="row 1 is not there"):
        list(check.check(out, _Here()))
    with closing(sqlite3.connect(out / results.FILE)) as base, base:
        base.execute("UPDATE meta SET value = '0' WHERE name = 'memaopt'")
    with pytest.raises(InputError, match="written by memaopt 0: verify it with that version"):
        list(check.check(out, _Here()))


def test_a_worker_that_ends_while_it_verifies_is_one_line(file: Path, tmp_path: Path) -> None:
    """Catches a traceback from a pool whose process ran out of memory."""
    run.run(spec.read(file), tmp_path, _Here)
    with pytest.raises(MemaoptError, match=r"a worker gave no answer \(BrokenProcessPool\)"):
        list(check.check(tmp_path, _Here(next(task.name for task, _ in _rows(tmp_path)))))


def test_a_cluster_with_a_worker_killed_gives_the_same(file: Path, tmp_path: Path) -> None:
    """Catches results that depend on the scheduler, tasks that are lost with their worker, and words of Dask's own."""
    pytest.importorskip("distributed")
    from memaopt.sweeps.pools import Dask

    asked = spec.read(file)
    run.run(asked, tmp_path / "here", _Here)
    alive = []

    def told(task: Task, row: SweepRow, new: bool) -> None:
        if not alive:
            alive.append(row)
            pids = list(dask._client.run(os.getpid).values())
            assert len(pids) == 4
            os.kill(pids[0], signal.SIGKILL)

    logger = logging.getLogger("distributed.client")
    before = logger.level
    dask = Dask("local", 4)
    assert not logger.isEnabledFor(logging.ERROR)
    run.run(asked, tmp_path / "dask", lambda: dask, told)
    assert alive
    assert logger.level == before
    assert (tmp_path / "dask" / results.FILE).read_bytes() == (tmp_path / "here" / results.FILE).read_bytes()


def test_every_certificate_of_the_results_is_verified(file: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches results that are believed: a figure, a certificate or a question that was changed."""
    out = tmp_path / "out"
    run.run(spec.read(file), out, _Here)
    assert not [found.claim for found in check.check(out, _Here()) if found.claim]
    solved = len([row for _, row in _rows(out) if row.status == "solved"])
    assert check.count(out) == (solved, len(_rows(out)) - solved, 0)
    infeasible = len(_rows(out)) - solved
    assert infeasible > 0
    rows = [(i, task, row) for i, (task, row) in enumerate(_rows(out)) if row.certificate is not None]
    (first, _, _), (second, _, other), (third, _, _), (fourth, _, _) = rows[:4]
    network = next(i for i, task, _ in rows if task.kind == "network")
    with closing(sqlite3.connect(out / results.FILE)) as base, base:
        base.execute("UPDATE rows SET external_bytes = external_bytes + 1 WHERE position = ?", (first,))
        base.execute("UPDATE rows SET certificate = ? WHERE position = ?", (other.certificate, third))
        base.execute("UPDATE rows SET certificate = ? WHERE position = ?", (b"x" * 90, second))
        base.execute("UPDATE rows SET certificate = NULL WHERE position = ?", (fourth,))
        base.execute("UPDATE rows SET sram = 40000 WHERE position = ?", (network,))
        base.execute("UPDATE rows SET message = 'it is too small' WHERE status = 'infeasible'")
    claims = {found.task.key: found.claim for found in check.check(out, _Here()) if found.claim}
    assert sorted(claim.partition(":")[0] for claim in claims.values()) == sorted(
        ["row", "certificate", rows[1][1].name, rows[3][1].name, "row", *["row"] * infeasible]
    )
    told = cli("verify", "--all", out, "--workers", 1)
    assert told.code == 1
    assert f"{len(rows)} certificates and {infeasible} row" in told.out
    assert f" that nothing fits: {len(rows) - 5} of {len(rows) + infeasible} hold" in told.out
    assert "no results.sqlite there" in cli.refused("verify", "--all", tmp_path / "none")


def test_on_the_command_line(file: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches an exit code, a summary or JSON that says something else than the results."""
    file.write_text("[[gemm]]\nm = 5\nk = 9\nn = 4\n")
    told = cli("sweep", file, "--out", tmp_path / "out", "--workers", 1)
    assert told.code == 0
    assert "1 question: 1 solved" in told.out
    assert "0 of them answered now" in cli("sweep", file, "--out", tmp_path / "out").out
    row = cli("sweep", file, "--out", tmp_path / "json", "--workers", 1, "--json").json
    assert cli("sweep", file, "--out", tmp_path / "json", "--json").json == row
    assert (row["status"], row["proven"], row["name"]) == ("solved", "full", "5x9x4 q15")
    file.write_text('objectives = ["energy"]\nmachines = ["stm32f746"]\n[[gemm]]\nm = 5\nk = 9\nn = 4\n')
    failed = cli("sweep", file, "--out", tmp_path / "failed", "--workers", 1)
    assert failed.code == 1
    assert "0 of them answered" in cli("sweep", file, "--out", tmp_path / "failed", "--workers", 1).out
    again = cli("sweep", file, "--out", tmp_path / "failed", "--workers", 1, "--retry-failed")
    assert "1 of them answered now" in again.out
    assert "1 row failed: what is said there is not verified" in cli("verify", "--all", tmp_path / "failed").out
    assert "failed: objective energy needs cycles" in failed.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no problems: give gemm, suites, grid, random or models"),
        ("[[gemm]]\nm = 0\nk = 1\nn = 1\n", "m"),
        ("[[gemm]]\nm = 1\n", "gemm 1: m, k and n are needed"),
        (
            f"[[grid]]\nm = {list(range(1, 9999))}\nk = {list(range(1, 9999))}\nn = [1]\n",
            "more than 2,000,000 questions",
        ),
        ('suites = ["mlperf"]', "no suite 'mlperf'"),
        ('models = ["none.tflite"]', "cannot be read"),
        ('suites = ["tinyml"]\nmachines = ["stm32"]', "no microcontroller 'stm32'"),
        ('suites = ["tinyml"]\nsettings = ["warm"]', "no setting 'warm'"),
        ('suites = ["tinyml"]\nmachines = []', "machines should have at least 1, not 0"),
        ('suites = ["tinyml"]\nbuffering = []', "buffering should have at least 1, not 0"),
        ('suites = ["tinyml"]\nbudget = [{ sram = "much" }]', "'much' is not a size"),
        ('suites = ["tinyml"]\nobjective = "bytes"', "objective is no field"),
        ('suites = "tinyml"', "suites should be a list"),
        ("[[grid]]\nm = []\nk = [1]\nn = [1]\n", "grid.0.m should have at least 1, not 0"),
        ("[[grid]]\nm = [1]\nk = [1]\nn = [1]\nfields = { m = 3 }", "grid.0.fields: m is given beside them"),
        ("[[random]]\ncount = 1\nm = [9, 1]\n", "random.0.m: 9 to 1 is no range"),
    ],
)
def test_a_file_that_asks_nothing_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    """Catches a traceback, or a sweep of something else than was meant."""
    (tmp_path / "sweep.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        spec.read(tmp_path / "sweep.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_process_of_a_sweep_starts_quickly() -> None:
    """Catches a worker of products that loads the solver, the board or the networks before its first task."""
    code = "import sys, memaopt.sweeps.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ortools", "pandas", "unicorn", "distributed"} & set(done.stdout.split())
