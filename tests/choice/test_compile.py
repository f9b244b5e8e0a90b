"""Whole networks: compiled, emitted, and every layer's bytes compared with the reference executor's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from emit_helpers import host_compilers
from network_helpers import MCU, WARNINGS, Library

from memaopt.access import Access
from memaopt.board.build import find_compiler
from memaopt.choice import compile as compile_module
from memaopt.choice.compile import compile_network
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError, MissingToolError
from memaopt.machines.mcu import mcu
from memaopt.networks import reference
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import network as network_trial

#: Of the MLPerf Tiny reference models: the tensors' live set, and CMSIS-NN's arena with scratch and cycles without wait
#: states.
REAL = {
    "ad01_int8": (768, 768, 714_303),
    "kws_ref_model": (16_000, 16_256, 9_070_434),
    "pretrainedResnet_quant": (33_280, 52_032, 35_906_199),
    "vww_96_int8": (36_864, 56_320, 28_893_922),
}


@pytest.mark.parametrize("name", ["ds_cnn", "mobilenet_v2"])
def test_float_ends_are_kept(name: str, tmp_path: Path) -> None:
    """Catches wrong casts or sizes where inputs and outputs are float32."""
    plan = compile_network(zoo.with_float_ends(zoo.build(name)), MCU)
    library = Library(plan, tmp_path)
    for seed in range(2):
        library.check(emit.random_inputs(plan, seed))


# mobilenet_v1 is among the real models below, its kernels in mobilenet_v2.
@pytest.mark.parametrize("name", ["fc_autoencoder", "ds_cnn", "resnet8", "mobilenet_v2", "kwt"])
def test_zoo_on_the_board(name: str) -> None:
    """Catches any layer whose bytes, loads or stores are not those promised, a plan above its lower bound, and kernels
    whose stack nobody promises.
    """
    plan = compile_network(zoo.build(name), MCU.with_wait_states(0))
    trial = network_trial.run(plan, 2)
    for layer in trial.layers:
        assert layer.wrong == 0, layer.name
        assert layer.counted == layer.promised, layer.name
    assert trial.wrong == 0
    around = sum((layer.around for layer in trial.layers), Access())
    moved = sum((layer.traffic for layer in plan.layers), Access())
    assert around.bytes <= 0.02 * moved.bytes, (around, moved)
    # Outputs that end a few bytes before their inputs do not always pack without gaps.
    assert plan.memory.proof != "none"
    assert plan.memory.lower_bound <= plan.memory.arena_bytes <= 1.01 * plan.memory.lower_bound
    assert plan.choice.proof != "none"
    assert abs(plan.machine_cycles / trial.cycles - 1) < 0.03
    assert trial.stack_bytes <= plan.stack_bytes


def _real_models() -> list[Path]:
    folder = os.environ.get("MEMAOPT_MODELS")
    return sorted(path for path in Path(folder).glob("*.tflite") if path.stem in REAL) if folder else []


@pytest.mark.skipif(not _real_models(), reason="MEMAOPT_MODELS is not set")
@pytest.mark.parametrize("path", _real_models(), ids=lambda path: path.stem)
def test_real_models_on_the_board(path: Path) -> None:
    """The four MLPerf Tiny reference models: TFLite's bytes, promised = counted, arenas, faster than CMSIS-NN."""
    tensors, arena, cmsis_nn = REAL[path.stem]
    plan = compile_network(path, MCU.with_wait_states(0), arena=arena)
    count = int(os.environ.get("MEMAOPT_INPUTS", "2"))
    trial = network_trial.run(plan, count)
    assert trial.passed
    assert plan.tensor_bytes <= tensors
    assert plan.arena_bytes <= arena
    assert plan.memory.proof != "none"
    assert trial.ideal_cycles < cmsis_nn / 2
    assert abs(plan.machine_cycles / trial.cycles - 1) < 0.03
    pytest.importorskip("ai_edge_litert")
    oracle = Oracle(path.read_bytes())
    for values in network_trial.sample_inputs(plan, count):
        for found, wanted in zip(reference.run(plan.source, values), oracle.run(values), strict=True):
            np.testing.assert_array_equal(found, wanted)
        # Each layer of the simplified network against TFLite's own tensor, less the channels that were dropped.
        for op, value in reference.layers(plan.graph, values):
            tensor = oracle.tensor(op.output)
            kept = plan.kept.get(op.output)
            np.testing.assert_array_equal(value, tensor if kept is None else tensor[..., list(kept)])


