"""Bare-metal projects in the manner of vendors': linker script, start-up code, clocks, and output by semihosting.

Section names, regions and copy loops are as STM32Cube, Zephyr and Arduino's cores have them; the text is our own. An
image of one of these runs from reset (:meth:`memaopt.board.Board.reset`), so what it counts holds in such a project.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from memaopt.alignment import align
from memaopt.board.build import WARNINGS, Build, build, find_compiler
from memaopt.interrupts import scratch_folder
from memaopt.kernels.text.templates import render, source
from memaopt.machines.mcu import Mcu

Layout = Literal["stm32cube", "zephyr", "arduino"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

#: How the projects are called in reports.
TITLES: dict[Layout, str] = {"stm32cube": "STM32Cube", "zephyr": "Zephyr", "arduino": "Arduino"}
#: Names and text of the start-up code; ``.j2`` are templates.
_START = {"stm32cube": "stm32cube.s", "zephyr": "zephyr.s.j2", "arduino": "arduino.s"}


class _Switch(NamedTuple):
    """Bits that start-up code sets in a register, and the flags that it then waits for."""

    name: str
    register: str
    bits: str
    status: str
    ready: str


def usual_layout(mcu: Mcu) -> Layout:
    """The layout that most projects of a chip have."""
    return "stm32cube" if mcu.name.startswith("stm32") else "arduino"


def project_files(
    layout: Layout, mcu: Mcu, *, stack_bytes: int = 2048, behind_data: str = "", anywhere: bool = False
) -> dict[str, str]:
    """The files of a project of that layout beside its program: start-up code, clocks, output, and ``project.ld``.

    ``behind_data`` is put into the linker script behind ``.data``, as a library wants its own script included;
    ``stack_bytes`` are what the project reserves. ``anywhere``: for lld, which puts a section with an address of its
    own into the first region that will do.
    """
    values = {
        "flash": mcu.memory("flash"),
        "sram": mcu.sram,
        "aliases": mcu.aliases,
        "stack_bytes": align(stack_bytes, 8),
        "behind_data": behind_data,
        "switches": _switches(mcu),
        "anywhere": anywhere,
    }
    texts = {"start.s": _START[layout], "project.ld": f"{layout}.ld.j2", "system.c": "system.c.j2"}
    texts |= {name: name for name in ("host.c", "host.h")}
    return {name: _text(text, values) for name, text in texts.items()}


def build_project(
    layout: Layout,
    mcu: Mcu,
    sources: Sequence[Path],
    output: Path,
    *,
    stack_bytes: int = 2048,
    behind_data: str = "",
    include: Sequence[Path] = (),
    compiler: str | None = None,
    optimise: str = "-O3",
    warnings: Sequence[str] = WARNINGS,
) -> Build:
    """Build ``sources``, which define ``main``, as a project of that layout (:func:`project_files`).

    Headers of this folder (``host.h``) are found. Raises BuildError.
    """
    texts = project_files(
        layout,
        mcu,
        stack_bytes=stack_bytes,
        behind_data=behind_data,
        anywhere=find_compiler(compiler, mcu.core).name == "zig",
    )
    with scratch_folder() as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        own = [folder / name for name in texts if name.endswith((".c", ".s"))]
        return build(
            [*own, *sources],
            output,
            mcu,
            compiler=compiler,
            optimise=optimise,
            include=[folder, *include],
            warnings=warnings,
            linker=texts["project.ld"],
        )


def _switches(mcu: Mcu) -> list[_Switch]:
    """Every clock that the machine's file knows, switched on and waited for, in the file's order."""
    found = []
    for register in mcu.registers:
        for flag in register.flags:
            ready = flag.bits << flag.shift if flag.shift >= 0 else flag.bits >> -flag.shift
            status = register.address if flag.status is None else flag.status
            words = (f"{word:#x}u" for word in (register.address, flag.bits, status, ready))
            found.append(_Switch(register.name, *words))
    return found


def _text(name: str, values: dict[str, Any]) -> str:
    path = f"board/projects/{name}"
    return render(path, **values) if name.endswith(".j2") else source(path)


__all__ = ["LAYOUTS", "TITLES", "Layout", "build_project", "project_files", "usual_layout"]
