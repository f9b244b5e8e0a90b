"""Files as users give them."""

from pathlib import Path

from memaopt.errors import InputError


def read_text(path: str | Path) -> str:
    """The UTF-8 text of a file; InputError in one line if there is none that can be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
