"""What assembly pushes, and what GCC reserves for C: bytes of the stack and of code, by function."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from memaopt.board.build import find_compiler
from memaopt.errors import MissingToolError


def pushed(assembly: str) -> int:
    """Bytes that a kernel pushes or takes off the stack's pointer, all of them at once."""
    size = 0
    for registers in re.findall(r"push\s+\{([^}]*)\}", assembly):
        for part in registers.split(","):
            first, dash, last = part.strip().partition("-")
            size += 4 * (int(last[1:]) - int(first[1:]) + 1 if dash else 1)
    return size + sum(int(n) for n in re.findall(r"sub\S*\s+sp, sp, #(\d+)", assembly))


def compiled(folder: Path, source: str) -> tuple[Counter[str], dict[str, int]]:
    """Bytes of code and the frame of each function of a C file in ``folder``, as GCC makes them at -O3."""
    try:
        compiler = find_compiler("gcc")
    except MissingToolError:
        pytest.skip("arm-none-eabi-gcc is not installed")
    command = [*compiler.command, *compiler.target, "-std=c11", "-ffreestanding", "-O3", "-fstack-usage"]
    subprocess.run([*command, "-c", source, "-o", "made.o"], check=True, cwd=folder)
    sizes = Counter[str]()
    with (folder / "made.o").open("rb") as file:
        for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC":
                sizes[symbol.name.split(".")[0]] += symbol["st_size"]
    lines = (line.split("\t") for line in (folder / "made.su").read_text().splitlines())
    return sizes, {where.split(":")[-1].split(".")[0]: int(size) for where, size, _ in lines}
