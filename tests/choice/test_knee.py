"""The default of a network: the least arena that costs little more than the best, and its neighbours on the front."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from cli_helpers import Cli
from network_helpers import MCU

from memaopt.api import certify, verify
from memaopt.choice import pareto
from memaopt.choice.compile import compile_network
from memaopt.choice.knee import NEAR, WITHIN
from memaopt.errors import InfeasibleError
from memaopt.networks.zoo import zoo


@pytest.mark.parametrize("within", [0.0, WITHIN, 0.3])
def test_no_smaller_arena_is_as_cheap(within: float) -> None:
    """Catches a knee that costs more than it may, and one that a smaller arena would undercut."""
    graph = zoo.build("ds_cnn")
    best, plan = compile_network(graph, MCU), compile_network(graph, MCU, within=within)
    most = best.choice.price + int(best.choice.price * within)
    assert plan.choice.price <= most
    arena = plan.arena_bytes - max(16, plan.arena_bytes // 100)
    with suppress(InfeasibleError):
        assert compile_network(graph, MCU, arena=arena).choice.price > most
    larger = [other for other in plan.neighbours if other.arena_bytes > plan.arena_bytes]
    assert larger == ([(best.arena_bytes, best.machine_cycles)] if plan.arena_bytes < best.arena_bytes else [])


def test_the_neighbour_is_what_solve_gives_there() -> None:
    """Catches a neighbour that nobody can have, or that costs more than it is said to."""
    graph = zoo.build("resnet8")
    plan = compile_network(graph, MCU, within=WITHIN)
    (smaller,) = [other for other in plan.neighbours if other.arena_bytes < plan.arena_bytes]
    assert smaller.arena_bytes <= plan.arena_bytes * 9 // 10
    assert smaller.machine_cycles <= (1 + NEAR) * plan.machine_cycles
    there = compile_network(graph, MCU, arena=plan.arena_bytes * 9 // 10)
    assert (there.arena_bytes, there.machine_cycles) == smaller


def test_a_bounded_arena_is_left_alone() -> None:
    """Catches a knee of a network whose arena somebody chose."""
    graph = zoo.build("ds_cnn")
    plan = compile_network(graph, MCU, arena=40_000, within=0.3)
    assert (plan.within, plan.neighbours) == (None, ())
    assert plan.arena_bytes == compile_network(graph, MCU, arena=40_000).arena_bytes


def test_its_certificate_holds(tmp_path: Path) -> None:
    """Catches a claim of the best of all where the best within an arena was taken."""
    made = certify(zoo.build("ds_cnn"), MCU, within=0.3)
    assert made.plan.arena_bytes < certify(zoo.build("ds_cnn"), MCU, within=0.0).plan.arena_bytes
    assert any("arena" in premise for premise in verify(made).premises)


def test_fronts_fall_and_mark_what_solve_gives() -> None:
    """Catches a mark at another point than the default, one that is not on the front, and calls counted twice; of all
    fronts, a dominated point, a budget that is not met, or an order that depends on luck.
    """
    graph = zoo.build("ds_cnn")
    fronts = pareto.fronts(graph, MCU)
    fastest = compile_network(graph, MCU).machine_cycles
    assert [points[0].machine_cycles for points in fronts.values() if not points[0].default] == [fastest] * 2
    (default,) = [point for points in fronts.values() for point in points if point.default]
    plan = compile_network(graph, MCU, within=WITHIN)
    assert (default.arena_bytes, default.machine_cycles) == (plan.arena_bytes, plan.machine_cycles)
    for budget, points in fronts.items():
        sizes = [getattr(point, f"{budget.lower()}_bytes") for point in points]
        assert sizes == sorted(set(sizes), reverse=True)
        cycles = [point.machine_cycles for point in points]
        assert cycles == sorted(set(cycles))
    assert set(fronts) == set(pareto.BUDGETS)
    assert len(fronts["flash"]) > 3
    assert len(fronts["SRAM"]) > 3


def test_within_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """Catches an option that is passed over, and percentages that are none."""
    (model,) = zoo.save(tmp_path, ("ds_cnn",))
    shown = " ".join(cli("solve", model, "--within", "30%").out.split())
    assert "of all arenas the least that costs at most 30% more than the best" in shown
    assert "bytes of arena would be the best's for -" in shown
    for text in ("-1", "much", "1e3", "5000%"):
        assert "give a percentage" in cli.refused("solve", model, f"--within={text}")
    assert "--arena bounds its arena already" in cli.refused("solve", model, "--within", "5%", "--arena", "40KiB")
