"""Studies by certificates alone: bandwidth, shapes, rows of zeros."""

import json
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt.bench import studies
from memaopt.machines.mcu import mcu

_MACHINE = mcu("stm32f446")


def _figures(found: studies.Study, name: str) -> list[float]:
    return [float(point.figures[name] or 0) for point in found.points]


def test_less_bandwidth_costs_more_and_the_best_schedule_less_than_that_for_full() -> None:
    """Catches a memory that is not throttled, and a schedule that is not chosen anew."""
    found = studies.study("bandwidth", _MACHINE, "q15")
    cycles, kept = (_figures(found, name) for name in ("cycles", "with the schedule for full"))
    assert [point.case for point in found.points] == ["full", "1/2", "1/3", "1/4"]
    assert all(slower > faster for faster, slower in pairwise(cycles))
    assert all(best <= other for best, other in zip(cycles, kept, strict=True))
    assert cycles[0] == kept[0]
    assert cycles[3] < kept[3]
    assert len(set(_figures(found, "external bytes"))) > 1


def test_shapes_have_the_same_work_and_none_beats_its_bound() -> None:
    """Catches shapes of other volumes, and a bound that is beaten."""
    found = studies.study("shapes", _MACHINE, "q15")
    sizes = [tuple(map(int, point.case.split("x"))) for point in found.points]
    assert {m * k * n for m, k, n in sizes} == {128**3}
    assert len(set(sizes)) == len(sizes) > 9
    assert all(gap >= 0 for gap in _figures(found, "gap, %"))


def test_the_cut_of_rows_is_the_best_of_all() -> None:
    """Catches a run of zeros that is skipped where computing it costs less, by looking at every cut of eight rows."""

    def cost(size: int) -> int:
        return 7 + 5 * -(-size // 4)

    for zero in product((False, True), repeat=8):
        best = min(
            _taken(zero, skipped, cost)
            for skipped in product((False, True), repeat=8)
            if not any(s and not z for s, z in zip(skipped, zero, strict=True))
        )
        assert studies._skipped(zero, cost, 2) == best


def _taken(zero: tuple[bool, ...], skipped: tuple[bool, ...], cost: Callable[[int], int]) -> int:
    """What rows take of which these are skipped, the others computed run by run."""
    total = run = 0
    for each in (*skipped, True):
        if each and run:
            total, run = total + cost(run), 0
        run += not each
    return total + 2 * sum(skipped)


def test_rows_of_zeros_are_skipped_where_that_pays() -> None:
    """Catches a break-even that is not where the figures cross, and skipping that costs more than computing."""
    found = studies.study("rows", _MACHINE, "q15")
    dense, mean = _figures(found, "dense"), _figures(found, "zeros skipped")
    assert dense[0] == mean[0]
    assert all(skipped <= whole for skipped, whole in zip(mean, dense, strict=True))
    first = next(point.case for point, a, b in zip(found.points, mean, dense, strict=True) if a < b)
    assert found.note == f"skipping scattered rows pays from {first} of zeros on"


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """Catches data that differs from the table's, a plot that is missing, and options without effect."""
    pytest.importorskip("matplotlib")
    told = cli("bench", "--study", "bandwidth", "--dtype", "q15", "--mcu", "stm32f446", "--json", "--plots", tmp_path)
    data = json.loads(told.out)
    assert data == [studies.study("bandwidth", _MACHINE, "q15").model_dump(mode="json")]
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"bandwidth_q15.png", "bandwidth_q15.svg"}
    assert "no study 'speed': there are bandwidth, shapes, rows" in cli.refused("bench --study speed")
    assert "no external memory" in cli.refused("bench --study shapes --mcu nrf52840")
    assert "--cliffs has no effect" in cli.refused("bench --study rows --cliffs")
