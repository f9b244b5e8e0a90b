"""Whole images: the library in projects as STM32Cube, Zephyr and Arduino have them, run from reset and measured."""

from __future__ import annotations

import os
import shutil
import tarfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest

from memaopt import interrupts
from memaopt.board import Board
from memaopt.board.build import find_compiler
from memaopt.board.projects import LAYOUTS, TITLES, Layout, build_project, project_files, usual_layout
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit.package import archive
from memaopt.errors import BuildError
from memaopt.machines.mcu import mcu, preset_names
from memaopt.networks.zoo import zoo
from memaopt.trials import image as network_image
from memaopt.trials import network as network_trial
from memaopt.trials.measurement import from_reset
from memaopt.trials.readout import read
from memaopt.writer import write_files

MODELS = ("ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")
SETTINGS = ("stock", "stock-prefetch", "ram")
#: All of the matrix below, and not only its diagonal.
WHOLE = bool(os.environ.get("MEMAOPT_WHOLE_MATRIX"))


@cache
def compiled(model: str, setting: str) -> NetworkPlan:
    folder = os.environ.get("MEMAOPT_MODELS")
    if model == "ds_cnn":
        return compile_network(zoo.build(model), mcu("stm32l4r5", setting))
    if not folder:
        pytest.skip("MEMAOPT_MODELS is not set")
    return compile_network(Path(folder) / f"{model}.tflite", mcu("stm32l4r5", setting))


def chosen() -> list[tuple[str, str, Layout]]:
    every = [(model, setting, layout) for model in MODELS for setting in SETTINGS for layout in LAYOUTS]
    # Each network, each setting and each layout at least once, for little time.
    few = [("ad01_int8", "stock", "zephyr"), ("kws_ref_model", "stock-prefetch", "stm32cube")]
    few += [("kws_ref_model", "ram", "arduino"), ("vww_96_int8", "stock", "arduino")]
    few += [("pretrainedResnet_quant", "ram", "zephyr")]
    return every if WHOLE else [case for case in every if case in few]


@pytest.mark.parametrize(("model", "setting", "layout"), chosen())
def test_the_promise_holds_in_a_vendors_project(model: str, setting: str, layout: Layout, tmp_path: Path) -> None:
    """Catches a figure that needs a special linker script, start-up code, or registers that nobody sets."""
    plan = compiled(model, setting)
    write_files(emit.files(plan), tmp_path)
    (image,) = network_image.run([plan], tmp_path, layout)
    assert (image.layout, image.status, image.wrong) == (layout, 0, 0)
    assert abs(image.cycles / plan.machine_cycles - 1) < 0.03
    assert image.stack_bytes <= plan.stack_bytes + 512


#: A project of the chip's by CMake: it fetches the package, and is linked with its own script.
_APP = """
cmake_minimum_required(VERSION 3.16)
project(app LANGUAGES C ASM)
include(FetchContent)
FetchContent_Declare({name} URL {package})
FetchContent_MakeAvailable({name})
add_executable(app main.c host.c system.c start.s)
target_include_directories(app PRIVATE . ${{{name}_SOURCE_DIR}}/extras)
target_link_libraries(app PRIVATE {name}::{name})
target_link_options(app PRIVATE -nostartfiles --specs=nosys.specs -T${{CMAKE_SOURCE_DIR}}/project.ld)
"""
_TOOLCHAIN = """
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_FLAGS_INIT "{flags}")
set(CMAKE_ASM_FLAGS_INIT "{flags}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("arm-none-eabi-gcc")), reason="needs cmake and GCC")
@pytest.mark.parametrize("model", MODELS if WHOLE else ("ds_cnn",))
def test_the_promise_holds_in_a_project_of_cmake(model: str, tmp_path: Path) -> None:
    """Catches a package whose library CMake builds otherwise for the chip than was promised."""
    plan = compiled(model, "stock")
    name, package = archive("cmake", plan.name, emit.files(plan))
    app = _APP.format(name=plan.name, package=tmp_path / name)
    toolchain = _TOOLCHAIN.format(flags=" ".join(find_compiler("gcc", plan.mcu.core).target))
    project = project_files("stm32cube", plan.mcu, stack_bytes=plan.stack_bytes + 2048)
    files = {"CMakeLists.txt": app, "chip.cmake": toolchain, "main.c": network_image.main_file([plan])}
    (tmp_path / name).write_bytes(package)
    write_files({**files, **project}, tmp_path / "app")
    made, chip = tmp_path / "built", tmp_path / "app" / "chip.cmake"
    configure = [f"-DCMAKE_TOOLCHAIN_FILE={chip}", "-DCMAKE_BUILD_TYPE=Release"]
    for command in (["-S", str(tmp_path / "app"), "-B", str(made), *configure], ["--build", str(made)]):
        code, said, errors = interrupts.run(["cmake", *command], tmp_path)
        assert code == 0, said + errors
    _held(plan, from_reset(plan.mcu, made / "app"))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS if WHOLE else ("ds_cnn",))
def test_the_promise_holds_of_a_package_of_platformio(model: str, tmp_path: Path) -> None:
    """Catches a package in which PlatformIO, which compiles all of src/, builds something else than was promised."""
    plan = compiled(model, "stock")
    _, package = archive("platformio", plan.name, emit.files(plan))
    with tarfile.open(fileobj=BytesIO(package)) as packed:
        packed.extractall(tmp_path, filter="data")
    (tmp_path / "main.c").write_text(network_image.main_file([plan]))
    sources = [tmp_path / "main.c", *sorted((tmp_path / "src").glob("*.c"))]
    include = [tmp_path / "include", tmp_path / "extras"]
    stack = plan.stack_bytes + 512
    output = tmp_path / "app.elf"
    build_project("stm32cube", plan.mcu, sources, output, stack_bytes=stack, include=include, optimise="-O2")
    _held(plan, from_reset(plan.mcu, output))


def _held(plan: NetworkPlan, printed: str) -> None:
    said = read(printed, plan.name, 0)
    assert said is not None
    assert (said.status, said.wrong) == (0, 0)
    assert said.cycles is not None
    assert abs(said.cycles / plan.machine_cycles - 1) < 0.03


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", preset_names())
def test_each_layout_starts_on_each_chip(name: str, layout: Layout, tmp_path: Path) -> None:
    """Catches start-up code that hangs in a chip's clocks, does not copy or clear, or loses the stack."""
    machine = mcu(name)
    source = tmp_path / "main.c"
    source.write_text(
        '#include "host.h"\n'
        "static uint32_t first = 41u;\nstatic uint32_t zero[64];\nstatic volatile float one = 1.0f;\n"
        "int main(void)\n{\n"
        "    for (uint32_t i = 0; i < 64u; i++) {\n        first += zero[i];\n    }\n"
        "    volatile uint32_t deep[100];\n    deep[99] = first + (uint32_t)one;\n"
        '    host_write("first ");\n    host_number(deep[99]);\n    host_exit(0u);\n    return 0;\n}\n'
    )
    run = Board(machine).load(build_project(layout, machine, [source], tmp_path / "image.elf")).reset()
    assert (run.output, run.ended, run.exit_code) == ("first 42", "exit", 0)
    assert 400 < run.stack_bytes < 600
    assert usual_layout(machine) in TITLES


