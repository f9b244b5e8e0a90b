"""Code and constants in RAM: what links runs as planned, and what does not run as planned is an error."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
from board_helpers import compilers
from network_helpers import WARNINGS

from memaopt.board import Board, build
from memaopt.board.build import GCC, find_compiler
from memaopt.choice.compile import compile_network
from memaopt.choice.knee import WITHIN
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.errors import BuildError
from memaopt.machines.mcu import mcu, preset_names
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import network as network_trial

L4R5 = mcu("stm32l4r5")
M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-std=c11", "-ffreestanding")
NEEDS_GCC = pytest.mark.skipif("gcc" not in compilers(), reason="no arm-none-eabi-gcc")


#: Chips where code does not pay: a cache that holds it, or few wait states.
_FLASH_IS_AS_FAST = ("stm32f4", "stm32w", "apollo3", "cc2652", "efr32", "max32", "ra4m1")


@cache
def _small(machine: str = "stm32l4r5") -> NetworkPlan:
    """Code and constants in RAM."""
    made = Builder("small", (1, 16, 16, 8), 3)
    x = made.depthwise_conv_2d(made.conv_2d(0, 16, Size2D(3, 3), Activation.RELU), Activation.RELU)
    plan = compile_network(made.finish(made.classify(made.mean(x), 10)), mcu(machine, "ram"))
    assert any(layer.where.data for layer in plan.layers)
    # Code pays where neither a large cache nor few wait states keep flash from being waited for.
    assert any(layer.where.code for layer in plan.layers) or machine.startswith(_FLASH_IS_AS_FAST)
    return plan


@cache
def _wide() -> NetworkPlan:
    """An arena that leaves code in SRAM2 no room before it, so behind the code."""
    made = Builder("wide", (1, 112, 112, 8), 4)
    x = made.conv_2d(0, 24, Size2D(3, 3), Activation.RELU)
    plan = compile_network(made.finish(made.conv_2d(x, 8, Size2D(1, 1))), L4R5.in_setting("ram"))
    assert plan.layout is not None
    assert plan.layout.arena_behind
    assert plan.layout.code_room
    return plan


def _built(plan: NetworkPlan, folder: Path, *extra: Path, linker: bool = True, **options: object) -> Board:
    """The library on the board, with other sources beside it."""
    emit.write(plan, folder)
    script = library.read_linker_part(folder, plan.name) if linker else ""
    sources = [folder / library.source(plan.name), *extra]
    return Board(plan.mcu).load(build(sources, folder / "program.elf", plan.mcu, script=script, **options))  # type: ignore[arg-type]


def _ends(plan: NetworkPlan) -> list[int]:
    return [0] * (len(plan.graph.inputs) + len(plan.graph.outputs))


def _signed(status: int) -> int:
    return status - (1 << 32) if status >> 31 else status


def test_invoke_before_init_is_an_error(tmp_path: Path) -> None:
    """Catches a network that runs, slowly or wrongly, though nobody has copied its code and constants."""
    plan = _small()
    board = _built(plan, tmp_path)
    assert _signed(board.call("small_invoke", *_ends(plan)).r0) == -2
    assert board.call("small_init").r0 == 0
    assert board.call("small_invoke", *_ends(plan)).r0 == 0


@pytest.mark.parametrize("machine", preset_names())
def test_init_copies_all_that_is_in_ram(machine: str, tmp_path: Path) -> None:
    """Catches a section that is linked into RAM and never copied there: RAM holds anything when a chip starts."""
    plan = _small(machine)
    board = _built(plan, tmp_path)
    symbols = board.symbols
    sections = [name.removesuffix("_load") for name in symbols if name.startswith("small_") and name.endswith("_load")]
    assert sections
    for section in sections:
        start, end = symbols[f"{section}_start"], symbols[f"{section}_end"]
        assert end > start
        board.write(start, b"\xde" * (end - start))
    assert board.call("small_init").r0 == 0
    for section in sections:
        size = symbols[f"{section}_end"] - symbols[f"{section}_start"]
        assert board.read(symbols[f"{section}_start"], size) == board.read(symbols[f"{section}_load"], size)
    assert network_trial.run(plan, 1).passed


@pytest.mark.parametrize("compiler", compilers())
def test_an_arena_beyond_the_code_links(compiler: str, tmp_path: Path) -> None:
    """Catches 'section will not fit in sram2': an arena that leaves the code no room before it goes behind it."""
    plan = _wide()
    board = _built(plan, tmp_path, compiler=compiler)
    assert plan.layout is not None
    assert board.symbols["wide_static_arena"] == plan.layout.behind_at
    assert board.symbols["wide_code_start"] == plan.layout.code_at
    assert board.symbols["wide_code_end"] - board.symbols["wide_code_start"] <= plan.layout.code_room


def test_data_where_the_code_is_do_not_link(tmp_path: Path) -> None:
    """Catches data that run into the other address of the code: the program would overwrite its own kernels."""
    plan = _small()
    assert plan.layout is not None
    assert plan.layout.shadow_at is not None
    other = tmp_path / "other.c"
    other.write_text(f"char others[{plan.layout.shadow_at - L4R5.sram.base}];\n")
    with pytest.raises(BuildError, match="overlap"):
        _built(plan, tmp_path, other)


def test_without_its_linker_script_it_does_not_link(tmp_path: Path) -> None:
    """Catches code that a linker quietly puts into flash, where it is three times as slow."""
    with pytest.raises(BuildError, match="small_"):
        _built(_small(), tmp_path, linker=False)


def test_code_of_the_wrong_address_is_an_error(tmp_path: Path) -> None:
    """Catches sections of the vendor's that end where code is slow: they are orphans of this board's script."""
    plan = _small()
    board = _built(plan, tmp_path, linker=False, define={"SMALL_BY_STARTUP": 1})
    assert _signed(board.call("small_init").r0) == -3
    assert _signed(board.call("small_invoke", *_ends(plan)).r0) == -2


def test_sections_of_the_vendors_script_where_they_are_right(tmp_path: Path) -> None:
    """Catches a name that STM32Cube's scripts do not have: .RamFunc lies with .data, which start-up code copies."""
    plan = _small("stm32f446")
    emit.write(plan, tmp_path)
    script = ".cube_data : ALIGN(8) { *(.RamFunc .RamFunc.*) } > RAM"
    define = {"SMALL_BY_STARTUP": 1}
    built = build([tmp_path / "src" / "small.c"], tmp_path / "small.elf", plan.mcu, define=define, script=script)
    board = Board(plan.mcu).load(built)
    assert board.call("small_init").r0 == 0
    assert board.call("small_invoke", *_ends(plan)).r0 == 0


