"""A library's folder: one that Arduino, PlatformIO, Zephyr, CMSIS-Pack, CMake, Make and STM32Cube each take as it is.

Of all that is in it only ``src/NAME.c``, and the user's C of custom operators, is what a tool finds that compiles every
source below a folder; test vector and examples are headers, or ``.inc``, which the build files compile where they are
wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memaopt.alignment import align
from memaopt.kernels.text.standard import WARNINGS
from memaopt.kernels.text.templates import render
from memaopt.machines.core import core, core_names
from memaopt.machines.mcu import Mcu
from memaopt.machines.setting import RegisterBits
from memaopt.networks.custom_files import SOURCES
from memaopt.printable import in_comment
from memaopt.problems.custom import CustomCode
from memaopt.version import __version__

#: Who is named as the author, the vendor of the pack, and where to read of it.
VENDOR = "memaopt"
URL = "https://arxiv.org/abs/2304.05544"
#: The report, one page of HTML.
PAGE = "report.html"
#: What the stack of a program holds beside that of the library.
_STACK = 1024
#: Path in the folder, and the template of the text.
_FILES = {
    "src/{name}.h": "src.h",
    "README.md": "README.md",
    "Makefile": "Makefile",
    "CMakeLists.txt": "CMakeLists.txt",
    "library.properties": "library.properties",
    "library.json": "library.json",
    "examples/{name}_example/{name}_example.ino": "example.ino",
    "zephyr/module.yml": "module.yml",
    "zephyr/CMakeLists.txt": "zephyr_CMakeLists.txt",
    "zephyr/Kconfig": "Kconfig",
    "zephyr/sample/CMakeLists.txt": "sample_CMakeLists.txt",
    "zephyr/sample/{name}_main.inc": "zephyr_main.inc",
    "zephyr/sample/prj.conf": "prj.conf",
    "zephyr/sample/testcase.yaml": "testcase.yaml",
    f"{VENDOR}.{{name}}.pdsc": "pack.pdsc",
    "extras/{name}_main.inc": "main.inc",
    "extras/{name}_stm32cube.h": "stm32cube.h",
}


#: Where several networks are in one library, other texts of these.
_OF_SEVERAL = {
    "examples/{name}_example/{name}_example.ino": "example.ino",
    "zephyr/sample/{name}_main.inc": "zephyr_main.inc",
    "extras/{name}_stm32cube.h": "stm32cube.h",
}


@dataclass(frozen=True)
class Parameter:
    """An argument of the library's function: an array of ``length`` elements (a macro's name, or a product of some)."""

    type: str
    name: str
    length: str


@dataclass(frozen=True)
class Library:
    """A library as its folder describes it.

    ``sentence`` says in a few words what it is. ``buffers`` are the arguments of ``function``, which returns a status
    if ``fails``. ``promised`` are cycles of one call on ``mcu``, None where none are stated. ``turn_on`` is done before
    it; ``copies``: NAME_init() copies something into RAM; ``outside``: it checks what lies in the memory of that name.
    Where there is such a function it is called once, and the linker includes NAME.ld. ``keeps``: its first argument is
    a state, which NAME_reset() makes. ``rows``: of its first argument, an image, where it comes by rows.
    ``without``: the operators of the user's whose cycles, stack and code are in no figure; ``custom_sources`` and
    ``custom_headers``: the names of their files, in ``src``. ``networks``: those that it has, where it has several,
    each as in a library of its own; then it has no function.
    """

    name: str
    function: str
    sentence: str
    mcu: Mcu
    buffers: tuple[Parameter, ...]
    fails: bool
    stack_bytes: int
    promised: int | None
    without: str = ""
    custom_sources: tuple[str, ...] = ()
    custom_headers: tuple[str, ...] = ()
    turn_on: tuple[RegisterBits, ...] = ()
    copies: bool = False
    outside: str = ""
    keeps: bool = False
    rows: int = 0
    networks: tuple[Library, ...] = ()

    @property
    def has_init(self) -> bool:
        """Whether it is initialised once."""
        return self.copies or bool(self.outside)


def source(name: str) -> str:
    """The path of a library's C file in its folder; likewise its header, and what is built for a test."""
    return f"src/{name}.c"


def sources(folder: Path, name: str, customs: Sequence[CustomCode] = ()) -> list[Path]:
    """All C files of the library in a folder: its own, and those of the user's."""
    return [folder / source(name), *(folder / SOURCES / file.name for code in customs for file in code.sources)]


def header(name: str) -> str:
    return f"include/{name}.h"


def vector(name: str) -> str:
    """Defines the operands and the results that they must give: for one program file to include."""
    return f"extras/{name}_test_vector.h"


def checker(name: str) -> str:
    """Defines ``NAME_test()``, which is 0 if the test vector's results are right."""
    return f"extras/{name}_test.h"


def program(name: str) -> str:
    """A C file with ``main`` that runs the test."""
    return f"extras/{name}_main.inc"


def linker_part(name: str) -> str:
    return f"extras/{name}.ld"


def include_folders(folder: Path) -> list[Path]:
    """Where the headers lie, those of the test among them."""
    return [folder / "include", folder / "extras"]


def read_linker_part(folder: Path, name: str) -> str:
    """What the library in a folder wants in a linker script, behind ``.data``; empty for nothing."""
    file = folder / linker_part(name)
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def files(library: Library, own: Mapping[str, str]) -> dict[str, str]:
    """``own`` (the library's own texts, by path) with everything around them."""
    name = library.name
    values = {
        "library": library,
        "name": name,
        "upper": name.upper(),
        "sentence": in_comment(library.sentence),
        "machine": in_comment(library.mcu.title),
        "mcu": library.mcu,
        "core": library.mcu.core,
        "cores": [core(each) for each in core_names()],
        "version": __version__,
        "vendor": VENDOR,
        "url": URL,
        "stack": align(library.stack_bytes + _STACK, 1024),
        "warnings": " ".join(w for w in WARNINGS if w != "-Werror"),
        "arguments": ", ".join([*(["&state"] if library.keeps else []), *(b.name for b in library.buffers)]),
        "prefixed": _prefixed(library),
        "prefixed_of": _prefixed,
        "vectors": [vector(each.name) for each in library.networks or (library,)],
        "turn_on": turn_on,
        "of_row": ", ".join(b.name for b in library.buffers),
        "prefixed_row": ", ".join(f"{name}_{b.name}" for b in library.buffers),
    }
    texts = {path: f"folder/{text}" for path, text in _FILES.items()}
    texts |= {path: f"bundle/{text}" for path, text in _OF_SEVERAL.items()} if library.networks else {}
    around = {path.format(name=name): render(f"emit/templates/{text}.j2", **values) for path, text in texts.items()}
    return {**own, **around}


def _prefixed(library: Library) -> str:
    """The arguments of its function, as a program calls them that has several libraries."""
    state = [f"&{library.name}_stream"] if library.keeps else []
    return ", ".join([*state, *(f"{library.name}_{buffer.name}" for buffer in library.buffers)])


def turn_on(bits: RegisterBits) -> str:
    """A statement that needs no vendor's header."""
    return f"*(volatile uint32_t *){bits.address:#010x}u |= {bits.bits:#x}u;"
