"""What assembly pushes, and what GCC reserves for C: bytes of the stack and of code, by function, against claims."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from memaopt.board.build import find_compiler
from memaopt.errors import MissingToolError
from memaopt.kernels.plan import Plan
from memaopt.kernels.registry import emit, source_file
from memaopt.problems.layers import Layer

#: What choice/problem.py counts for the C of a layer that claims no stack.
_COMMON_STACK = 96


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


def overclaimed(folder: Path, chosen: Sequence[tuple[Layer, Plan]], head: str = "") -> list[tuple[object, ...]]:
    """The plans of layers whose C, behind what it declares in ``head``, takes more flash, or with its kernel more of
    the stack, than they say."""
    emitted = {f"l{i}": (plan, emit(layer, plan, f"l{i}")) for i, (layer, plan) in enumerate(chosen)}
    (folder / "made.c").write_text(source_file([e for _, e in emitted.values()], head))
    sizes, frames = compiled(folder, "made.c")
    over: list[tuple[object, ...]] = []
    for (name, (plan, e)), (layer, _) in zip(emitted.items(), chosen, strict=True):
        what = type(layer).__name__, plan.family, plan.tile
        code, shared = sizes[name], sum(sizes[kernel.name] for kernel in e.kernels)
        if code > plan.code_bytes - plan.shared_bytes or shared > plan.shared_bytes:
            over.append((*what, "code", code, shared, plan.code_bytes, plan.shared_bytes))
        driver = frames["run_tiles"] if "run_tiles(" in e.body else 0
        stack = frames[name] + driver + max((pushed(kernel.source) for kernel in e.kernels), default=0)
        if stack > plan.stack_bytes + (0 if e.kernels else _COMMON_STACK):
            over.append((*what, "stack", stack, plan.stack_bytes))
    return over


def framed_elsewhere() -> Iterator[Layer]:
    """The ``framed_layers`` of an operator's own tests, found."""
    for path in sorted((Path(__file__).parent / "networks" / "operators").glob("test_*.py")):
        if "\ndef framed_layers(" in path.read_text(encoding="utf-8"):
            spec = importlib.util.spec_from_file_location(f"framed_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
            yield from module.framed_layers()
