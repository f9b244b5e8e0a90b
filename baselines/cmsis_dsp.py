"""CMSIS-DSP's matrix products, from the source distribution of the PyPI package ``cmsisdsp``, pinned by hash.

pip fetches the archive into the user's cache directory the first time it is needed, and checks the hash; the hash
is checked again at every use. Nothing of it is part of this project.
"""

import hashlib
import os
import sys
import tarfile
from pathlib import Path

from memaopt import interrupts
from memaopt.errors import InputError, MissingToolError

VERSION = "1.10.3"
SHA256 = "307d32298faa7c58db912851027fce35f886fec7eb1a27c4b309ce1a97f47519"
ARCHIVE = f"cmsisdsp-{VERSION}.tar.gz"

SOURCES = tuple(
    f"Source/MatrixFunctions/arm_mat_{name}.c"
    for name in ("mult_f32", "mult_q15", "mult_fast_q15", "mult_q7", "trans_q15")
)
INCLUDE = ("Include", "PrivateInclude")
_TIMEOUT_S = 180


def cache_folder() -> Path:
    """Where the archive is kept: ``memaopt`` in $XDG_CACHE_HOME, or in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "memaopt"


def archive(*, download: bool = True) -> Path:
    """The archive in the cache, fetched by pip if it is not there yet and ``download`` allows it.

    Raises MissingToolError if it cannot be had, InputError if what is there has another hash.
    """
    path = cache_folder() / ARCHIVE
    if not path.is_file():
        if not download:
            raise MissingToolError(f"CMSIS-DSP {VERSION} is not in {path.parent}, and is not to be downloaded")
        _download(path)
    found = hashlib.sha256(_bytes(path)).hexdigest()
    if found != SHA256:
        raise InputError(f"{path}: SHA-256 is {found}, expected {SHA256}: delete the file to fetch it again")
    return path


def unpack(path: Path, folder: Path) -> Path:
    """Unpack what the matrix products need into ``folder``; returns the root of the sources."""
    wanted = (*(f"{name}/" for name in INCLUDE), *SOURCES)
    root = f"cmsisdsp-{VERSION}/"
    try:
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                if member.isfile() and member.name.removeprefix(root).startswith(wanted):
                    tar.extract(member, folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: cannot be unpacked: {error}") from None
    return folder / root


def _download(path: Path) -> None:
    """Fetch the archive with pip, which refuses another hash, and move it into place whole."""
    with interrupts.scratch_folder() as scratch:
        requirements = scratch / "requirements.txt"
        requirements.write_text(f"cmsisdsp=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"),
            *("--retries", "1", "--timeout", "20", "--no-deps", "--no-binary", "cmsisdsp"),
            *("--require-hashes", "--requirement", str(requirements), "--dest", str(scratch)),
        ]
        why = _run(command)
        fetched = scratch / ARCHIVE
        if why is None and not fetched.is_file():
            why = f"pip did not leave {ARCHIVE}"
        if why is not None:
            raise MissingToolError(f"CMSIS-DSP {VERSION} cannot be had: pip download cmsisdsp=={VERSION}: {why}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
            partial.write_bytes(fetched.read_bytes())
            partial.replace(path)
        except OSError as error:
            raise MissingToolError(f"{path.parent}: cannot be written: {error.strerror}") from None


def _run(command: list[str]) -> str | None:
    """Run pip; what went wrong, in one line, or None."""
    try:
        code, _, told = interrupts.run(command, timeout=_TIMEOUT_S)
    except TimeoutError as error:
        return str(error).rpartition(": ")[2]
    except OSError as error:
        return str(error.strerror)
    if code == 0:
        return None
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        return f"the archive's SHA-256 is not the pinned {SHA256}"
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip failed without a message"])[-1].removeprefix("ERROR: ")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
