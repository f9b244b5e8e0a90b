"""Cross-compile C and assembly for a microcontroller's memories: GCC when it is on PATH, else Zig's Clang.

The program has no entry point and no start-up code: the board (:mod:`memaopt.board.board`) loads every
section where it runs and calls functions by symbol. Each memory of the machine has an output section of
its name, so ``__attribute__((section(".qspi")))`` places an array in the memory called ``qspi``; functions
in ``.ramfunc`` run from RAM.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from memaopt import interrupts
from memaopt.board.link import linker_script
from memaopt.errors import BuildError, InputError, MissingToolError
from memaopt.machines.core import Core, core
from memaopt.machines.mcu import Mcu

GCC = "arm-none-eabi-gcc"
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")

_ZIG_FLAGS = ("-fno-sanitize=undefined", "-fomit-frame-pointer")
_COMMON = ("-std=c11", "-ffreestanding", "-fno-common", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")

CompilerName = Literal["gcc", "zig"]
#: The object files that are made here, where a linker is to drop the rest of the compiler's own library: Zig's is one
#: file of 200 KB, of which few functions are ever called. GCC's comes in parts.
_OURS: dict[CompilerName, str] = {"gcc": "", "zig": "*memaopt-*.o"}


class Compiler(BaseModel, frozen=True):
    """A C compiler: its command, its version line and the flags that choose the core."""

    name: CompilerName
    version: str
    command: tuple[str, ...]
    target: tuple[str, ...]


class Build(BaseModel, frozen=True):
    """A linked program, and what made it. ``flags`` are all that the compiler was given besides files."""

    elf: Path
    compiler: str
    version: str
    flags: tuple[str, ...]


def find_compiler(name: str | None = None, core: Core | None = None) -> Compiler:
    """The compiler called ``name`` (``gcc`` or ``zig``), or the first of the two that is installed, for a core.

    The core is a Cortex-M4 where none is given.

    Raises MissingToolError with the command that installs it, InputError for another name.
    """
    if name not in (None, "gcc", "zig"):
        raise InputError(f"no compiler {name!r}: there are gcc and zig")
    if name != "zig" and shutil.which(GCC):
        return _targeting("gcc", core)
    if name != "gcc" and find_spec("ziglang"):
        return _targeting("zig", core)
    if name == "gcc":
        raise MissingToolError(f"{GCC} is not on PATH: install it (apt install gcc-arm-none-eabi)")
    if name == "zig":
        raise MissingToolError("zig is not installed: pip install 'memaopt[zig]'")
    raise MissingToolError(f"no C compiler: pip install 'memaopt[zig]', or put {GCC} on PATH")


def build(
    sources: Sequence[str | Path],
    output: str | Path,
    mcu: Mcu,
    *,
    compiler: str | None = None,
    optimise: str = "-O3",
    flags: Sequence[str] = (),
    include: Sequence[str | Path] = (),
    define: Mapping[str, str | int] | None = None,
    warnings: Sequence[str] = WARNINGS,
    script: str = "",
    linker: str | None = None,
) -> Build:
    """Compile ``sources`` (.c, .s, .S) and link them into the ELF ``output`` for ``mcu``'s memories.

    ``script`` goes into the linker script, behind ``.data``; ``linker`` is a whole one, of a project that has start-up
    code, instead. ``warnings=()`` accepts sources that are not free of
    warnings. Raises BuildError with the compiler's first error; ``output`` appears only when the build succeeded.
    """
    chosen = find_compiler(compiler, mcu.core)
    target = Path(output)
    paths = [Path(source) for source in sources]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such source file")
    cflags = (
        *chosen.target,
        *_COMMON,
        optimise,
        *warnings,
        *(f"-D{key}={value}" for key, value in (define or {}).items()),
        *(f"-I{folder}" for folder in include),
        *flags,
    )
    headers = resources.files("memaopt") / "board" / "include"
    with interrupts.scratch_folder() as folder, resources.as_file(headers) as system:
        # After all others: our few headers stand in only where the compiler has none.
        options = (*cflags, "-idirafter", str(system))
        objects = [_compile(chosen, path, options, folder / f"{i}-{path.stem}.o") for i, path in enumerate(paths)]
        text = linker_script(mcu, script, _OURS[chosen.name]) if linker is None else linker
        linked = _link(chosen, objects, text, folder, target.name, without_entry=linker is None)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            shutil.copyfile(linked, partial)
            os.replace(partial, target)
        except OSError as error:
            raise BuildError(f"{target}: cannot be written: {error.strerror}") from None
    return Build(elf=target, compiler=chosen.name, version=chosen.version, flags=cflags)


def _targeting(name: CompilerName, given: Core | None) -> Compiler:
    chosen = core("cortex-m4") if given is None else given
    command = (GCC,) if name == "gcc" else (sys.executable, "-m", "ziglang", "cc")
    target = chosen.gcc_target if name == "gcc" else (*chosen.zig_target, *_ZIG_FLAGS)
    return Compiler(name=name, version=_version(command, name), command=command, target=target)


@cache
def _version(command: tuple[str, ...], name: CompilerName) -> str:
    return _run([*command, "--version"], GCC if name == "gcc" else name).splitlines()[0]


def _compile(compiler: Compiler, source: Path, cflags: Sequence[str], output: Path) -> Path:
    # Clang warns of every flag that means nothing to its assembler.
    quiet = ["-Wno-unused-command-line-argument"] if compiler.name == "zig" and source.suffix in (".s", ".S") else []
    _run([*compiler.command, *cflags, *quiet, "-c", str(source), "-o", str(output)], str(source), output.parent)
    return output


def _link(compiler: Compiler, objects: Sequence[Path], text: str, folder: Path, name: str, without_entry: bool) -> Path:
    """Link; where functions are called there is no entry point. A project is linked without what nothing refers to."""
    drops = not without_entry or bool(_OURS[compiler.name])
    how = ",".join(["--entry=0"] * without_entry + ["--gc-sections"] * drops)
    script = folder / "memaopt.ld"
    script.write_text(text, encoding="utf-8")
    output = folder / name
    command = [*compiler.command, *compiler.target, "-static", f"-Wl,-T,{script},{how}"]
    extra = folder / "freestanding.o"
    extra.write_bytes(_runtime(compiler))
    # Both libraries have the arithmetic helpers (__aeabi_ldivmod and so on); memcpy and its kind are ours.
    # Zig links its compiler-rt unless told not to, and has no C library for this target.
    libraries = ["-nostdlib", "-lgcc"] if compiler.name == "gcc" else []
    _run([*command, *map(str, objects), str(extra), *libraries, "-o", str(output)], name, folder)
    return output


@cache
def _runtime(compiler: Compiler) -> bytes:
    """The object file of memcpy and its kind, the same for every program."""
    loops = "-fno-tree-loop-distribute-patterns" if compiler.name == "gcc" else "-fno-builtin"
    source = resources.files("memaopt") / "board" / "freestanding.c"
    with resources.as_file(source) as path, interrupts.scratch_folder() as folder:
        options = (*compiler.target, *_COMMON, "-O2", loops)
        return _compile(compiler, path, options, folder / "freestanding.o").read_bytes()


def _run(command: Sequence[str], what: str, scratch: Path | None = None) -> str:
    try:
        code, out, errors = interrupts.run(command, scratch)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from None
    if code:
        message = _first_error(errors or out)
        raise BuildError(message if message.startswith(what) else f"{what}: {message}")
    return out


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # GCC's driver ends with a line of its own; what went wrong stands in the linker's lines before it.
    for pattern in (r"(?<!collect2: )\berror:", r"undefined reference", r"\bld(\.\w+)?: "):
        for line in lines:
            if re.search(pattern, line):
                # Without the linker's own path and that of the folder of object files.
                return re.sub(r"^\S*\bld(\.\w+)?: |\S*/memaopt-\w+/", "", line)
    return lines[-1] if lines else "the compiler failed without a message"
