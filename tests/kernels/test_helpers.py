"""The headers of C that emitted files take their helpers from: each a file of its own, and copied as it is used."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from memaopt.kernels.text import helpers
from memaopt.kernels.text.standard import WARNINGS
from memaopt.kernels.text.templates import wrapped

INCLUDE = Path(helpers.__file__).parent / "include"
# A header's functions are for who includes it, and assembly names its arguments by register.
UNUSED = ["-Wno-unused-function", "-Wno-unused-parameter"]
COMPILERS = {
    "gcc": ["gcc"],
    "clang": ["clang"],
    "cortex-m4": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"],
    "cortex-m0": ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb"],
}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_each_header_stands_alone(compiler: str, tmp_path: Path) -> None:
    """Catches a header that lacks an include, and a warning, with each compiler and without the core's extensions."""
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    headers = sorted(INCLUDE.glob("*.h"))
    assert {header.stem for header in headers} == {"checks", *helpers.HEADERS}
    for header in headers:
        source = tmp_path / f"{header.stem}.c"
        source.write_text(f'#include "{header}"\n#include "{header}"\nextern int only;\n')
        subprocess.run(
            [*command, "-std=c11", *WARNINGS, *UNUSED, "-c", str(source), "-o", str(tmp_path / "o.o")], check=True
        )


def test_a_text_gets_what_it_names_and_no_more() -> None:
    """Catches a helper that is missing, one too many, or one before what it uses."""
    found = [name for helper in helpers.used(["copy_words(a, b, 4); one_over_one_plus(x);"]) for name in helper.names]
    assert found == [
        "MEMAOPT_ASM",
        "NAKED",
        "KERNEL",
        "NO_UNROLL",
        "multiply_high",
        "shift_left_saturating",
        "one_over_one_plus",
        "copy_words",
    ]
    assert helpers.used(["copy_words_twice(a, b, 4);", "/* as\n   copy_words does */"]) == []


@pytest.mark.parametrize("text", ["#if MEMAOPT_ASM\n#endif\n", "void f(void) { copy_words(a, b, 4); }\n"])
def test_warnings_are_as_before_behind_a_text(text: str) -> None:
    """Catches a file that silences its reader's compiler for what comes after it, or whose helpers make it warn."""
    text = helpers.with_helpers(text)
    assert text.count("diagnostic push") == text.count("diagnostic pop") == 1
    assert text.rstrip().endswith("#pragma GCC diagnostic pop\n#endif")


def test_every_name_is_defined_once() -> None:
    """Catches a helper that two headers define."""
    names = [name for helper in helpers.used(Path(h).read_text() for h in INCLUDE.glob("*.h")) for name in helper.names]
    assert len(names) == len(set(names)) > 30


def test_a_line_too_long_is_broken_at_commas() -> None:
    """Catches a prototype wider than 120 columns, or one that is broken elsewhere."""
    line = f"static void name({', '.join(f'const int32_t *argument_{i}' for i in range(6))})"
    broken = wrapped(line)
    assert max(map(len, broken.splitlines())) <= 120
    assert " ".join(part.strip() for part in broken.splitlines()) == line
    assert wrapped("call(a, b);") == "call(a, b);"


def test_assembly_names_its_registers() -> None:
    """Catches a function in assembly whose comment leaves out a register that it uses; an instruction within C has
    those that the compiler gives it.
    """
    assembly = re.compile(
        r"(/\*(?:(?!\*/).)*\*/)\n#if MEMAOPT_ASM\n[^{]*\{\n    __asm__ volatile\((.*?)\n    \);", re.DOTALL
    )
    found = [match for header in INCLUDE.glob("*.h") for match in assembly.finditer(header.read_text())]
    assert len(found) == sum(header.read_text().count("__asm__ volatile(\n") for header in INCLUDE.glob("*.h"))
    for match in found:
        comment, code = (set[int]() for _ in range(2))
        for numbers, text in ((comment, match[1].partition("Registers:")[2]), (code, match[2])):
            for first, last in re.findall(r"\br(\d+)(?:-r(\d+))?", text):
                numbers.update(range(int(first), int(last or first) + 1))
        assert comment == code, match[1]
