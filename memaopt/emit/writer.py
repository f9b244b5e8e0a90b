"""Writing emitted files: all of them whole, or none."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from memaopt.errors import InputError


def write_files(files: Mapping[str, str | bytes], folder: str | Path) -> Path:
    """Write ``files`` (name to text or bytes) into ``folder``, made if need be; InputError if that cannot be done.

    Everything is written beside its place first and moved there only once all of it is on the disk. A folder
    made for nothing is removed again.
    """
    target = Path(folder)
    made: list[Path] = []
    scratch: Path | None = None
    try:
        made = [path for path in (target, *target.parents) if not path.exists()]
        target.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".memaopt-", dir=target))
        for name, content in files.items():
            if (target / name).is_dir():
                raise IsADirectoryError(0, f"{name} is a folder there")
            with (scratch / name).open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            (scratch / name).replace(target / name)
    except OSError as error:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise InputError(f"{target}: cannot be written: {error.strerror}; choose another folder with --out") from None
    scratch.rmdir()
    return target
