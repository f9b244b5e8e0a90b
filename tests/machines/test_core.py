"""Cores: data from which registers, compilers and the board follow; those without timing are emission targets."""

import re
from pathlib import Path
from typing import Any

import pytest
from board_helpers import compilers
from choice_helpers import network
from cli_helpers import Cli

from memaopt.board import Board, build
from memaopt.board.projects import usual_layout
from memaopt.certificates.gemm import certify, verify
from memaopt.choice.compile import compile_network
from memaopt.choice.pareto import fronts
from memaopt.emit import folder as library
from memaopt.emit import gemm as emit_gemm
from memaopt.emit import network as emit_network
from memaopt.errors import FaultError, InfeasibleError, InputError
from memaopt.kernels.gemm.families import BY_NAME, tiles
from memaopt.machines.core import Core, core, core_names
from memaopt.machines.mcu import Mcu, mcu
from memaopt.networks.formats.tflite import writer
from memaopt.problems.gemm import Dtype, gemm
from memaopt.report import network_json
from memaopt.trials import gemm as gemm_trial
from memaopt.trials import network as network_trial

#: A chip with each core that has no timing.
UNTIMED = ("stm32f746", "nrf5340", "stm32wle5")
#: A figure of cycles or of time, as text or as JSON.
_FIGURES = re.compile(r'\d,?\d* cycles|cycles"?:? +[\d"]| ms at | uJ|"(energy_uj|milliseconds)": \d')


def _fails(machine: Mcu, folder: Path, text: str) -> str:
    """How the board refuses one instruction, after the FPU was switched on as start-up code does."""
    source = folder / "f.s"
    on = "ldr r0,=0xE000ED88\nldr r1,=0xF00000\nstr r1,[r0]\ndsb\nisb\n"
    head = ".syntax unified\n.thumb\n.fpu fpv4-sp-d16\n.text\n.global f\n.thumb_func\nf:\n"
    source.write_text(f"{head}{on}{text}\nbx lr\n")
    board = Board(machine).load(build([source], folder / "f.elf", machine, compiler="gcc"))
    with pytest.raises(FaultError) as fault:
        board.call("f")
    return str(fault.value)


def test_the_cores() -> None:
    """Catches a core that was not packaged, or that a name does not stand for."""
    assert core_names() == ("cortex-m33", "cortex-m4", "cortex-m4-nofpu", "cortex-m7")
    assert [name for name in core_names() if core(name).is_timed] == ["cortex-m4"]
    assert {mcu(name).core.name for name in UNTIMED} == set(core_names()) - {"cortex-m4"}
    assert all(core(name).name == name and core(name).sources for name in core_names())


def test_a_machine_names_its_core() -> None:
    """Catches a certificate that spells out a core it could name, or names one that it changes."""
    machine = mcu("stm32f746")
    assert machine.model_dump(mode="json")["core"] == "cortex-m7"
    fewer = machine.model_copy(update={"core": machine.core.model_copy(update={"core_registers": 9})})
    written = fewer.model_dump(mode="json")
    assert written["core"]["core_registers"] == 9
    assert Mcu.checked(written, "m") == fewer


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("dtype", ["f32", "q15", "s8"])
@pytest.mark.parametrize("name", UNTIMED)
def test_gemms_on_every_core(name: str, dtype: Dtype, compiler: str) -> None:
    """Catches flags, guards or kernels with which a core runs other code than was promised, or cycles in a trial."""
    machine = mcu(name)
    if dtype == "f32" and not machine.core.has_fpu:
        with pytest.raises(InfeasibleError, match="no f32 kernel runs on a Cortex-M4 without FPU: choose q15 or s8"):
            certify(gemm(5, 7, 9, dtype=dtype), machine)
        return
    certificate = certify(gemm(5, 1031, 9, dtype=dtype), machine, "cycles")
    tried = gemm_trial.run(certificate, compiler=compiler)
    assert (tried.equal, tried.correct) == (True, True)
    assert {tried.cycles, tried.ideal_cycles, tried.energy_uj} == {None}
    assert {certificate.traffic.cycles, certificate.traffic.kernel_cycles} == {None}
    assert not any(_FIGURES.search(text) for text in emit_gemm.files(certificate).values())
    assert (
        "Objective: cycles, ordered by the Cortex-M4's timing."
        in emit_gemm.files(certificate)[library.source(emit_gemm.name_of(certificate))]
    )


