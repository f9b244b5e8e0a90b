"""The emitted C as a product: portable, free of warnings, deterministic, and without stack traffic where it counts."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from board_helpers import compilers
from emit_helpers import (
    MACHINE,
    Case,
    OnBoard,
    case,
    certificate_of,
    host_compilers,
    random_cases,
    run_on_host,
    write,
)
from registers_helpers import unnamed

from memaopt import certify, emit
from memaopt.board import build, find_compiler
from memaopt.emit import folder as library
from memaopt.emit import gemm as emitter
from memaopt.kernels.gemm.families import FAMILIES, tiles
from memaopt.problems import reference
from memaopt.problems.gemm import DTYPES, OPERANDS, Dtype, Gemm

_STACK = re.compile(r"\b(sp|push|pop|vpush|vpop)\b")
_ASSEMBLY = re.compile(r"(/\*(?:(?!\*/).)*\*/)\nKERNEL [^{;]*\{\n    __asm__ volatile\((.*?)\n    \);", re.DOTALL)
#: What a freestanding C compiler may always call (C11, 4), under its own name and the Arm run-time ABI's.
_ALLOWED = re.compile(r"(__aeabi_)?mem(cpy|set|move|clr)[48]?")


def _one(dtype: Dtype) -> Case:
    """A case with ragged edges, staged operands and spilling."""
    tile = {"f32": (3, 2, 3), "q15": (4, 2, 2), "s8": (2, 4, 2)}[dtype]
    homes = ("qspi", "qspi", "qspi")
    return case((7, 21, 9), f"{dtype}-c", tile, block=(4, 5, 3), order="kmn", homes=homes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_portable_c_runs_on_this_computer(dtype: Dtype, tmp_path: Path) -> None:
    """Catches C that leans on Arm, on undefined behaviour or on a warning being ignored."""
    made = [_one(dtype), *(next(random_cases(dtype, x, 1, seed=7, turning=x == "A")) for x in OPERANDS)]
    for number, each in enumerate(made):
        folder = tmp_path / str(number)
        name = write(certificate_of(each), folder)
        for compiler in host_compilers():
            sanitise = ("-fsanitize=undefined", "-fno-sanitize-recover=all") if compiler == ("cc",) else ()
            ran = run_on_host(folder, name, compiler, "-O2", *sanitise)
            assert ran.returncode == 0, (each, compiler, ran.stderr)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_test_program_notices_a_wrong_element(dtype: Dtype, tmp_path: Path) -> None:
    """Catches a test program that returns 0 whatever the result."""
    name = write(certificate_of(_one(dtype)), tmp_path)
    vector = tmp_path / library.vector(name)
    head, values = vector.read_text().split("expected[", 1)
    changed = re.sub(r"(\{\n +)(\S+),", r"\g<1>99,", values, count=1)
    assert changed != values
    vector.write_text(f"{head}expected[{changed}")
    assert run_on_host(tmp_path, name, host_compilers()[0]).returncode == 1


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("dtype", DTYPES)
def test_portable_path_is_right_on_the_board(dtype: Dtype, compiler: str, tmp_path: Path) -> None:
    """Catches a C path, with the core's DSP intrinsics, that warns or computes something else than the assembly."""
    program = OnBoard(_one(dtype), tmp_path, compiler, MEMAOPT_NO_ASM=1)
    data = reference.random_data(program.problem, seed=3)
    assert reference.wrong_elements(program.problem, data, program.multiply(data)) == 0


@pytest.mark.parametrize("define", [{}, {"MEMAOPT_NO_ASM": 1}], ids=["assembly", "portable"])
def test_q15_wraps_rounds_and_saturates_at_the_limits(define: dict[str, int], tmp_path: Path) -> None:
    """Catches a sum kept wider or narrower than 32 bits, and rounding or saturation off by one."""
    program = OnBoard(case((4, 5, 7), "q15-c", (4, 2, 2)), tmp_path, **define)
    problem = program.problem
    rows = np.array([-32768, 32767, 1, -1], np.int16)
    a = np.repeat(rows[:, None], problem.k, axis=1)
    for columns in ((-32768,) * 7, (32767,) * 7, (0, 1, 16383, 16384, 3276, 3277, -16384)):
        b = np.repeat(np.array(columns, np.int16)[None], problem.k, axis=0)
        # By hand: the sum modulo 2^32 as a signed number, plus a half, shifted down, held within 16 bits.
        sums = [
            [(problem.k * int(x) * int(y) + (1 << 14) + (1 << 31)) % (1 << 32) - (1 << 31) for y in columns]
            for x in rows
        ]
        expected = np.clip(np.array(sums) >> 15, -32768, 32767)
        np.testing.assert_array_equal(program.multiply(reference.GemmData(a, b, None)), expected)


