"""What a stock project takes of the chip: a library at the limit of the default budgets links in each of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from memaopt.board.projects import LAYOUTS
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.problem import left_by_project
from memaopt.cli import main as cli
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError
from memaopt.machines.mcu import mcu
from memaopt.networks.graph import Graph
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import image as network_image
from memaopt.writer import write_files


@cache
def network(name: str) -> Graph:
    """``double``: rounding that nobody proved, so that the compiler's helpers for double are linked."""
    if name != "double":
        return zoo.build(name)
    made = Builder(name, (1, 4000), seed=1)
    return made.finish(made.classify(made.input, 4))


@cache
def at_the_limit(name: str, setting: str) -> NetworkPlan:
    """A network on a chip of which its library and a stock project take everything."""
    graph, machine = network(name), mcu("stm32l4r5", setting)
    free = compile_network(graph, machine)
    small = {"flash": free.flash_bytes + machine.memory("flash").size - left_by_project(machine, graph)[0]}
    if setting != "ram":  # there the code has its place on the chip
        small["sram"] = free.sram_bytes + machine.sram.size - left_by_project(machine, graph)[1]
    plan = compile_network(graph, machine.with_sizes(**small))
    assert plan.budgets.flash == plan.flash_bytes == free.flash_bytes
    assert setting == "ram" or plan.budgets.sram == plan.sram_bytes
    return plan


@pytest.mark.parametrize(
    ("name", "setting", "compiler"), [("double", "stock", "gcc"), ("double", "stock", "zig"), ("ds_cnn", "ram", "zig")]
)
def test_what_fills_the_chip_links(name: str, setting: str, compiler: str, tmp_path: Path) -> None:
    """Catches a budget without room for start-up code, main, vectors, helpers, padding, stacks or the heap."""
    plan = at_the_limit(name, setting)
    write_files(emit.files(plan), tmp_path)
    for layout in LAYOUTS if setting == "stock" else LAYOUTS[:1]:
        network_image.build([plan], tmp_path, layout, tmp_path / "image.elf", compiler=compiler)


def test_a_chip_that_has_just_the_librarys_bytes_is_too_small(tmp_path: Path) -> None:
    """Catches a default budget that is the whole chip, and a message that names less than what would do."""
    graph, machine = network("double"), mcu("stm32l4r5")
    free = compile_network(graph, machine)
    with pytest.raises(InfeasibleError, match="bytes of flash"):
        compile_network(graph, machine.with_sizes(flash=free.constant_bytes))
    with pytest.raises(InfeasibleError, match="bytes of SRAM"):
        compile_network(graph, machine.with_sizes(sram=free.arena_bytes))


def test_a_budget_that_leaves_the_project_no_room_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a library that is called checked although no project with it can be linked."""
    model = zoo.save(tmp_path, ("fc_autoencoder",))[0]
    size = compile_network(model, mcu("stm32l4r5")).flash_bytes + 600
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["solve", str(model), "--size", f"flash={size}", "--flash", str(size), "--run", "--out", f"{tmp_path}/b"]
        )
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 1
    assert "FAILED a stock project with it cannot be linked" in said
    assert f"within {size:,}: 0 of the chip's {size:,} are left to its project" in said
    assert not (tmp_path / "b").exists()


def test_a_budget_beyond_the_chip_has_room_for_the_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches the advice to give a budget with which the project cannot be linked."""
    model = zoo.save(tmp_path, ("fc_autoencoder",))[0]
    size = compile_network(model, mcu("stm32l4r5")).flash_bytes
    with pytest.raises(SystemExit) as ended:
        cli.main(["solve", str(model), "--size", "flash=8KiB", "--flash", str(size), "--run"])
    assert ended.value.code == 0
    assert "checked" in capsys.readouterr().out