@pytest.mark.parametrize("family", [family for family in BY_NAME.values() if family.without_fpu], ids=lambda f: f.name)
def test_kernels_that_keep_words_on_the_stack(family: Any) -> None:
    """Catches a kernel that without an FPU reads another word than it kept, in any family and phase."""
    machine = mcu("stm32wle5").with_sizes(sram=2048)
    problem = gemm(7, 2 * max(family.kr) + 1, 6, dtype=family.dtype)
    certificate = certify(problem, machine)
    for tile in tiles(family, 14, 0)[:: max(1, len(tiles(family, 14, 0)) // 3)]:
        schedule = certificate.schedule.model_copy(
            update={"kernel": family.name, "mr": tile.mr, "kr": tile.kr, "nr": tile.nr, "kc": problem.k // 2}
        )
        forced = certificate.model_copy(update={"schedule": schedule})
        tried = gemm_trial.run(forced)
        assert tried.correct, tile


@pytest.mark.parametrize("name", UNTIMED)
def test_networks_on_every_core(name: str) -> None:
    """Catches a kernel that is wrong, or makes other accesses, on a core that it was not written on."""
    machine = mcu(name)
    plan = compile_network(network(3), machine)
    tried = network_trial.run(plan, 1, layout=usual_layout(machine))
    assert tried.passed
    assert tried.image is not None
    assert {tried.cycles, tried.energy_uj, tried.image.cycles, *(layer.cycles for layer in tried.layers)} == {None}
    files = emit_network.files(plan)
    # Programs that print what the chip counts have the words, and no figure.
    claims = {file: text for file, text in files.items() if "stm32cube" not in file and "samples" not in file}
    assert not any(_FIGURES.search(text) for text in claims.values())
    said = f"No cycles are stated: nobody has validated the timing of a {machine.core.title}."
    assert said in files[library.source(plan.name)]
    assert f"-mcpu={machine.core.gcc_cpu} " in files["Makefile"]
    assert not _FIGURES.search(str(network_json.plan_json(plan, None, tried)).replace("'", '"'))


@pytest.mark.parametrize("what", ["gemm", "model"])
def test_reports_show_no_cycles(what: str, cli: Cli, tmp_path: Path) -> None:
    """Catches a figure of cycles, time or energy in a table, in JSON or in a certificate, as a user would see them."""
    model = tmp_path / "n.tflite"
    model.write_bytes(writer.write(network(3)))
    problem = ("gemm", "5x7x9", "--dtype", "s8", "--objective", "cycles") if what == "gemm" else (model,)
    shown = cli("solve", *problem, "--mcu", "nrf5340", "--run", "--out", tmp_path / "out")
    assert shown.code == 0
    words = " ".join(shown.out.split())
    assert "time not shown: nobody has validated the timing of a Cortex-M33" in words
    assert "ordered by the Cortex-M4's timing" in words
    assert "does not fit" not in words
    certificate = (tmp_path / "out" / "certificate.json").read_text()
    as_json = cli("solve", *problem, "--mcu", "nrf5340", "--run", "--json").out
    for text in (shown.out, certificate, as_json):
        assert not _FIGURES.search(text)
    assert cli("verify", tmp_path / "out" / "certificate.json").code == 0
    assert cli("run", tmp_path / "out").code == 0


def test_what_needs_cycles_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Catches energy, fronts, benches, profiles and changed rules on a core that has no timing to base them on."""
    said = "nobody has validated the timing of a Cortex-M33"
    assert said in cli.refused("solve gemm 4x4x4 --objective energy --mcu nrf5340")
    assert said in cli.refused("bench layers --mcu nrf5340")
    machine = mcu("nrf5340")
    with pytest.raises(InputError, match=said):
        compile_network(network(3), machine, "energy")
    with pytest.raises(InputError, match=said):
        fronts(network(3), machine)
    source = tmp_path / "f.c"
    source.write_text("int f(void);\nint f(void) { return 3; }\n")
    built = build([source], tmp_path / "f.elf", machine)
    run = Board(machine).load(built).call("f")
    assert (run.r0, run.cycles, run.energy) == (3, None, None)
    assert not _FIGURES.search(cli("run", built.elf, "--call", "f", "--mcu", "nrf5340").out)
    for option in ("--profile", "--timing load=3"):
        assert said in cli.refused("run", built.elf, "--call", "f", "--mcu", "nrf5340", *option.split())


@pytest.mark.skipif("gcc" not in compilers(), reason="arm-none-eabi-gcc is not installed")
def test_without_an_fpu_there_is_none(tmp_path: Path) -> None:
    """Catches a board that computes in floating point where the chip faults."""
    assert "floating point: a Cortex-M4 without FPU has none" in _fails(mcu("stm32wle5"), tmp_path, "vmov s0,r0")


def test_adding_a_core(cli: Cli, tmp_path: Path) -> None:
    """The recipe of CONTRIBUTING.md: a core of one's own as a table of a machine's file, and what is done with it."""
    table = core("cortex-m7").model_copy(update={"name": "my-core", "title": "My core", "core_registers": 12})
    lines = [f"{key} = {_toml(value)}" for key, value in table.model_dump(exclude={"sources"}).items()]
    preset = cli("mcus stm32f746").out.replace('core = "cortex-m7"\n', "", 1)
    file = tmp_path / "my.toml"
    file.write_text("\n".join([preset, "[core]", *lines]) + "\n")
    machine = mcu(file)
    assert machine.core.gcc_target == core("cortex-m7").gcc_target
    certificate = certify(gemm(4, 8, 6, dtype="q15"), machine)
    assert verify(certificate).premises[1].startswith("machine stm32f746, not as it comes with memaopt")
    assert BY_NAME[certificate.schedule.kernel].core.at(certificate.schedule.tile) <= 12
    assert gemm_trial.run(certificate).passed


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_toml(each)}' for key, each in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def test_adding_a_machine(cli: Cli, tmp_path: Path) -> None:
    """The recipe of CONTRIBUTING.md: a machine's file, from the two memories that every one has, and a GEMM on it."""
    file = tmp_path / "tiny.toml"
    file.write_text(
        'name = "tiny"\ntitle = "A chip"\ncore = "cortex-m33"\nclock_hz = 64_000_000\n'
        '[[memories]]\nname = "flash"\nkind = "flash"\nbase = 0\nsize = 0x4_0000\nwritable = false\n'
        '[[memories]]\nname = "sram"\nkind = "sram"\nbase = 0x2000_0000\nsize = 0x8000\n'
    )
    result = cli("solve", "gemm", "8x16x8", "--mcu", file, "--run", "--json")
    assert (result.code, result.json["passed"], result.json["mcu"]) == (0, True, "tiny")


def test_a_core_without_what_every_kernel_needs() -> None:
    """Catches a core on which the portable C would run, and make other accesses than were promised."""
    fields = core("cortex-m33").model_dump()
    with pytest.raises(InputError, match="cortex-m33 has no dsp: every kernel needs it"):
        Core.checked({**fields, "dsp": False}, "c")