@NEEDS_GCC
@pytest.mark.parametrize(
    "macro",
    [
        "SMALL_CODE_IN_RAM=",
        "SMALL_DATA_IN_RAM(x)=",
        "SMALL_BEHIND_IN_RAM(x)=",
        "SMALL_IN_FLASH",
        "SMALL_BY_STARTUP",
        'SMALL_CODE_IN_RAM=__attribute__((section(".own")))',
    ],
)
def test_each_macro_alone_compiles(macro: str, tmp_path: Path) -> None:
    """Catches a macro of placement that the others must be defined with."""
    emit.write(_small(), tmp_path)
    command = [GCC, *M4, *WARNINGS, "-Wpedantic", "-Wshadow", f"-D{macro}", "-c"]
    subprocess.run([*command, str(tmp_path / "src" / "small.c"), "-o", str(tmp_path / "small.o")], check=True)


def test_in_flash_nothing_is_copied_and_nothing_checked(tmp_path: Path) -> None:
    """Catches a library that cannot be tried without its linker script."""
    plan = _small()
    board = _built(plan, tmp_path, linker=False, define={"SMALL_IN_FLASH": 1})
    assert board.call("small_init").r0 == 0
    assert board.call("small_invoke", *_ends(plan)).r0 == 0


@pytest.mark.skipif("MEMAOPT_MODELS" not in os.environ, reason="MEMAOPT_MODELS is not set")
@pytest.mark.parametrize(
    ("model", "setting", "most"),
    [
        ("ad01_int8", "stock", 530_000),
        ("ad01_int8", "stock-prefetch", 530_000),
        ("ad01_int8", "ram", 338_193),
        ("kws_ref_model", "stock", 3_650_000),
        ("kws_ref_model", "stock-prefetch", 3_600_000),
        ("kws_ref_model", "ram", 3_059_809),
        ("pretrainedResnet_quant", "stock", 12_300_000),
        ("pretrainedResnet_quant", "stock-prefetch", 11_900_000),
        ("pretrainedResnet_quant", "ram", 7_604_205),
        ("vww_96_int8", "stock", 5_350_000),
        ("vww_96_int8", "stock-prefetch", 5_300_000),
        ("vww_96_int8", "ram", 4_960_085),
    ],
)
def test_reference_networks_by_setting(model: str, setting: str, most: int) -> None:
    """Catches a setting, or a knee, that costs more than it needs to; what is predicted is counted elsewhere."""
    path = Path(os.environ["MEMAOPT_MODELS"]) / f"{model}.tflite"
    plan = compile_network(path, L4R5.in_setting(setting), within=WITHIN)
    assert plan.machine_cycles <= most
    assert (plan.ram_bytes > 0) == (setting == "ram")