def _inner_loops(c_file: str) -> Iterator[tuple[str, list[str]]]:
    """Kernel and instructions of each loop in assembly that has no loop inside."""
    for name, body in re.findall(r"^KERNEL static void (\w+)\(.*?\)\n\{(.*?)^\}", c_file, re.MULTILINE | re.DOTALL):
        lines = [line.strip() for line in re.findall(r'"(.*?)\\n"', body)]
        starts = {line[:-1]: at for at, line in enumerate(lines) if re.fullmatch(r"\d+:", line)}
        loops = [
            (starts[match[1]] + 1, end)
            for end, line in enumerate(lines)
            if (match := re.search(r"^b.*\b(\d+)b$", line)) and starts[match[1]] < end
        ]
        for start, end in loops:
            if not any(start < other and stop < end for other, stop in loops):
                yield name, lines[start : end + 1]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_kernels_keep_to_their_registers(family) -> None:  # type: ignore[no-untyped-def]
    """Catches a spill in an inner loop, or a register that no map names: the kernels of every register tile, ragged
    ones included, read instruction by instruction.
    """
    for tile in tiles(family, MACHINE.core.core_registers, MACHINE.core.fpu_registers):
        sizes = (2 * tile.mr + 1, 12 * tile.kr + 3, 2 * tile.nr + 1)
        certificate = certificate_of(case(sizes, family.name, tuple(tile), homes=("flash", "qspi", "sram")))
        text = emitter.files(certificate)[library.source(emitter.name_of(certificate))]
        assembly = _ASSEMBLY.findall(text)
        assert len(assembly) == text.count("__asm__")
        assert not [(tile, *missing) for comment, code in assembly if (missing := unnamed(comment, code))]
        loops = list(_inner_loops(text))
        assert any(name.startswith("kernel_") for name, _ in loops), tile
        for name, lines in loops:
            touching = [line for line in lines if _STACK.search(line)]
            assert not touching, (tile, name, touching)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_certificate_same_bytes(dtype: Dtype, tmp_path: Path) -> None:
    """Catches dates, paths, addresses or unordered sets in what is written."""
    certificate = certificate_of(_one(dtype))
    main = emit(certificate, tmp_path / "a")
    emit(type(certificate).from_json(certificate.to_json()), tmp_path / "b")
    first, second = (
        {path.relative_to(tmp_path / folder) for path in (tmp_path / folder).rglob("*") if path.is_file()}
        for folder in "ab"
    )
    names = sorted(map(str, first))
    assert first == second
    assert {"Makefile", "CMakeLists.txt", "certificate.json", str(main.relative_to(tmp_path / "a"))} < set(names)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_head_comment_says_what_the_certificate_says(dtype: Dtype) -> None:
    """Catches a C file that cannot be traced to its certificate, or that promises something else."""
    certificate = certificate_of(_one(dtype))
    made = emitter.files(certificate)
    name = emitter.name_of(certificate)
    comment = made[library.source(name)].split("*/", 1)[0]
    assert f"Certificate: {certificate.sha256}" in comment
    assert f"Certificate: {certificate.sha256}" in made[library.header(name)]
    assert str(certificate.schedule.tile) in comment
    for buffer, accesses in certificate.traffic.buffers.items():
        assert re.search(rf"\b{buffer} .*\b{accesses.loads:,} loads .*\b{accesses.stores:,} stores", comment)


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("define", [(), ("-DMEMAOPT_NO_ASM",)], ids=["assembly", "portable"])
def test_no_library_is_needed(dtype: Dtype, compiler: str, define: tuple[str, ...], tmp_path: Path) -> None:
    """Catches calls of libc, of the compiler's 64-bit arithmetic, or of an allocator."""
    from elftools.elf.elffile import ELFFile

    name = write(certificate_of(_one(dtype)), tmp_path)
    chosen = find_compiler(compiler)
    target = tmp_path / "object.o"
    headers = str(resources.files("memaopt") / "board" / "include")
    flags = ("-std=c11", "-ffreestanding", "-O3", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", *define)
    command = [*chosen.command, *chosen.target, *flags, "-idirafter", headers]
    subprocess.run([*command, "-c", str(tmp_path / library.source(name)), "-o", str(target)], check=True)
    with target.open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".symtab").iter_symbols())  # type: ignore[no-untyped-call]
    undefined = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF" and s.name}
    assert not {s for s in undefined if not _ALLOWED.fullmatch(s)}
    exported = {s.name for s in symbols if s["st_info"]["bind"] == "STB_GLOBAL" and s["st_shndx"] != "SHN_UNDEF"}
    assert exported == {name}


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and cc")
def test_makefile_checks_the_test_vector(tmp_path: Path) -> None:
    """Catches a Makefile that does not build, or whose check passes without running anything."""
    name = write(certificate_of(_one("s8")), tmp_path)
    done = subprocess.run(["make", "-C", str(tmp_path), "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "test vector: every output is right" in done.stdout
    vector = tmp_path / library.vector(name)
    wrong = vector.read_text().replace("expected[", "unexpected[", 1)
    vector.write_text(wrong.replace("\n#endif\n", "\nconst int8_t expected[63] = {55};\n#endif\n"))
    done = subprocess.run(["make", "-C", str(tmp_path), "check"], capture_output=True, text=True, check=False)
    assert done.returncode != 0


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("arm-none-eabi-gcc")), reason="needs make and GCC")
def test_makefile_builds_for_the_chip(tmp_path: Path) -> None:
    """Catches flags that the cross-compiler refuses."""
    name = write(certificate_of(_one("q15")), tmp_path)
    subprocess.run(["make", "-C", str(tmp_path)], check=True, capture_output=True)
    assert (tmp_path / "build" / f"{name}.o").is_file()


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("cc")), reason="needs cmake and cc")
def test_cmake_builds_and_passes_its_test(tmp_path: Path) -> None:
    """Catches a CMakeLists.txt that does not configure, build or test."""
    write(certificate_of(_one("f32")), tmp_path)
    out = tmp_path / "out"
    for command in (["cmake", "-S", tmp_path, "-B", out], ["cmake", "--build", out], ["ctest", "--test-dir", out]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_header_is_fit_for_cpp(tmp_path: Path) -> None:
    """Catches a header that a C++ program (Arduino) cannot include."""
    given = write(certify(Gemm(m=7, k=21, n=9, dtype="s8", weights=None), MACHINE), tmp_path / "given")
    held = write(certificate_of(_one("q15")), tmp_path / "held")
    source = tmp_path / "user.cpp"
    included = f'#include "given/include/{given}.h"\n#include "held/src/{held}.h"\n'
    source.write_text(f"{included}int main() {{ return sizeof({given}_channel) == 16 ? 0 : 1; }}\n")
    zig = host_compilers()[-1]
    target = ("-target", "thumb-freestanding-eabihf", "-nostdinc++", "-fno-exceptions")
    command = [*zig[:-1], "c++", *target, "-c", "-Wall", "-Werror", str(source), "-o", str(tmp_path / "user.o")]
    subprocess.run(command, check=True)


def test_the_smallest_sizes_compile_and_run(tmp_path: Path) -> None:
    """Catches initialisers and loops that degenerate sizes turn into warnings."""
    for number, (dtype, sizes) in enumerate(
        (("f32", (1, 1, 1)), ("q15", (1, 1, 1)), ("s8", (1, 1, 1)), ("q15", (1, 9, 1)))
    ):
        made = case(sizes, f"{dtype}-c", {"f32": (1, 1, 1), "q15": (1, 2, 1), "s8": (1, 4, 1)}[dtype])
        folder = tmp_path / str(number)
        name = write(certificate_of(made), folder)
        main = folder / "main.c"
        main.write_text(f'#include "{name}_main.inc"\n')
        include = library.include_folders(folder)
        build([folder / library.source(name), main], folder / "a.elf", MACHINE, include=include)
        assert run_on_host(folder, name, host_compilers()[0]).returncode == 0
