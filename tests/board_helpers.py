"""Assembly programs for the board's tests."""

from pathlib import Path

from memaopt.board import Board, build, find_compiler
from memaopt.errors import MissingToolError
from memaopt.machines.mcu import Mcu, mcu

MCU = mcu("stm32l4r5")


def compilers() -> list[str]:
    """The compilers installed here."""
    found = []
    for name in ("gcc", "zig"):
        try:
            found.append(find_compiler(name).name)
        except MissingToolError:
            continue
    return found


def function(name: str, body: str) -> str:
    """An assembly function at a multiple of 8."""
    return f".global {name}\n.type {name},%function\n.balign 8\n.thumb_func\n{name}:\n{body}\n.size {name},.-{name}\n"


def assemble(folder: Path, text: str, machine: Mcu = MCU, **options: object) -> Board:
    """A board with the assembly ``text`` loaded."""
    source = folder / "program.s"
    source.write_text(f".syntax unified\n.thumb\n.cpu cortex-m4\n.fpu fpv4-sp-d16\n.text\n{text}\n")
    return Board(machine, **options).load(build([source], folder / "program.elf", machine))  # type: ignore[arg-type]


def compile_c(folder: Path, text: str, machine: Mcu = MCU, compiler: str | None = None) -> Board:
    """A board with the C program ``text`` loaded."""
    source = folder / "program.c"
    source.write_text(text)
    return Board(machine).load(build([source], folder / "program.elf", machine, compiler=compiler))
