"""Limits on one call: seconds of processor time, and the most memory that the process had at once."""

from __future__ import annotations

import contextlib
import io
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

SECONDS = 10.0
BYTES = 1 << 30
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_LINE = 1200


class TooSlow(BaseException):
    """Not an Exception, so that no handler of the program swallows it."""


class Said(NamedTuple):
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str


def reset_peak() -> None:
    """Forget the most memory that this process had; where Linux is not there it is remembered from the start."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def peak() -> int:
    """The most bytes resident at once since :func:`reset_peak`."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def watched(seconds: float = SECONDS, most: int = BYTES) -> Iterator[None]:
    """Raise TooSlow or AssertionError where what is inside takes more time of the processor, or more memory."""

    def late(_: int, __: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:g} s")

    reset_peak()
    held = peak()  # a process that was forked has what its parent had
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    started = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    # Native code lets the handler run only when it returns.
    assert time.process_time() - started < seconds + 1, f"more than {seconds:g} s"
    assert peak() - held < most, f"{peak() - held:,} bytes of memory were used"


def command(*arguments: str) -> Said:
    """Run the command line in this process, watched; anything but an exit is an error, a traceback among them."""
    from memaopt.cli.main import main

    return _ran(lambda: main(list(arguments)))


def verified(certificate: Path) -> Said:
    """What ``memaopt verify`` says of a file, without what it costs to read a command line."""
    from memaopt.cli.verify import verify_command
    from memaopt.errors import MemaoptError
    from memaopt.printable import printable

    def verify() -> None:
        try:
            verify_command([certificate])
        except MemaoptError as error:
            sys.stderr.write(f"memaopt: {printable(' '.join(str(error).split()))}\n")
            sys.exit(error.exit_code)

    return _ran(verify)


def _ran(main: Callable[[], None]) -> Said:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), watched():
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    said = Said(code, out.getvalue(), err.getvalue())
    check_said(said)
    return said


def check_said(said: Said) -> None:
    """Raise AssertionError unless a failure is one printable line, and nothing raw reaches the terminal."""
    for text in (said.out, said.err):
        raw = {c for c in text if not c.isprintable() and c != "\n"}
        assert not raw, f"control characters were printed: {sorted(raw)!r} in {text[:400]!r}"
    assert "Traceback" not in said.err, said.err
    assert said.code in (0, 1, 2), f"exit code {said.code}"
    if said.code == 2:
        lines = said.err.splitlines()
        assert len(lines) == 1, f"the error is not one line: {said.err[:400]!r}"
        assert lines[0].startswith("memaopt: "), lines[0]
        assert 12 < len(lines[0]) < _LINE, f"an error of {len(lines[0])} letters: {lines[0][:400]}"
        assert "models differ" not in lines[0], lines[0]
