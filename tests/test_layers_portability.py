"""The same C file for other cores and compilers: without assembly, without DSP instructions, without an FPU."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest

from memaopt.emit.layers import Emitted, Plan, describe, emit, placed, plans, source_file

RNG = np.random.default_rng(10)
CORES = {
    "cortex-m4 without FPU": ["-mcpu=cortex-m4", "-mfloat-abi=soft"],
    "cortex-m7": ["-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"],
    "cortex-m33": ["-mcpu=cortex-m33", "-mfloat-abi=soft"],
    "cortex-m3": ["-mcpu=cortex-m3"],
    "cortex-m0plus": ["-mcpu=cortex-m0plus"],
}


def _every_family() -> dict[str, tuple[describe.Layer, Emitted]]:
    """One plan of each family, and one layer for each."""
    rng = np.random.default_rng(0)
    two = describe.Window(describe.Pair(2, 2), describe.Pair(2, 2))
    q = describe.Requantization(-3, multipliers=np.array([1717986918]), shifts=np.array([-4]))
    rescale = describe.Rescale(1518500250, -1), describe.Rescale(2147000000, -2)
    sum_ = describe.Binary(
        describe.BinaryKind.ADD, (5, 4, 4), (5, 4, 4), -3, 7, 11, describe.Rescale(1288490189, -18), *rescale
    )
    mul = describe.Binary(describe.BinaryKind.MUL, (5, 4, 4), (5, 4, 4), -3, 7, 11, describe.Rescale(1518500250, -6))
    through_table = dataclasses.replace(sum_, table=tuple(range(127, -129, -1)))
    image = describe.Image(8, 6, 12)
    layers = [
        h.conv(rng, (8, 9, 8), 4, (3, 3), zero_point=3, output_zero_point=-9),
        h.conv(rng, (6, 7, 3), 4, (3, 3)),
        h.depthwise(rng, (7, 6, 5)),
        h.depthwise(rng, (7, 6, 5), (5, 5)),
        h.fully_connected(rng, 37, 9),
        sum_,
        through_table,
        mul,
        describe.Pool(describe.PoolKind.AVERAGE, image, describe.Image(4, 3, 12), two),
        describe.Pool(describe.PoolKind.MAX, image, describe.Image(4, 3, 12), two),
        describe.Pool(describe.PoolKind.AVERAGE, image, describe.Image(1, 1, 12), describe.Window(describe.Pair(8, 6))),
        describe.Mean((4, 4, 8), (0, 1), 5, q),
        describe.Softmax(2, 10, 1374389535, 23, -248),
        describe.Lookup(20, np.arange(256).astype(np.uint8).view(np.int8)),
        describe.Quantize(20, 0.037, -5),
        describe.Dequantize(20, 0.037, -5),
    ]
    emitted, seen = {}, set()
    for number, layer in enumerate(layers):
        for plan in plans(layer):
            key = (type(layer), plan.family, _variant(plan), getattr(layer, "kind", None))
            if key not in seen and plan.input_format == plan.output_format == "s8":
                seen.add(key)
                name = f"layer_{number}_{len(emitted)}"
                emitted[name] = (layer, emit(layer, plan, name))
    return emitted


def _variant(plan: Plan) -> str:
    return "loop" if " by " in plan.tile or "loop" in plan.tile else ""


def test_intrinsics_on_the_board(tmp_path: Path) -> None:
    """The plain C that other compilers for the core get, in which SMLAD and its kind are ACLE intrinsics."""
    emitted = _every_family()
    board = h.OnBoard(tmp_path, [e for _, e in emitted.values()], define={"MEMAOPT_NO_ASM": 1})
    for name, (layer, e) in emitted.items():
        inputs = h.inputs_of(RNG, layer)
        got, _ = board.run(e, inputs, h.output_of(layer))
        np.testing.assert_array_equal(got, h.expected(layer, *inputs), err_msg=name)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("core", CORES)
def test_compiles_without_warnings(core: str, tmp_path: Path) -> None:
    """An instruction that the core lacks, or a warning that only it gives."""
    source = tmp_path / "layers.c"
    source.write_text(source_file([e for _, e in _every_family().values()]))
    flags = ["-std=c11", "-O2", "-ffreestanding", "-mthumb", *CORES[core], *h.WARNINGS, "-Wcast-align=strict"]
    command = ["arm-none-eabi-gcc", *flags, "-Wcast-qual", "-c", str(source), "-o", str(tmp_path / "layers.o")]
    subprocess.run(command, check=True)


def test_sections(tmp_path: Path) -> None:
    """Kernels or constants that stay where they were, or two placements of a kernel that clash."""
    layer = h.conv(np.random.default_rng(1), (6, 7, 8), 4)
    plan = next(p for p in plans(layer) if p.family == "raw pairs" and p.input_format == p.output_format == "s8")
    moved = placed(emit(layer, plan, "moved"), code=".ramfunc", data=".sram.constants")
    board = h.OnBoard(tmp_path, [moved, emit(layer, plan, "kept")])
    symbols, sram = board.board.symbols, h.MCU.sram
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
        np.testing.assert_array_equal(got, h.expected(layer, image))


def test_output_is_deterministic() -> None:
    """Text that depends on the order of a set or on the run."""
    first, second = (source_file([e for _, e in _every_family().values()]) for _ in range(2))
    assert first == second
