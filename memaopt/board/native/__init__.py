"""The native hook in C, built once on each computer: what Unicorn calls before each instruction."""

import ctypes
import os
import platform
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path

from memaopt import interrupts
from memaopt.board import layout
from memaopt.errors import BuildError, MissingToolError
from memaopt.host_compiler import HOST_COMPILERS, host_command

_HERE = Path(__file__).parent
_FLAGS = ("-std=c11", "-O2", "-shared", "-fvisibility=hidden", *(() if sys.platform == "win32" else ("-fPIC",)))


@cache
def on_instruction() -> int:
    """The hook's address in this process.

    It is built when it is first asked for on a computer, and kept beside Python's own compiled files where there is a
    folder for it. MissingToolError without a C compiler, BuildError if that does not build it, or it cannot be loaded.
    """
    kept = Path(cache_from_source(str(_HERE / "hook.py"))).with_name(f"hook-{_digest()}{_suffix()}")
    with suppress(OSError):
        return _load(kept)
    with interrupts.scratch_folder() as folder:
        built = _build(folder)
        with suppress(OSError):
            _keep(built, kept)
            return _load(kept)
        try:
            return _load(built)
        except OSError as error:
            raise BuildError(f"the board's native hook was built, and cannot be loaded: {error}") from None


def _keep(built: Path, kept: Path) -> None:
    """Whole or not at all; OSError where that cannot be."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        partial.write_bytes(built.read_bytes())
        os.replace(partial, kept)
    finally:
        partial.unlink(missing_ok=True)


def _load(library: Path) -> int:
    address = ctypes.cast(ctypes.CDLL(str(library)).memaopt_instruction, ctypes.c_void_p).value
    assert address is not None
    return address


def _build(folder: Path) -> Path:
    command = host_command()
    if command is None:
        raise MissingToolError(
            f"the board needs a C compiler for this computer: {', '.join(HOST_COMPILERS)} on PATH, or "
            "pip install 'memaopt[zig]'"
        )
    (folder / "layout.h").write_text(layout.header(), encoding="utf-8")
    built = folder / f"hook{_suffix()}"
    whole = [*command, *_FLAGS, f"-I{folder}", str(_HERE / "hook.c"), "-o", str(built)]
    # It needs no library, and Zig would build one first. macOS wants its own in everything all the same; what Windows
    # calls where a library is loaded is in the compiler's, and a linker that misses it may take other code for it.
    ways = [whole] if sys.platform == "win32" else [[*whole, "-nostdlib"], whole]
    for way in ways:
        status, _, errors = interrupts.run(way, folder)
        if status == 0:
            break
    if status != 0:
        first = next((line for line in errors.splitlines() if "error" in line), f"{command[0]} failed")
        raise BuildError(f"{first}: the board's native hook is not built here by {command[0]}")
    return built


def _digest() -> str:
    """Of all that the hook is made of, and of what it runs on."""
    kind = f"{sys.platform} {platform.machine()} {sys.maxsize} {' '.join(_FLAGS)}"
    texts = [kind, layout.header(), *(file.read_text(encoding="utf-8") for file in sorted(_HERE.glob("*.[ch]")))]
    return sha256("\0".join(texts).encode()).hexdigest()[:16]


def _suffix() -> str:
    return ".dll" if sys.platform == "win32" else ".so"
