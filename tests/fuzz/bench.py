"""Runs a class of cases in a process of its own, which may crash or hang: the case is recorded, and it goes on."""

from __future__ import annotations

import collections
import gc
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np

from tests.fuzz.watch import TooSlow

Rng = np.random.Generator

#: Wall clock of a batch after which its process is killed, and the addresses that it may ask for (an emulator reserves
#: a gigabyte that it does not use; what is used is watched call by call).
_HANG = 240.0
_MORE_BYTES = 16 << 30


class Case(Exception):  # noqa: N818  # raised to end a case, with what it was
    """What is wrong with a case; ``files`` are what repeats it without the bench, name to content."""

    def __init__(self, message: str, files: dict[str, bytes] | None = None) -> None:
        super().__init__(message)
        self.files = files or {}


def judged(judge: Callable[[], str], files: dict[str, bytes]) -> str | Case:
    """What ``judge`` says of a case, or that it is wrong: an assertion by its message, all else by its traceback."""
    try:
        return judge()
    except AssertionError as error:
        return Case(str(error), files)
    except (Exception, TooSlow) as error:
        return Case(_traceback(error), files)


def _traceback(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error)[-12:])}"


class Class(Protocol):
    """One kind of case. ``batch`` cases are checked together."""

    name: str
    batch: int

    def prepare(self, folder: Path, seed: int) -> None:
        """Make what all cases share; ``folder`` is theirs to write into."""

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        """What became of each case: a word for the count, or what is wrong. What it raises is wrong as well."""


@dataclass
class Fault:
    """A case that failed."""

    number: int
    message: str
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Result:
    """The outcomes of a class with their counts, and what failed."""

    name: str
    seed: int
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[Fault] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def line(self) -> str:
        """One line: the count, the rate, the outcomes."""
        rate = self.count / self.seconds if self.seconds else 0.0
        parts = ", ".join(f"{number:,} {word}" for word, number in sorted(self.outcomes.items()))
        return f"{self.name}: {self.count:,} cases in {self.seconds:,.0f} s ({rate:.1f} a second): {parts}"


def rng_of(kind: str, seed: int, number: int) -> Rng:
    """The generator of a case: of its class, the seed and its number, and nothing else."""
    return np.random.default_rng([*kind.encode(), seed, number])


def run(kind: Class, seed: int, *, first: int = 0, count: int | None = None, seconds: float | None = None) -> Result:
    """Check cases until ``count`` are done or ``seconds`` have passed, whichever is given and comes first."""
    result = Result(kind.name, seed)
    started = time.monotonic()
    end = None if seconds is None else started + seconds
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    number = first
    try:
        while (count is None or number < first + count) and (end is None or time.monotonic() < end):
            number = _in_child(kind, seed, number, None if count is None else first + count, end, folder, result)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.seconds = time.monotonic() - started
    return result


def _in_child(
    kind: Class, seed: int, first: int, last: int | None, end: float | None, folder: Path, result: Result
) -> int:
    """Check cases in one process while it lives; the number to go on with."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_work, args=(kind, seed, first, last, end, folder, theirs))
    child.start()
    theirs.close()
    number = first
    try:
        while True:
            if not ours.poll(_HANG):
                child.kill()
                raise EOFError("hangs")
            message = ours.recv()
            if message is None:
                return number
            for outcome in message:
                if isinstance(outcome, Fault):
                    result.faults.append(outcome)
                    result.outcomes["FAILED"] += 1
                else:
                    result.outcomes[outcome] += 1
                number += 1
    except EOFError as error:
        child.join(10)
        many = kind.batch if last is None else min(kind.batch, last - number)
        how = str(error) or f"the process ended with {child.exitcode}"
        result.faults.append(Fault(number, f"{how} (one of {many} cases)" if many > 1 else how))
        result.outcomes["FAILED"] += many
        return number + many
    except KeyboardInterrupt:
        child.kill()
        raise
    finally:
        child.join(10)
        if child.is_alive():
            child.kill()


def _work(
    kind: Class, seed: int, first: int, last: int | None, end: float | None, folder: Path, pipe: Connection
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        # A process inherits what its parent had reserved: what it may ask for comes on top.
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + _MORE_BYTES, hard))
    os.setsid()
    kind.prepare(folder, seed)
    gc.freeze()  # what is there for good need not be searched for what is not
    number = first
    while (last is None or number < last) and (end is None or time.monotonic() < end):
        numbers = range(number, number + kind.batch if last is None else min(number + kind.batch, last))
        pipe.send(_outcomes(kind, seed, numbers))
        number = numbers.stop
    pipe.send(None)


def _outcomes(kind: Class, seed: int, numbers: Sequence[int]) -> list[str | Fault]:
    try:
        found = kind.check(numbers, [rng_of(kind.name, seed, n) for n in numbers])
    except Case as case:
        found = [case] * len(numbers)
    except (Exception, TooSlow) as error:
        found = [Case(_traceback(error))] * len(numbers)
    return [Fault(n, str(x), x.files) if isinstance(x, Case) else x for n, x in zip(numbers, found, strict=True)]


def keep(result: Result, folder: Path) -> None:
    """Write what failed into ``folder``: the message, the command that repeats it, and the files of the case."""
    for fault in result.faults:
        place = folder / f"{result.name}-{result.seed}-{fault.number}"
        place.mkdir(parents=True, exist_ok=True)
        again = f"python -m tests.fuzz --class {result.name} --seed {result.seed} --first {fault.number} --count 1"
        (place / "fault.txt").write_text(f"{again}\n\n{fault.message}\n", encoding="utf-8", errors="replace")
        for name, content in fault.files.items():
            (place / name).write_bytes(content)
