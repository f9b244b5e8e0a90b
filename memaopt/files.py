"""Files as users give them: read whole up to a limit, and InputError in one line for what cannot be read."""

import json
import tomllib
from pathlib import Path
from typing import Any

from memaopt.errors import InputError

#: The most bytes of a machine, of a file of problems, and of a certificate: parsing takes up to 40 times as many.
MACHINE_BYTES = 256 << 10
PROBLEMS_BYTES = 1 << 20
CERTIFICATE_BYTES = 8 << 20


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The bytes of a file that has at most ``limit``, or that many of one without an end."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{str(path)!r}: cannot be read: {error}") from None
    if len(data) > limit:
        raise InputError(f"{path}: has more than {limit:,} bytes, the most that such a file may have")
    return data


def first_bytes(path: str | Path, count: int) -> bytes:
    """At most so many bytes that a file begins with; none where there is none, or one that can be read only once."""
    if not Path(path).is_file():  # as a pipe
        return b""
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except (OSError, ValueError):
        return b""


def read_text(path: str | Path, limit: int) -> str:
    """The UTF-8 text of a file."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The table in TOML text; ``where`` it is from."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{where}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # of the syntax, or of a number with thousands of digits
        raise InputError(f"{where}: not valid TOML: {error}") from None


def parse_json(text: str, where: str) -> Any:
    """The value in JSON text; ``where`` it is from."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}:{error.lineno}: not valid JSON: {error.msg} (is it truncated?)") from None
    except RecursionError:
        raise InputError(f"{where}: not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON: {error}") from None
