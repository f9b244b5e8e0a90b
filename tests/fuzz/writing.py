"""Writing that is cut short: killed before any step on the disk, told that the disk is full, interrupted.

A process of its own runs ``solve --out``. It is killed before its n-th step (making a folder, opening a file, renaming,
removing), or at a moment chosen at random; so each step comes up in turn. What the next command that reads there finds
must be what was there before, or all of what is new; and the next run leaves nothing of the dead one behind.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from memaopt.networks.formats.tflite import writer
from memaopt.trials import library as library_check
from memaopt.writer import complete
from tests.fuzz import mutate
from tests.fuzz.bench import Case, Rng
from tests.fuzz.certificates import unclaimed
from tests.fuzz.generator import random_network

_STEPS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")
_PATIENCE = 60.0
_OTHERS = ("killed at random", "full", "too large", "interrupted", "terminated")

State = dict[str, str]


def state(folder: Path) -> State:
    """Each file below a folder with a digest, without the remains of the dead. What is not claimed does not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or ".memaopt-" in name:
            continue
        data = path.read_bytes()
        if path.name == "certificate.json":
            with suppress(ValueError):
                data = json.dumps(unclaimed(json.loads(data)), sort_keys=True).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def remains(folder: Path) -> list[str]:
    """What a run that ended left beside what it wrote."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    return [name for name in names if ".memaopt-" in name or name.endswith((".tmp", ".partial"))]


def child(arguments: Sequence[str], before: Callable[[], None], errors: Path) -> int:
    """The command line in a forked process; its identity. ``before`` runs there first."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        with errors.open("wb") as file, open(os.devnull, "wb") as nowhere:
            os.dup2(file.fileno(), 2)
            os.dup2(nowhere.fileno(), 1)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        from memaopt.__main__ import main

        sys.argv = ["memaopt", *arguments]
        before()
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
    return 0


