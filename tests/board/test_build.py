"""Building: where sections go, what is recorded, and what a user sees when it fails."""

import shutil

import pytest
from board_helpers import compilers

from memaopt.board import Board, build, find_compiler
from memaopt.board import build as build_function
from memaopt.board.elf import read_elf
from memaopt.errors import BuildError, InputError, MissingToolError
from memaopt.machines.mcu import mcu

MACHINE = mcu("stm32l4r5")

SECTIONS = """
#include <stdint.h>
#include <string.h>
const int32_t constant[4] = {1, 2, 3, 4};
int32_t data[4] = {5, 6, 7, 8}, bss[4];
__attribute__((section(".qspi"))) int32_t outside[4] = {9};
__attribute__((section(".flash"))) const int32_t in_flash[4] = {10};
__attribute__((section(".sram.late"))) int32_t in_sram[4] = {11};
__attribute__((section(".ramfunc"))) int from_ram(int x) { return x + data[1]; }
int both(void) { return from_ram(constant[0]) + (int)outside[0] + (int)in_flash[0] + (int)in_sram[0]; }
void library(char *a, const char *b, unsigned n) { memmove(a + 1, a, n); memcpy(a + 20, b, n); memset(a, 7, 1); }
int same(const char *a, const char *b, unsigned n) { return memcmp(a, b, n); }
double slow(double x, int64_t y) { return x / (double)y; }
"""


@pytest.mark.parametrize("compiler", compilers())
def test_sections_go_to_their_memories(tmp_path, compiler):
    """Catches a section in the wrong memory, with either linker."""
    source = tmp_path / "s.c"
    source.write_text(SECTIONS)
    made = build([source], tmp_path / "out" / "s.elf", MACHINE, compiler=compiler)
    board = Board(MACHINE).load(made)
    places = {
        "constant": "flash",
        "both": "flash",
        "in_flash": "flash",
        "data": "sram",
        "bss": "sram",
        "in_sram": "sram",
        "outside": "qspi",
    }
    for name, memory in places.items():
        place = MACHINE.memory(memory)
        assert place.base <= board.symbols[name] < place.end, name
    assert board.symbols["from_ram"] >= 0x1000_0000
    assert board.symbols["from_ram"] < 0x1001_0000
    assert board.call("both").r0 == 1 + 6 + 9 + 10 + 11
    assert board.read("data") == b"".join(n.to_bytes(4, "little") for n in (5, 6, 7, 8))


@pytest.mark.parametrize("compiler", compilers())
def test_compilers_find_their_libraries(tmp_path, compiler):
    """Catches a missing memcpy or arithmetic helper, one that computes wrongly, and all of them linked where few are
    called."""
    source = tmp_path / "s.c"
    source.write_text(SECTIONS)
    made = build([source], tmp_path / "s.elf", MACHINE, compiler=compiler)
    assert sum(end - start for start, end in read_elf(made.elf).code) < 8192
    board = Board(MACHINE).load(made)
    a, b = 0x2000_4000, 0x2000_4100
    for n in (0, 1, 7, 16):
        board.write(a, bytes(range(64)))
        board.write(b, bytes(range(100, 164)))
        board.call("library", a, b, n)
        expected = bytearray(range(64))
        expected[1 : 1 + n] = expected[:n]
        expected[20 : 20 + n] = bytes(range(100, 100 + n))
        expected[0] = 7
        assert board.read(a, 64) == bytes(expected)
    assert board.call("same", a, a, 16).r0 == 0
    assert board.call("same", a, b, 16).r0 >> 31 == 1


@pytest.mark.parametrize("compiler", compilers())
def test_build_records_what_made_it(tmp_path, compiler):
    """Catches a report that cannot say compiler, version and flags."""
    source = tmp_path / "s.c"
    source.write_text("int f(void) { return VALUE; }")
    made = build([source], tmp_path / "s.elf", MACHINE, compiler=compiler, optimise="-Os", define={"VALUE": 42})
    assert made.compiler == compiler
    assert {"gcc": "arm-none-eabi-gcc", "zig": "clang version"}[compiler] in made.version
    assert {"-Os", "-DVALUE=42", "-Wconversion", "-Werror"} <= set(made.flags)
    assert Board(MACHINE).load(made).call("f").r0 == 42


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int f(void) { return x; }", r"s\.c:1:22: error: .*x"),
        ("char f(int x) { return x; }", r"s\.c:1:24: error: .*conver"),
        ("int g(void); int f(void) { return g(); }", r"undefined.*g"),
        ("char big[700000]; char *f(void) { return big; }", r"sram"),
    ],
)
def test_failed_build_is_one_line_and_leaves_nothing(tmp_path, compiler, text, message):
    """Catches compiler output dumped on the user, and half-written programs."""
    source = tmp_path / "s.c"
    source.write_text(text)
    with pytest.raises(BuildError, match=message) as caught:
        build([source], tmp_path / "s.elf", MACHINE, compiler=compiler)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.c"]


def test_warnings_can_be_left_to_others(tmp_path):
    """Catches third-party sources that cannot be built."""
    source = tmp_path / "s.c"
    source.write_text("char f(int x) { return x; }")
    assert build([source], tmp_path / "s.elf", MACHINE, warnings=()).elf.is_file()


def test_missing_files_and_compilers_are_one_line(tmp_path, monkeypatch):
    """Catches tracebacks when there is nothing to build, or nothing to build it with."""
    with pytest.raises(InputError, match="no such source file"):
        build([tmp_path / "none.c"], tmp_path / "s.elf", MACHINE)
    with pytest.raises(InputError, match="no compiler 'icc'"):
        find_compiler("icc")
    source = tmp_path / "s.c"
    source.write_text("int f(void) { return 0; }")
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot be written"):
        build([source], tmp_path / "file" / "s.elf", MACHINE)
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(MissingToolError, match="arm-none-eabi-gcc is not on PATH"):
        find_compiler("gcc")
    module = __import__("sys").modules[build_function.__module__]
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(MissingToolError, match=r"pip install 'memaopt\[zig\]'"):
        find_compiler()
