"""Ctrl-C and SIGTERM end a command at once, wherever it is, and nothing of it stays: no file, program or hidden cursor.

Python's own handler runs when the code that it was called from returns, which may take the solver or the emulator a
minute, and an exception in the middle of anything can be swallowed or reported as something else. So a thread
waits for signals, undoes what :func:`scratch_folder` and :func:`run` have going, and ends the process. Only commands
do so (``memaopt.__main__``): for a program that uses memaopt, an interrupt is Python's KeyboardInterrupt.
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from memaopt.errors import InputError

if TYPE_CHECKING:
    import subprocess

#: The signals that end a command; it exits with 128 and their number, as shells say it.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: A disk, a quota or a file that can hold no more.
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_SHOW_CURSOR = b"\r\x1b[K\x1b[?25h"

_folders: set[Path] = set()
_programs: "set[subprocess.Popen[str]]" = set()
#: Held by what must not be cut in two; set once the process is ending.
_whole = threading.RLock()
_ending = threading.Event()


def take_signals() -> None:
    """From now on a signal ends the process. One that is ignored from outside (``nohup``) stays ignored."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _nothing)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait_for_signal, args=(reader,), daemon=True).start()


def _nothing(number: int, frame: object) -> None:
    """All is done by the thread."""


def _wait_for_signal(reader: int) -> None:
    number = os.read(reader, 1)[0]
    _whole.acquire(timeout=5)
    _ending.set()
    for program in list(_programs):
        _kill(program)
    for _ in range(20):
        _remove(list(_folders))
        if not any(map(os.path.lexists, _folders)):
            break
        time.sleep(0.01)  # the main thread, which still runs, was making a file
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(128 + number)


def _kill(program: "subprocess.Popen[str]") -> None:
    """End a program with all that it started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(program.pid, signal.SIGKILL)
        else:
            program.kill()


def _remove(folders: Sequence[Path]) -> None:
    import shutil

    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _stop_if_ending() -> None:
    """What fails while the process is ending is not reported: it failed because its files or programs were taken."""
    while _ending.is_set():
        time.sleep(1)


@contextmanager
def whole() -> Iterator[None]:
    """A signal waits until the block is done: for what takes milliseconds and must not be half done."""
    with _whole:
        yield


@contextmanager
def scratch_folder(beside: Path | None = None) -> Iterator[Path]:
    """A new folder, in ``beside`` or among temporary files, removed again however the process ends but by SIGKILL.

    A disk that is full is an InputError where the files are temporary: its own error names no file.
    """
    import shutil
    import tempfile

    name = os.urandom(8).hex()
    folder = Path(tempfile.gettempdir()) / f"memaopt-{name}" if beside is None else beside / f".memaopt-{name}"
    try:
        with _whole:  # else a folder could be made that the ending process has just found not to be there
            _folders.add(folder)
            folder.mkdir(mode=0o700 if beside is None else 0o777)
        yield folder
    except OSError as error:
        if beside is not None or error.errno not in _FULL:
            raise
        why = f"no temporary files can be written in {folder.parent}: {error.strerror}"
        raise InputError(f"{why}; the variable TMPDIR names another folder") from None
    finally:
        _stop_if_ending()
        shutil.rmtree(folder, ignore_errors=True)
        _folders.discard(folder)


def run(command: Sequence[str], scratch: Path | None = None, timeout: float | None = None) -> tuple[int, str, str]:
    """Run a program to its end: exit code, stdout, stderr. ``scratch`` is where it puts temporary files.

    OSError if it cannot be started, TimeoutError after ``timeout`` seconds. An interrupt ends it too.
    """
    import subprocess

    environment = None if scratch is None else {**os.environ, "TMPDIR": str(scratch)}
    with _whole:
        # A group of its own, so that all of it can be ended: a compiler is several programs.
        program = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        _programs.add(program)
    try:
        out, err = program.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{command[0]}: no answer in {timeout:g} s") from None
    finally:
        _stop_if_ending()
        if program.poll() is None:
            _kill(program)
            program.communicate()
        _programs.discard(program)
    return program.returncode, out, err