def ended(pid: int) -> int:
    """The exit code of a process, negative for a signal."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("hangs")


def _watch_steps(folder: Path, at_step: Callable[[int], None]) -> None:
    """Call ``at_step`` with the number of each step on the disk below a folder, before it is made."""
    count = 0
    root = str(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _STEPS or not any(_below(a, root) for a in arguments[:2]):
            return
        if event == "open" and not (arguments[1] and any(c in str(arguments[1]) for c in "wax+")):
            flags = arguments[2] if len(arguments) > 2 else 0
            if arguments[1] is not None or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        count += 1
        at_step(count)

    sys.addaudithook(hook)


def _below(path: Any, root: str) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(root)


def _import_all() -> None:
    """What the children need is there before they are made; that a library is right is checked elsewhere."""
    for module in ("cli.gemm", "cli.network", "trials.library", "emit.gemm", "emit.network", "choice.compile"):
        importlib.import_module(f"memaopt.{module}")
    importlib.import_module("ortools.sat.python.cp_model")
    unchecked = library_check.LibraryCheck(host="", target="", compared="")
    library_check.check = library_check.check_gemm = lambda what, files: unchecked


class Writing:
    """Kills, full disks and signals while a project is written."""

    name = "interrupted-writing"
    batch = 1

    def prepare(self, folder: Path, seed: int) -> None:
        _import_all()
        self.folder = folder
        self.errors = folder / "errors.txt"
        models = []
        for number in range(2):
            graph = random_network(mutate.np.random.default_rng([21, number]), f"net{number}", most=3, writable=True)
            path = folder / f"net{number}.tflite"
            path.write_bytes(writer.write(graph))
            models.append(["solve", str(path)])
        products = [["solve", "gemm", "4x6x5", "--dtype", d] for d in ("q15", "s8")]
        #: What is written, over what was written before it.
        self.pairs: list[tuple[list[str] | None, list[str]]] = [
            (None, models[0]),
            (models[0], models[0]),
            (models[0], models[1]),
            (None, products[0]),
            (products[0], products[0]),
            (products[0], products[1]),
            (models[0], products[0]),
            (products[1], models[1]),
        ]
        self.saved: list[tuple[Path, State, State, int, int, float]] = []
        for number, (old, new) in enumerate(self.pairs):
            self.saved.append(self._rehearse(number, old, new))
        turns = [(which, step) for which, saved in enumerate(self.saved) for step in range(1, saved[4] + 2)]
        #: Every step of every pair, and one beyond the last, mixed.
        self.turns = [turns[i] for i in mutate.np.random.default_rng(seed).permutation(len(turns))]

    def _rehearse(
        self, number: int, old: Sequence[str] | None, new: Sequence[str]
    ) -> tuple[Path, State, State, int, int, float]:
        """A folder as it was before; the states before and after an undisturbed run, its exit code, steps, seconds."""
        saved, place = self.folder / f"saved{number}", self.folder / "place"
        shutil.rmtree(saved, ignore_errors=True)
        saved.mkdir()
        if old is not None:
            assert ended(child([*old, "--out", str(saved / "out")], lambda: None, self.errors)) == 0, "the first run"
        before = state(saved)
        self._restore(saved, place)
        steps = self.folder / "steps"
        steps.write_text("0")

        def count() -> None:
            def note(n: int) -> None:
                handle = os.open(steps, os.O_WRONLY | os.O_TRUNC)
                os.write(handle, str(n).encode())
                os.close(handle)

            _watch_steps(place, note)

        started = time.monotonic()
        code = ended(child([*new, "--out", str(place / "out")], count, self.errors))
        seconds = time.monotonic() - started
        assert code in (0, 2), self.errors.read_text()
        assert not remains(place), f"an undisturbed run leaves {remains(place)}"
        return saved, before, state(place), code, int(steps.read_text()), seconds

    def _restore(self, saved: Path, place: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(saved, place)

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        """Each: how it was cut short, and whether the old or the new was there afterwards."""
        return [self._one(number, rng) for number, rng in zip(numbers, rngs, strict=True)]

    def _one(self, number: int, rng: Rng) -> str | Case:
        # Every other case is a kill, and one step after the other has its turn.
        turn, other = divmod(number, 2)
        which, step = self.turns[turn % len(self.turns)]
        how = str(rng.choice(_OTHERS)) if other else "killed"
        saved, before, after, expected, steps, seconds = self.saved[which]
        delay = float(rng.uniform(0, 1.2 * seconds))
        size = int(rng.integers(40000))
        place = self.folder / "place"
        self._restore(saved, place)
        new = [*self.pairs[which][1], "--out", str(place / "out")]

        def disturb() -> None:
            def at_step(n: int) -> None:
                if n != step:
                    return
                if how == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                elif how == "full":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                elif how in ("interrupted", "terminated"):
                    os.kill(os.getpid(), signal.SIGINT if how == "interrupted" else signal.SIGTERM)

            if how == "too large":
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            elif how != "killed at random":
                _watch_steps(place, at_step)

        try:
            pid = child(new, disturb, self.errors)
            if how == "killed at random":
                time.sleep(delay)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            code = ended(pid)
            return self._judge(how, code, place, before, after, expected, new)
        except AssertionError as error:
            said = f"{' '.join(new[1:-2])} over {self.pairs[which][0]}, {how} at step {step} of {steps}"
            return Case(f"{said}, {delay:.3f} s, {size} bytes: {error}; it wrote {self.errors.read_text()[:1500]!r}")

    def _judge(
        self, how: str, code: int, place: Path, before: State, after: State, expected: int, new: Sequence[str]
    ) -> str:
        complete(place / "out")  # as every command that reads there does first
        now = state(place)
        text = self.errors.read_text()
        assert "Traceback" not in text, "a traceback"
        mixed = sorted(name for name in {*now, *before, *after} if now.get(name) not in (before.get(name),))
        assert now in (before, after), f"exit code {code}, and files of both are there: {mixed} differ from before"
        if not how.startswith("killed"):
            assert code >= 0, f"ended by signal {-code}"
            assert not remains(place), f"left {remains(place)}"
            allowed = {"interrupted": (130,), "terminated": (143,)}.get(how, (2,))
            assert code in (*allowed, expected), f"exit code {code}"
            if code == expected:
                assert now == after, "it says that all went well, and the new files are not there"
            elif how in ("full", "too large"):
                assert len(text.splitlines()) == 1, "not one line"
        again = ended(child(new, lambda: None, self.errors))
        assert again == expected, f"the next run ends with {again}"
        assert state(place) == after, "the next run writes something else"
        assert not remains(place), f"the next run leaves {remains(place)}"
        return f"{how}, {'the new' if now == after else 'the old'} there"
