"""The C compiler of this computer, for what runs here and not on the chip."""

import shutil
import sys
from importlib.util import find_spec

from memaopt import interrupts

HOST_COMPILERS = ("cc", "gcc", "clang")


def host_compiler() -> tuple[str, str] | None:
    """The first C compiler on PATH that says what it is: its command, and that line."""
    for command in HOST_COMPILERS:
        if shutil.which(command) is not None:
            status, out, _ = interrupts.run([command, "--version"])
            if status == 0 and out.strip():
                return command, out.splitlines()[0].strip()
    return None


def host_command() -> tuple[str, ...] | None:
    """The command of that compiler, else of ziglang's, for any processor of this kind; None without both."""
    found = host_compiler()
    if found is not None:
        return (found[0],)
    # Zig would build for this very processor, and check arithmetic.
    zig = (sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline", "-fno-sanitize=undefined")
    return zig if find_spec("ziglang") else None
