"""Semihosting: what a program asks of its host with BKPT 0xAB, r0 the operation and r1 its argument.

Semihosting for AArch32 and AArch64 (Arm, 2.0). Output, the end of the program, and where its host has some a command
line and standard input are served; whatever else a program asks for, it would wait for, or go on wrongly: a fault.
"""

from collections.abc import Callable
from typing import NamedTuple

_OPEN, _WRITE_CHARACTER, _WRITE_STRING, _WRITE, _READ, _COMMAND_LINE = 0x01, 0x03, 0x04, 0x05, 0x06, 0x15
_CONSOLE, _INPUT = b":tt", 3  # the file that is the console, and the handle of its input
_FAILED = 0xFFFF_FFFF
_EXIT, _EXIT_EXTENDED = 0x18, 0x20
_APPLICATION_EXIT = 0x20026
_MOST_OUTPUT = 1 << 20
_STRING = 256


class Reply(NamedTuple):
    """The operation's result for r0 (None leaves it); the exit code if the program ends; why it cannot be served."""

    result: int | None = None
    exit_code: int | None = None
    refused: str = ""


class HostInput(NamedTuple):
    """What a program is given: its command line, and what it reads from standard input."""

    command_line: str = ""
    data: bytes = b""


class Semihosting:
    """One run's requests; ``read(address, size)`` is the program's memory, and ``write(address, data)``."""

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        write: Callable[[int, bytes], None],
        given: HostInput | None = None,
    ) -> None:
        self._read = read
        self._put = write
        self._given = given
        self._taken = 0
        self._output = bytearray()

    @property
    def output(self) -> str:
        """What the program has written."""
        return self._output.decode("utf-8", "replace")

    def serve(self, operation: int, argument: int) -> Reply:
        """Do what is asked. Raises InputError if an argument is not in memory."""
        if operation == _WRITE_CHARACTER:
            return self._write(self._read(argument, 1), None)
        if operation == _WRITE_STRING:
            return self._write(self._string(argument), None)
        if operation == _WRITE:
            handle, address, size = (self._word(argument + 4 * n) for n in range(3))
            if handle not in (1, 2):
                return Reply(refused=f"writes to file {handle}: the board has standard output and error only")
            return self._write(self._read(address, size) if 0 < size <= _MOST_OUTPUT else b"", 0, size)
        if operation == _EXIT:
            return Reply(exit_code=0 if argument == _APPLICATION_EXIT else 1)
        if operation == _EXIT_EXTENDED:
            reason, code = self._word(argument), self._word(argument + 4)
            return Reply(exit_code=code if reason == _APPLICATION_EXIT else 1)
        return self._serve_input(operation, argument)

    def _serve_input(self, operation: int, argument: int) -> Reply:
        """What only a program asks for that is given something; any other is told that it is not there."""
        if operation == _COMMAND_LINE:
            if self._given is None:
                return Reply(result=_FAILED)
            address, room, line = self._word(argument), self._word(argument + 4), self._given.command_line.encode()
            if len(line) >= room:
                return Reply(result=_FAILED)
            self._put(address, line + b"\0")
            self._put(argument + 4, len(line).to_bytes(4, "little"))
            return Reply(result=0)
        if self._given is not None and operation == _OPEN:
            address, mode, length = (self._word(argument + 4 * n) for n in range(3))
            is_input = length == len(_CONSOLE) and mode < 4 and self._read(address, length) == _CONSOLE
            return Reply(result=_INPUT if is_input else _FAILED)
        if self._given is not None and operation == _READ and self._word(argument) == _INPUT:
            address, size = self._word(argument + 4), self._word(argument + 8)
            data = self._given.data[self._taken : self._taken + size]
            self._taken += len(data)
            if data:
                self._put(address, data)
            return Reply(result=size - len(data))
        return Reply(refused=f"asks for operation {operation:#x}, which the board does not have")

    def _write(self, data: bytes, result: int | None, size: int = 0) -> Reply:
        if max(size, len(self._output) + len(data)) > _MOST_OUTPUT:
            return Reply(refused=f"writes more than {_MOST_OUTPUT >> 20} MiB")
        self._output += data
        return Reply(result=result)

    def _string(self, address: int) -> bytes:
        text = bytearray()
        while b"\0" not in text and len(text) <= _MOST_OUTPUT:
            # Up to the next multiple, which may be the end of its memory.
            size = _STRING - address % _STRING
            text += self._read(address, size)
            address += size
        return bytes(text).split(b"\0")[0]

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address, 4), "little")
