"""Semihosting: what a program asks of its host with BKPT 0xAB, r0 the operation and r1 its argument.

Semihosting for AArch32 and AArch64 (Arm, 2.0). Output and the end of the program are served; whatever else a program
asks for, it would wait for, or go on wrongly: that is a fault.
"""

from collections.abc import Callable
from typing import NamedTuple

_WRITE_CHARACTER, _WRITE_STRING, _WRITE = 0x03, 0x04, 0x05
_EXIT, _EXIT_EXTENDED = 0x18, 0x20
_APPLICATION_EXIT = 0x20026
_MOST_OUTPUT = 1 << 20
_STRING = 256


class Reply(NamedTuple):
    """The operation's result for r0 (None leaves it); the exit code if the program ends; why it cannot be served."""

    result: int | None = None
    exit_code: int | None = None
    refused: str = ""


class Semihosting:
    """One run's requests; ``read(address, size)`` is the program's memory."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
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