@pytest.fixture(scope="module")
def ds_cnn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ds_cnn")
    return emit.write(compile_network(zoo.build("ds_cnn"), MCU), folder)


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and cc")
def test_make_check_passes_on_this_computer(ds_cnn_folder: Path) -> None:
    """Catches a test vector, program or Makefile that does not work as shipped."""
    command = ["make", "-s", "-C", str(ds_cnn_folder), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "every output is right" in done.stdout


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and cc")
@pytest.mark.parametrize("size", [1, 4, 8, 16])
def test_a_test_vector_of_any_size_compiles(size: int, tmp_path: Path) -> None:
    """Catches an array that the header declares with another length than its definition has."""
    b = Builder("short", (1, size), 0)
    emit.write(compile_network(b.finish(b.fully_connected(0, size)), MCU), tmp_path)
    subprocess.run(["make", "-s", "-C", str(tmp_path), "check"], check=True)


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("cc")), reason="needs cmake and cc")
def test_ctest_passes_on_this_computer(ds_cnn_folder: Path, tmp_path: Path) -> None:
    """Catches a CMakeLists.txt that does not configure, build or test as shipped."""
    for command in (
        ["cmake", "-S", str(ds_cnn_folder), "-B", str(tmp_path)],
        ["cmake", "--build", str(tmp_path)],
        ["cmake", "-E", "chdir", str(tmp_path), "ctest"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed" in done.stdout


_ARENAS = """
#include <string.h>
#include "ds_cnn.h"
#include "ds_cnn_test_vector.h"

static _Alignas(DS_CNN_ARENA_ALIGNMENT) int8_t first[DS_CNN_ARENA_BYTES + 1];
static _Alignas(DS_CNN_ARENA_ALIGNMENT) int8_t whole[DS_CNN_ARENA_ALIGNMENT + DS_CNN_ARENA_BYTES + DS_CNN_INPUT_BYTES];
static int8_t *const second = whole + DS_CNN_ARENA_ALIGNMENT;
static int8_t other[DS_CNN_OUTPUT_BYTES];

/* In the middle of one inference another one runs, in an arena of its own. */
static void nested(void *context, int32_t layer, const void *output, int32_t bytes)
{
    (void)output;
    (void)bytes;
    if (layer == 4) {
        *(int *)context = ds_cnn_invoke_with(second, ds_cnn_test_in, other);
    }
}

int main(void)
{
    int8_t out[DS_CNN_OUTPUT_BYTES];
    int status = 9;
    if (ds_cnn_invoke_with(first + 1, ds_cnn_test_in, out) != -1 || ds_cnn_invoke_with(0, ds_cnn_test_in, out) != -1) {
        return 1;
    }
    if (ds_cnn_invoke_observed(first, ds_cnn_test_in, out, nested, &status) != 0 || status != 0) {
        return 2;
    }
    /* Of an input and an output: over the arena's start, one byte beside their place, and over its end. */
    int8_t *const places[] = {whole, second + 1 + DS_CNN_INPUT_OFFSET, second + DS_CNN_ARENA_BYTES - 1};
    for (int i = 0; i < 3; i++) {
        if (ds_cnn_invoke_with(second, places[i], out) != -4) {
            return 4;
        }
    }
    if (ds_cnn_invoke_with(second, ds_cnn_test_in, second - 1) != -4 ||
        ds_cnn_invoke_with(second, ds_cnn_test_in, second + 1 + DS_CNN_OUTPUT_OFFSET) != -4) {
        return 5;
    }
    /* At their places, behind the arena's end, and both at one address they are right. */
    memcpy(second + DS_CNN_INPUT_OFFSET, ds_cnn_test_in, DS_CNN_INPUT_BYTES);
    if (ds_cnn_invoke_with(second, second + DS_CNN_INPUT_OFFSET, second + DS_CNN_OUTPUT_OFFSET) != 0 ||
        memcmp(second + DS_CNN_OUTPUT_OFFSET, ds_cnn_expected_out, sizeof out) != 0) {
        return 6;
    }
    int8_t *const behind = second + DS_CNN_ARENA_BYTES;
    memcpy(behind, ds_cnn_test_in, DS_CNN_INPUT_BYTES);
    if (ds_cnn_invoke_with(second, behind, behind) != 0 || memcmp(behind, ds_cnn_expected_out, sizeof out) != 0) {
        return 7;
    }
    const int wrong = memcmp(out, ds_cnn_expected_out, sizeof out) != 0;
    return wrong || memcmp(other, ds_cnn_expected_out, sizeof other) != 0 ? 3 : 0;
}
"""


def test_a_callers_arena_is_reentrant(ds_cnn_folder: Path, tmp_path: Path) -> None:
    """Catches state outside the arena, an arena or a caller's buffer within it that is not checked, and a static arena
    that cannot be left out.
    """
    (tmp_path / "arenas.c").write_text(_ARENAS)
    sources = ["arenas.c", str(ds_cnn_folder / library.source("ds_cnn"))]
    folders = [f"-I{each}" for each in library.include_folders(ds_cnn_folder)]
    options = ["-std=c11", "-O1", *WARNINGS, *folders, "-DDS_CNN_NO_STATIC_ARENA"]
    subprocess.run([*host_compilers()[0], *options, *sources, "-o", "arenas"], check=True, cwd=tmp_path)
    assert subprocess.run([tmp_path / "arenas"], check=False).returncode == 0


@pytest.mark.parametrize(
    "core",
    [
        ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        ("-mcpu=cortex-m4", "-mfloat-abi=soft"),
        ("-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
        ("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    ],
    ids=["m4", "m4-no-fpu", "m7", "m33"],
)
@pytest.mark.parametrize("name", ["ds_cnn", "mobilenet_v2"])
def test_library_is_free_of_warnings_on_every_core(core: tuple[str, ...], name: str, tmp_path: Path) -> None:
    """Catches code that GCC warns of, or that needs an instruction that a core lacks."""
    try:
        command = find_compiler("gcc").command
    except MissingToolError:
        pytest.skip("arm-none-eabi-gcc is not installed")
    emit.write(compile_network(zoo.build(name), MCU), tmp_path)
    options = ["-std=c11", "-O3", "-mthumb", "-ffreestanding", *core, *WARNINGS]
    subprocess.run([*command, *options, "-c", library.source(name), "-o", "n.o"], check=True, cwd=tmp_path)


def test_no_registers_of_an_fpu_where_there_is_none() -> None:
    """Catches a kernel that holds words in an FPU, chosen for a core without one, where it would be its slow C."""
    held = []
    for machine in (MCU, mcu("stm32wle5")):
        plan = compile_network(zoo.build("ds_cnn"), machine.with_wait_states(0))
        held.append({layer.plan.fpu for layer in plan.layers})
    assert True in held[0]
    assert True not in held[1]


def test_clang_builds_the_same_bytes(tmp_path: Path) -> None:
    """Catches code that only GCC compiles as meant."""
    pytest.importorskip("ziglang")
    trial = network_trial.run(compile_network(zoo.build("fc_autoencoder"), MCU.with_wait_states(0)), 1, compiler="zig")
    assert trial.passed


def test_emission_is_deterministic() -> None:
    """Catches order that depends on hashing, time or the solver's threads."""
    first, second = (emit.files(compile_network(zoo.build("ds_cnn"), MCU)) for _ in range(2))
    assert first == second


def test_budgets_that_cannot_be_met_say_by_how_much() -> None:
    """Catches a refusal without the number of bytes, the layer at fault and a way out; and one that is not true."""
    b = Builder("keywords", (1, 49, 10, 1), 2)
    x = b.conv_2d(b.input, 64, Size2D(10, 4), stride=Size2D(2, 2))
    x = b.depthwise_conv_2d(x, Activation.RELU)
    graph = b.finish(b.classify(b.average_pool(b.conv_2d(x, 64, Size2D(1, 1))), 12))
    with pytest.raises(InfeasibleError, match=r"needs at least \d,\d{3} bytes of SRAM, [\d,]+ more .* depth first"):
        compile_network(graph, MCU, sram=2_000)
    with pytest.raises(InfeasibleError, match=r"bytes of flash, [\d,]+ more than the 10,000 given") as flash:
        compile_network(graph, MCU, flash=10_000)
    least = int(re.search(r"\bflash=(\d+)", str(flash.value))[1])  # type: ignore[index]
    tight = compile_network(graph, MCU, flash=least)
    assert tight.flash_bytes <= least
    assert tight.cycles >= compile_network(graph, MCU).cycles


def test_weights_beyond_the_flash_are_refused_before_anything_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches minutes of planning for a network that cannot fit, and a refusal of one that can: its weights fit."""
    graph = zoo.build("ds_cnn")
    weights = sum(graph.tensors[t].nbytes for t in graph.constants if graph.tensors[t].dtype == "int8")

    def prepare(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(compile_module, "prepare", prepare)
    wanted = rf"ds_cnn has {weights:,} bytes of weights, 1 more than the {weights - 1:,} .* has most, 4,096; fewer"
    with pytest.raises(InfeasibleError, match=wanted):
        compile_network(graph, MCU, flash=weights - 1)
    with pytest.raises(NotImplementedError):
        compile_network(graph, MCU, flash=weights)


def test_tighter_flash_never_makes_it_faster() -> None:
    """Catches a choice that ignores its budget or its price."""
    graph = zoo.build("resnet8")
    free = compile_network(graph, MCU)
    last = free.machine_cycles
    for share in (0.8, 0.6, 0.4):
        budget = int(free.flash_bytes * share)
        plan = compile_network(graph, MCU, flash=budget)
        assert plan.flash_bytes <= budget
        assert plan.machine_cycles >= last
        last = plan.machine_cycles


def test_objective_must_be_known() -> None:
    """Catches an objective that is silently taken for another."""
    with pytest.raises(InputError, match="no objective 'speed': there are bytes, cycles, energy"):
        compile_network(zoo.build("fc_autoencoder"), MCU, "speed")
