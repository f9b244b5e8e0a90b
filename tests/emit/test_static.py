"""The emitted C as tools that read it see it: analysers, warnings, and compilers that differ where C lets them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import layers_helpers as h
import pytest
from emit_helpers import case, certificate_of, write
from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.kernels.registry import source_file
from memaopt.kernels.text.helpers import checks
from memaopt.kernels.text.standard import WARNINGS
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder

COMPILERS = [compiler for compiler in ("gcc", "clang") if shutil.which(compiler)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A plan of each family of layers, a library with its test program, and a product of each type."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "layers.c").write_text(source_file([emitted for _, emitted in h.every_family().values()]))
    plan = compile_network(zoo.with_float_ends(_network()), MCU)
    emit.write(plan, folder / "network")
    made = [
        folder / "layers.c",
        folder / "network" / library.source(plan.name),
        _program(folder / "network", plan.name),
    ]
    for kernel, tile in (("f32-c", (2, 2, 4)), ("q15-c", (2, 2, 2)), ("s8-c", (2, 4, 2))):
        where = folder / kernel
        name = write(certificate_of(case((5, 13, 7), kernel, tile)), where)
        made += [where / library.source(name), _program(where, name)]
    return made


def _network() -> Graph:
    """As ds_cnn, with one of its four blocks: the analyser takes six times as long for all of them."""
    b, relu = Builder("keywords", (1, 49, 10, 1), seed=2), Activation.RELU
    x = b.conv_2d(b.input, 64, Size2D(10, 4), relu, stride=Size2D(2, 2))
    x = b.conv_2d(b.depthwise_conv_2d(x, relu), 64, Size2D(1, 1), relu)
    return b.finish(b.classify(b.average_pool(x), 12))


def _program(folder: Path, name: str) -> Path:
    """The test program as a file that tools take for C."""
    made = folder / "src" / "main.c"
    made.write_text(f'#include "../{library.program(name)}"\n#include "../include/{name}.h"\n')
    return made


def _objects(source: Path, folder: Path) -> list[str]:
    return [f"-I{source.parents[1] / 'include'}", "-c", str(source), "-o", str(folder / "o.o")]


@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="needs cppcheck")
def test_cppcheck_finds_nothing(sources: list[Path]) -> None:
    """Catches shifts, conversions, bounds and dead conditions that it can see."""
    checks = ["--std=c11", "--enable=warning,performance,portability", "--quiet", "--error-exitcode=1"]
    done = subprocess.run(["cppcheck", *checks, *map(str, sources)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_gccs_analyser_finds_nothing(sources: list[Path], tmp_path: Path) -> None:
    """Catches a path on which memory is read before it is written, or out of bounds."""
    for source in sources:
        command = ["gcc", "-std=c11", "-O1", "-fanalyzer", *WARNINGS, *_objects(source, tmp_path)]
        subprocess.run(command, check=True)


@pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_free_of_warnings_on_this_computer(compiler: str, sources: list[Path], tmp_path: Path) -> None:
    """Catches a missing prototype, a shadowed name or an extension of the language, with either compiler."""
    for source in sources:
        command = [compiler, "-std=c11", "-O2", *WARNINGS, *_objects(source, tmp_path)]
        subprocess.run(command, check=True)


@pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang")
def test_a_big_endian_target_is_refused(sources: list[Path], tmp_path: Path) -> None:
    """Catches a source file without the guard: it would compute something else there."""
    big = ["-U__BYTE_ORDER__", "-D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__"]
    for source in sources:
        if source.name == "main.c":
            continue
        command = [COMPILERS[0], "-std=c11", "-fsyntax-only", *big, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "little-endian targets" in done.stderr, source
        assert done.returncode != 0


@pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang")
@pytest.mark.parametrize("claim", ["UINT32_C(4) >> 1 == -3", "(int16_t)0x18000L == -32768"])
def test_what_is_implementation_defined_is_checked(claim: str, tmp_path: Path) -> None:
    """Catches a static assertion that holds whatever the compiler does."""
    assert claim in checks()
    broken = checks().replace(claim, claim.replace("==", "!="))
    (tmp_path / "checks.c").write_text(f"#include <stdint.h>\n{broken}")
    done = subprocess.run([COMPILERS[0], "-fsyntax-only", "checks.c"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_sanitizers_find_nothing(compiler: str, sources: list[Path], tmp_path: Path) -> None:
    """Catches an access out of bounds, an overflow or a shift too far while a library computes its test vector."""
    name = next(source.stem for source in sources if source.parents[1].name == "network")
    program = [str(source) for source in sources if source.parents[1].name == "network"]
    program.append(f"-I{Path(program[0]).parents[1] / 'include'}")
    # Kernels read words of activations at any address, as the core does.
    checks = ["-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-sanitize-recover=all"]
    subprocess.run([compiler, "-std=c11", "-O1", *checks, *program, "-o", str(tmp_path / name)], check=True)
    subprocess.run([str(tmp_path / name)], check=True)
