"""Text from a chip: what its program sends by a serial port, or asks a debug probe to print by semihosting.

pyserial and pyOCD are the extra ``[probe]``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from memaopt.board.semihosting import HostInput, Semihosting
from memaopt.errors import FaultError, InputError, MissingToolError

Exchange = Callable[[bytes, Callable[[str], bool]], str]
#: BKPT 0xAB.
_REQUEST = 0xBEAB
_INSTALL = "pip install 'memaopt[probe]'"
#: The most text that is kept, and how long between two looks at the chip.
_MOST, _PAUSE_S = 1 << 20, 0.002


def by_serial(port: str, baud: int, enough: Callable[[str], bool], seconds: float) -> str:
    """What arrives at a serial port until it is ``enough``. InputError if the port cannot be opened, or if it is not
    enough after so many seconds.
    """
    with serial_line(port, baud, seconds) as exchange:
        return exchange(b"", enough)


@contextmanager
def serial_line(port: str, baud: int, seconds: float) -> Iterator[Exchange]:
    """What sends bytes by a serial port, and returns what then arrives until that is enough; errors as above."""
    try:
        import serial
    except ImportError:
        raise MissingToolError(f"reading a serial port needs pyserial: {_INSTALL}") from None
    failures = (serial.SerialException, OSError, ValueError)
    try:
        line = serial.Serial(port, baud, timeout=0.1)
    except failures as error:
        raise _unusable(port, error) from None

    def exchange(data: bytes, enough: Callable[[str], bool]) -> str:
        text: str = ""
        deadline = time.monotonic() + seconds
        try:
            line.write(data)
            while time.monotonic() < deadline:
                text = (text + line.read(max(1, line.in_waiting)).decode("utf-8", "replace"))[-_MOST:]
                if enough(text):
                    return text
        except failures as error:
            raise _unusable(port, error) from None
        raise InputError(f"{port}: {_came(text)} in {seconds:g} s; {baud} baud?")

    with line:
        yield exchange


def _unusable(port: str, error: Exception) -> InputError:
    return InputError(f"{port}: {' '.join(str(error).split())}")


def by_probe(elf: Path, given: HostInput | None = None, *, target: str | None, seconds: float) -> str:
    """Write an image into the chip at the first debug probe, run it from reset with what its host has for it, and
    return what it printed.

    ``target`` is what pyOCD calls the chip; None: the probe knows it. InputError if there is no probe, or the program
    does not end in so many seconds; FaultError if it stops otherwise.
    """
    with _session(target) as session:
        from pyocd.core.exceptions import Error
        from pyocd.flash.file_programmer import FileProgrammer

        try:
            FileProgrammer(session, progress=lambda _: None).program(str(elf))
            return served(session.target, seconds, given)
        except Error as error:
            raise InputError(f"probe: {' '.join(str(error).split())}") from None


def served(chip: Any, seconds: float, given: HostInput | None = None) -> str:
    """Run the program in a chip from reset, doing what it asks of its host, until it ends; what it printed.

    ``chip`` is pyOCD's target, or what has its methods.
    """
    host = Semihosting(
        lambda address, size: bytes(chip.read_memory_block8(address, size)), chip.write_memory_block8, given
    )
    chip.reset_and_halt()
    chip.resume()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not chip.is_halted():
            time.sleep(_PAUSE_S)
            continue
        at = chip.read_core_register("pc")
        if int.from_bytes(bytes(chip.read_memory_block8(at, 2)), "little") != _REQUEST:
            raise FaultError("the chip stopped without asking anything of its host", at)
        reply = host.serve(chip.read_core_register("r0"), chip.read_core_register("r1"))
        if reply.refused:
            raise FaultError(f"the program {reply.refused}", at)
        if reply.exit_code is not None:
            return host.output
        if reply.result is not None:
            chip.write_core_register("r0", reply.result)
        chip.write_core_register("pc", at + 2)
        chip.resume()
    raise InputError(f"probe: the program did not end in {seconds:g} s; {_came(host.output)}")


@contextmanager
def _session(target: str | None) -> Iterator[Any]:
    try:
        from pyocd.core.exceptions import Error
        from pyocd.core.helpers import ConnectHelper
    except ImportError:
        raise MissingToolError(f"a debug probe needs pyocd: {_INSTALL}") from None
    options = {} if target is None else {"target_override": target}
    try:
        with redirect_stdout(io.StringIO()):  # it says there what the error says
            session = ConnectHelper.session_with_chosen_probe(blocking=False, return_first=True, options=options)
        if session is None:
            raise InputError("probe: none is connected")
        with session:
            yield session
    except Error as error:
        raise InputError(f"probe: {' '.join(str(error).split())}") from None


def _came(text: str) -> str:
    """The last that was printed, for a message."""
    lines = text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the last line is {last[:80]!r}, which is not the end" if last else "nothing came"