@pytest.mark.parametrize("layout", LAYOUTS)
def test_start_up_code_is_what_copies(layout: Layout, tmp_path: Path) -> None:
    """Catches a board that puts .data into RAM itself: before main it is not there at the reset handler."""
    source = tmp_path / "main.c"
    source.write_text("#include <stdint.h>\nuint32_t first = 7u;\nint main(void)\n{\n    return (int)first;\n}\n")
    board = Board(mcu("stm32l4r5")).load(build_project(layout, mcu("stm32l4r5"), [source], tmp_path / "image.elf"))
    board.reset(until="SystemInit" if layout != "arduino" else "Reset_Handler")
    assert board.read("first", 4) == b"\xa5" * 4
    board.reset(until="main")
    assert board.read("first", 4) == b"\7\0\0\0"


def test_the_measuring_snippet_prints_the_figure(tmp_path: Path) -> None:
    """Catches an emitted snippet that does not compile in a project with CMSIS's names, or measures something else."""
    plan = compile_network(zoo.build("ds_cnn"), mcu("stm32l4r5"))
    write_files(emit.files(plan), tmp_path)
    (tmp_path / "main.h").write_text(
        "#include <stdint.h>\n"
        "typedef struct { volatile uint32_t DHCSR, DCRSR, DCRDR, DEMCR; } CoreDebug_Type;\n"
        "typedef struct { volatile uint32_t CTRL, CYCCNT; } DWT_Type;\n"
        "#define CoreDebug ((CoreDebug_Type *)0xE000EDF0u)\n#define DWT ((DWT_Type *)0xE0001000u)\n"
        "#define CoreDebug_DEMCR_TRCENA_Msk 0x1000000u\n#define DWT_CTRL_CYCCNTENA_Msk 1u\n"
    )
    (tmp_path / "project.c").write_text(
        f'#include "host.h"\n#include "{plan.name}_stm32cube.h"\n'
        f"int main(void)\n{{\n    host_number({plan.name}_measure());\n"
        "    host_exit(0u);\n    return 0;\n}\n"
    )
    sources = [tmp_path / "project.c", tmp_path / library.source(plan.name)]
    include = [tmp_path, *library.include_folders(tmp_path)]
    built = build_project("stm32cube", plan.mcu, sources, tmp_path / "image.elf", include=include)
    run = Board(plan.mcu).load(built).reset()
    assert abs(int(run.output) / plan.machine_cycles - 1) < 0.03


def test_an_image_has_the_caches_of_its_setting(tmp_path: Path) -> None:
    """Catches an image that runs with a cache that its setting has off: 552,715 cycles where 798,002 are predicted."""
    plan = compile_network(zoo.build("fc_autoencoder"), mcu("nrf52840", "reset"))
    write_files(emit.files(plan), tmp_path)
    (image,) = network_image.run([plan], tmp_path, usual_layout(plan.mcu))
    assert abs(image.cycles / plan.machine_cycles - 1) < 0.03


def test_a_trial_runs_the_image_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an image that is wrong and passes, and one that cannot be linked and takes everything else with it."""
    plan = compile_network(zoo.build("fc_autoencoder"), mcu("stm32l4r5"))
    write_files(emit.files(plan), tmp_path)
    trial = network_trial.run(plan, 1, folder=tmp_path, layout="stm32cube")
    assert trial.passed
    assert trial.image is not None
    assert abs(trial.image.cycles / trial.cycles - 1) < 0.03
    wrong = trial.model_copy(update={"image": trial.image.model_copy(update={"wrong": 1})})
    assert not wrong.passed

    def refuse(*_: object, **__: object) -> None:
        raise BuildError("image.elf: region `RAM' overflowed by 8 bytes")

    monkeypatch.setattr(network_image, "build_project", refuse)
    trial = network_trial.run(plan, 1, folder=tmp_path, layout="stm32cube")
    assert trial.image is None
    assert "overflowed by 8 bytes" in trial.no_image
    assert not trial.passed
