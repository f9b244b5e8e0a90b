"""The same C file for other cores and compilers: without assembly, without DSP instructions, without an FPU."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import layers_helpers as h
import layers_reference_helpers as oracle
import layers_run_helpers as running
import numpy as np
import pytest
from registers_helpers import unnamed

from memaopt.kernels.registry import Kernel, emit, in_sections, plans, source_file

RNG = np.random.default_rng(10)
CORES = {
    "cortex-m4 without FPU": ["-mcpu=cortex-m4", "-mfloat-abi=soft"],
    "cortex-m7": ["-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"],
    "cortex-m33": ["-mcpu=cortex-m33", "-mfloat-abi=soft"],
    "cortex-m3": ["-mcpu=cortex-m3"],
    "cortex-m0plus": ["-mcpu=cortex-m0plus"],
}


@pytest.mark.slow
def test_intrinsics_on_the_board(tmp_path: Path) -> None:
    """The plain C that other compilers for the core get, in which SMLAD and its kind are ACLE intrinsics."""
    emitted = h.every_family()
    board = running.OnBoard(tmp_path, [e for _, e in emitted.values()], define={"MEMAOPT_NO_ASM": 1})
    for name, (layer, e) in emitted.items():
        inputs = h.inputs_of(RNG, layer)
        got, _ = board.run(e, inputs, h.output_of(layer))
        np.testing.assert_array_equal(got, oracle.expected(layer, *inputs), err_msg=name)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("core", CORES)
def test_compiles_without_warnings(core: str, tmp_path: Path) -> None:
    """An instruction that the core lacks, or a warning that only it gives."""
    source = tmp_path / "layers.c"
    source.write_text(source_file([e for _, e in h.every_family().values()]))
    flags = ["-std=c11", "-O2", "-ffreestanding", "-mthumb", *CORES[core], *running.WARNINGS, "-Wcast-align=strict"]
    command = ["arm-none-eabi-gcc", *flags, "-Wcast-qual", "-c", str(source), "-o", str(tmp_path / "layers.o")]
    subprocess.run(command, check=True)


def test_sections(tmp_path: Path) -> None:
    """Kernels or constants that stay where they were, or two placements of a kernel that clash."""
    layer = h.conv(np.random.default_rng(1), (6, 7, 8), 4)
    plan = next(p for p in plans(layer) if p.family == "raw pairs" and p.input_format == p.output_format == "s8")
    moved = in_sections(emit(layer, plan, "moved"), code=".ramfunc", data=".sram.constants")
    board = running.OnBoard(tmp_path, [moved, emit(layer, plan, "kept")])
    symbols, sram = board.board.symbols, running.MCU.sram
    assert sram.base <= symbols["moved_weights"] < sram.end
    assert not sram.base <= symbols["kept_weights"] < sram.end
    kernel = plan.kernels[0]
    assert symbols[kernel] < sram.base
    assert symbols[f"{kernel}_ramfunc"] != symbols[kernel]
    for name in ("moved", "kept"):
        (image,) = h.inputs_of(RNG, layer)
        at = sram.base + 0x4000
        board.board.write(at, image.tobytes())
        board.board.call(name, at, at + 0x1000, 0)
        got = np.frombuffer(board.board.read(at + 0x1000, layer.output.elements), np.int8)
        np.testing.assert_array_equal(got, oracle.expected(layer, image))


def test_kernels_have_short_names_and_tell_their_registers() -> None:
    """Catches assembly that a reader cannot follow: no register map above it, one that leaves a register out, or a name
    longer than its prototype.
    """
    kernels = [kernel for _, e in h.every_family().values() for kernel in e.kernels]
    assert kernels
    for kernel in kernels:
        comment, _, rest = kernel.source.partition("#if MEMAOPT_ASM")
        assert " * Registers: " in comment, kernel.name
        assert not unnamed(comment, rest.partition("\n    );")[0]), kernel.name
        assert len(kernel.name) <= 48, kernel.name


def test_kernels_of_one_name_are_one_text() -> None:
    """Catches a file that defines the first of two kernels whose names are equal, and calls it for both."""
    layer = h.conv(np.random.default_rng(1), (6, 7, 8), 4)
    plan = next(p for p in plans(layer) if p.family == "raw pairs")
    one = emit(layer, plan, "one")
    other = dataclasses.replace(one, name="other", kernels=tuple(Kernel(k.assembly, "odd") for k in one.kernels))
    with pytest.raises(ValueError, match="two kernels are called"):
        source_file([one, other])


def test_output_is_deterministic() -> None:
    """Text that depends on the order of a set or on the run."""
    first, second = (source_file([e for _, e in h.every_family().values()]) for _ in range(2))
    assert first == second