def test_stock_needs_nothing(tmp_path: Path) -> None:
    """Catches a copy, a section or a call that was not asked for."""
    plan = compile_network(zoo.build("fc_autoencoder"), L4R5)
    files = emit.files(plan)
    assert plan.ram_bytes == 0
    assert not any(name.endswith(".ld") for name in files if "firmware" not in name)
    for name, text in files.items():
        assert "fc_autoencoder_init" not in text, name
        assert "section(" not in text or "firmware" in name, name
        assert "0x40022000" not in text or "firmware" in name, name


_EXAMPLES = (
    "extras/fc_autoencoder_stm32cube.h",
    "zephyr/sample/fc_autoencoder_main.inc",
    "examples/fc_autoencoder_example/fc_autoencoder_example.ino",
)


@pytest.mark.parametrize("setting", ["stock-prefetch", "ram"])
def test_snippets_do_what_the_setting_needs(setting: str) -> None:
    """Catches a promise with prefetch on that no snippet turns on, or copies that none makes."""
    files = emit.files(compile_network(zoo.build("fc_autoencoder"), L4R5.in_setting(setting)))
    for name in _EXAMPLES:
        assert "*(volatile uint32_t *)0x40022000u |= 0x100u;" in files[name]
        # In Zephyr's sample the test does it, which runs first.
        text = files[name] + (files[library.checker("fc_autoencoder")] if "zephyr" in name else "")
        assert ("fc_autoencoder_init()" in text) == (setting == "ram")
    assert f"setting {setting}" in files["include/fc_autoencoder.h"]


_START = """
#include <stdint.h>
#include "small.h"

extern uint32_t _sidata[], _sdata[], _edata[], _sbss[], _ebss[], _estack[];
void Reset_Handler(void);
__attribute__((section(".isr_vector"), used)) static void *const vectors[] = {
    _estack, (void *)(uintptr_t)Reset_Handler
};
static int8_t in[SMALL_INPUT_ELEMENTS], out[SMALL_OUTPUT_ELEMENTS];
int status[3] = { 7, 7, 7 };

void Reset_Handler(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    for (uint32_t *p = _sdata, *q = _sidata; p < _edata;) {
        *p++ = *q++;
    }
    for (uint32_t *p = _sbss; p < _ebss;) {
        *p++ = 0;
    }
    status[0] = small_invoke(in, out);
    status[1] = small_init();
    status[2] = small_invoke(in, out);
    for (;;) {
    }
}
"""
_SCRIPT = """
ENTRY(Reset_Handler)
MEMORY
{
  RAM (xrw) : ORIGIN = %#x, LENGTH = %d
  FLASH (rx) : ORIGIN = %#x, LENGTH = %d
}
_estack = ORIGIN(RAM) + LENGTH(RAM);
SECTIONS
{
  .isr_vector : { KEEP(*(.isr_vector)) } > FLASH
  .text : { *(.text*) *(.rodata*) . = ALIGN(4); } > FLASH
  _sidata = LOADADDR(.data);
  .data : { _sdata = .; *(.data*) *(.RamFunc*) . = ALIGN(4); _edata = .; } > RAM AT > FLASH
  INCLUDE small.ld
  .bss : { _sbss = .; *(.bss*) *(COMMON) . = ALIGN(4); _ebss = .; } > RAM
  ._user_heap_stack : { . = ALIGN(8); end = .; . = . + 0x600; } > RAM
}
"""


@NEEDS_GCC
@pytest.mark.parametrize("machine", preset_names())
def test_a_project_includes_the_script_in_its_own(machine: str, tmp_path: Path) -> None:
    """Catches a script that works with the board's alone, and copies that RAM does not hold when a chip starts.

    Regions, sections and start-up code are as STM32Cube has them, and the program runs from reset.
    """
    plan = _small(machine)
    emit.write(plan, tmp_path)
    flash, sram = plan.mcu.memory("flash"), plan.mcu.sram
    (tmp_path / "project.ld").write_text(_SCRIPT % (sram.base, sram.size, flash.base, flash.size))
    (tmp_path / "start.c").write_text(_START)
    command = [*find_compiler("gcc").command, *M4, *WARNINGS, "-O2", "-Wl,--gc-sections", "-Wl,--fatal-warnings"]
    command += ["-Wl,--no-warn-rwx-segments", "-nostartfiles", "--specs=nosys.specs", "-Lextras", "-Iinclude"]
    command += ["-T", "project.ld"]
    subprocess.run([*command, "start.c", "src/small.c", "-o", "project.elf"], check=True, cwd=tmp_path)
    board = Board(plan.mcu).load(tmp_path / "project.elf")
    assert plan.layout is not None
    if plan.layout.code_at is not None:
        assert board.symbols["small_code_start"] == plan.layout.code_at
    board.reset(max_instructions=10_000_000)
    assert [int.from_bytes(board.read("status", 12)[i : i + 4], "little", signed=True) for i in (0, 4, 8)] == [-2, 0, 0]
