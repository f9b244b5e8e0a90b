"""Signals end a command at once: its exit code, and nothing of it left behind, whatever it was doing."""

import contextlib
import errno
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memaopt.errors import InputError
from memaopt.interrupts import scratch_folder
from memaopt.networks.zoo import zoo

_SLOWEST = 3.0  # seconds from the signal to the end; far less on a machine that does nothing else


class Running:
    """A command of its own, with a folder of its own for temporary files."""

    def __init__(self, folder: Path, *arguments: object, terminal: int | None = None) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "memaopt", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(self.temporary), "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
            # A test run in the background has SIGINT ignored, and hands that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for_handlers(self) -> None:
        """Until the command takes signals: SIGTERM is caught, which Python itself does not do."""
        status = Path(f"/proc/{self.process.pid}/status")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.002)
        raise AssertionError("the command never took signals")

    def ended(self, number: signal.Signals) -> str:
        """Send the signal; what is on stderr, once all the promises are kept."""
        begin = time.monotonic()
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=30)
        assert self.process.returncode == 128 + number, error
        assert time.monotonic() - begin < _SLOWEST
        assert not list(self.temporary.iterdir()), "temporary files stay"
        assert "Traceback" not in (error or "")
        return error or ""


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

_COMMANDS = {
    "solver": ("solve", "--suite", "tinyml", "--objective", "cycles"),
    "emulator": ("solve", "gemm", "256x256x256", "--run"),
    "bench": ("bench", "layers", "--dtype", "s8"),
}


@needs_proc
@pytest.mark.parametrize(
    ("number", "delay"), [*((signal.SIGINT, delay) for delay in (0.0, 0.2, 0.6, 1.8)), (signal.SIGTERM, 1.2)]
)
@pytest.mark.parametrize("what", _COMMANDS)
def test_a_signal_ends_a_command(what: str, number: signal.Signals, delay: float, tmp_path: Path) -> None:
    """Catches an import, the solver, a compiler or the emulator that an interrupt waits for, or that reports it as
    something else: "the models differ", a failed build, a traceback.
    """
    running = Running(tmp_path, *_COMMANDS[what])
    running.wait_for_handlers()
    time.sleep(delay)
    assert running.ended(number) == ""


@needs_proc
@pytest.mark.parametrize("delay", [0.3, 1.5])
def test_a_network_is_interrupted_and_not_written(delay: float, tmp_path: Path) -> None:
    """Catches half a library, and a staging folder that stays."""
    model = zoo.save(tmp_path / "zoo", ("mobilenet_v1",))[0]
    running = Running(tmp_path, "solve", model, "--out", tmp_path / "made", "--run", "--inputs", "50")
    running.wait_for_handlers()
    time.sleep(delay)
    assert running.ended(signal.SIGINT) == ""
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "made") == ["temporary", "zoo"]


@needs_proc
def test_the_cursor_is_shown_again(tmp_path: Path) -> None:
    """Catches a terminal left without a cursor."""
    ours, theirs = pty.openpty()
    running = Running(tmp_path, *_COMMANDS["solver"], terminal=theirs)
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            while more := os.read(ours, 4096):
                shown.extend(more)

    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 30
    while b"\x1b[?25l" not in shown and time.monotonic() < deadline:
        time.sleep(0.01)
    running.ended(signal.SIGINT)
    reader.join()
    os.close(ours)
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def test_a_session_that_certified_takes_the_next_interrupt(tmp_path: Path) -> None:
    """Catches a solver that leaves its own signal handler, or none, behind."""
    code = """
import os, signal
from memaopt import Gemm, certify, mcu
signal.signal(signal.SIGINT, signal.default_int_handler)
before = signal.getsignal(signal.SIGINT)
certify(Gemm(m=8, k=8, n=8), mcu("stm32l4r5"))
assert signal.getsignal(signal.SIGINT) is before
try:
    os.kill(os.getpid(), signal.SIGINT)
    import time; time.sleep(5)
except KeyboardInterrupt:
    print("as usual")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "as usual\n"), done.stderr


def test_ignored_stays_ignored(tmp_path: Path) -> None:
    """Catches ``nohup`` undone."""
    code = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from memaopt import interrupts
interrupts.take_signals()
assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
assert callable(signal.getsignal(signal.SIGTERM))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_full_disk_of_temporary_files_is_called_that() -> None:
    """Catches a disk that is full where a compiler works, said to be standard output: the error names no file."""
    with pytest.raises(InputError, match=r"no temporary files .*: No space left .* TMPDIR"), scratch_folder() as folder:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not folder.exists()
