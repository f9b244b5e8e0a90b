"""The benchmark: right sums, the same figures every time, readable tables, plots, one line for bad input."""

import io
import json
from collections import defaultdict
from pathlib import Path

import pytest
from cli_helpers import Cli
from rich.console import Console

from baselines import cmsis_dsp
from memaopt.bench import compare, measure, sweeps
from memaopt.bench.plots import write_plots
from memaopt.bench.results import OURS, Bench, Case, Entry, geometric_mean, speedups
from memaopt.bench.tables import print_bench
from memaopt.cli.bench import SECTIONS
from memaopt.errors import MemaoptError
from memaopt.machines.mcu import mcu

_MCU = mcu("stm32l4r5")


def _has_cmsis() -> bool:
    try:
        return cmsis_dsp.archive().is_file()
    except MemaoptError:
        return False


@pytest.fixture(scope="module")
def small() -> Bench:
    """Every section, small: one layer, one square, two sizes of SRAM."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "SQUARES", (8,))
        patch.setattr(sweeps, "TRAFFIC_PROBLEM", (16, 12, 20))
        patch.setattr(sweeps, "TRAFFIC_SIZES", (1 << 10, 4 << 10))
        patch.setattr(sweeps, "BUDGET", 60)
        return compare.run(SECTIONS, [(9, 6, 10)], ["f32", "q15", "s8"], _MCU)


def _entry(cycles: int, ideal: int) -> Entry:
    return Entry(
        correct=True,
        cycles=cycles,
        ideal_cycles=ideal,
        instructions=1,
        accesses=1,
        bytes=4,
        energy_uj=1.0,
        ideal_energy_uj=1.0,
    )


def _case(**cycles: tuple[int, int]) -> Case:
    return Case(m=1, k=2, n=3, dtype="q15", entries={name: _entry(*pair) for name, pair in cycles.items()})


def test_speedups_are_geometric_means_of_cycle_ratios() -> None:
    """Catches an arithmetic mean, a ratio upside down, and the two kinds of cycles mixed up."""
    cases = [_case(memaopt=(100, 10), a=(200, 80)), _case(memaopt=(100, 10), a=(800, 20)), _case(a=(1, 1))]
    (found,) = speedups(cases)
    assert (found.baseline, found.cases) == ("a", 2)
    assert found.mean == pytest.approx(4)
    assert found.least == pytest.approx(2)
    assert found.ideal_mean == pytest.approx(4)
    assert found.ideal_least == pytest.approx(2)
    assert geometric_mean([1, 10, 100]) == pytest.approx(10)


def test_everything_is_right_and_as_promised(small: Bench) -> None:
    """Catches a kernel that is fast because it is wrong, and accesses that differ from the certificate."""
    assert [case.name for case in small.layers] == ["9x6x10"] * 3
    for case in (*small.layers, *small.squares):
        assert not case.errors
        assert all(entry.correct for entry in case.entries.values()), case
        assert case.entries[OURS].as_promised
        assert all(entry.cycles >= entry.ideal_cycles > 0 for entry in case.entries.values())
        assert all(entry.bytes >= entry.accesses > 0 for entry in case.entries.values())


def test_all_baselines_are_there(small: Bench) -> None:
    """Catches a baseline that silently drops out."""
    want = {
        "f32": {"memaopt", "naive", "inner 2x8x2", "MEMA 5x1x5", "arm_mat_mult_f32"},
        "q15": {"memaopt", "naive", "inner 2x4x2", "MEMA 4x2x2", "arm_mat_mult_q15", "arm_mat_mult_fast_q15"},
        "s8": {"memaopt", "naive", "inner 2x4x2", "arm_mat_mult_q7"},
    }
    for case in small.layers:
        names = {name for name in want[case.dtype] if _has_cmsis() or not name.startswith("arm_")}
        assert set(case.entries) == names
    assert _has_cmsis() or small.notes


def test_search_and_traffic_respect_the_proof(small: Bench) -> None:
    """Catches a tiler below the optimum, or a certified traffic below the bound or above the grid's."""
    assert {row.tiler for row in small.search} == {"random", "annealing", "genetic", "grid"}
    assert all(row.gap >= 0 for row in small.search)
    assert all(row.gap == 0 for row in small.search if row.optimal)
    for curve in small.traffic:
        assert [point.sram for point in curve.points] == [1 << 10, 4 << 10]
        for point in curve.points:
            assert point.grid is not None
            assert point.bound <= point.certified <= point.grid
        assert curve.points[0].certified >= curve.points[1].certified


def test_figures_are_the_same_on_every_run(small: Bench, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a clock, a random seed, a path or the order of a set in the figures."""
    monkeypatch.setattr(measure, "SQUARES", (8,))
    command = "bench layers squares --layer 9x6x10 --dtype q15 --json"
    first, second = cli(command), cli(command)
    assert first.code == 0
    assert first.out == second.out
    again = Bench.model_validate_json(json.dumps(first.json))
    assert again.layers == tuple(case for case in small.layers if case.dtype == "q15")
    assert again.squares == tuple(case for case in small.squares if case.dtype == "q15")
    assert "/tmp" not in first.out


def test_tables_fit_100_columns(small: Bench) -> None:
    """Catches a column cut off, or a line that wraps."""
    written = io.StringIO()
    print_bench(Console(width=100, file=written), small, defaultdict(float))
    text = written.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "…" not in text
    told = (small.heading.compiler, "-O3", "wait states", "modelled", "geometric mean", "know when to stop")
    for said in told:
        assert said in " ".join(text.split()), said


def test_one_setting_of_wait_states_gives_single_figures() -> None:
    """Catches pairs of equal figures where no memory has wait states."""
    ideal = compare.run(["layers"], [(3, 4, 5)], ["q15"], _MCU.with_wait_states(0))
    assert not ideal.heading.has_wait_states
    assert all(entry.cycles == entry.ideal_cycles for entry in ideal.layers[0].entries.values())


def test_plots_are_the_same_on_every_run(small: Bench, tmp_path: Path) -> None:
    """Catches a date or a random identifier in a plot, and a plot left out."""
    pytest.importorskip("matplotlib")
    sections = ("layers", "squares", "traffic")
    q15 = small.model_copy(
        update={name: tuple(x for x in getattr(small, name) if x.dtype == "q15") for name in sections}
    )
    first, second = (write_plots(q15, tmp_path / name) for name in ("first", "second"))
    kinds = ("layers", "roofline", "squares", "energy", "traffic")
    names = {f"{kind}_q15.{suffix}" for kind in kinds for suffix in ("png", "svg")}
    assert {path.name for path in first} == names
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.skipif(not _has_cmsis(), reason="CMSIS-DSP cannot be had")
def test_kernels_are_as_fast_as_promised() -> None:
    """Catches a slower kernel or a worse choice of tile: the least ratios to CMSIS-DSP and the paper's kernels."""
    layers = [(32, 16, 256), (64, 32, 64)]
    bench = compare.run(["layers"], layers, ["f32", "q15"], _MCU.with_wait_states(0))
    found = {speedup.baseline: speedup for speedup in bench.speedups}
    for baseline, least in (("arm_mat_mult_f32", 2.7), ("MEMA 5x1x5", 1.35), ("arm_mat_mult_fast_q15", 1.4)):
        assert found[baseline].ideal_mean >= least, found[baseline]
        assert found[baseline].ideal_least >= 1.15, found[baseline]
    for case in bench.layers:
        ours = case.entries[OURS]
        assert ours.predicted_cycles == pytest.approx(ours.ideal_cycles, rel=0.03), case.name


def test_chosen_tile_is_the_fastest(cli: Cli) -> None:
    """Catches cost data that rank tiles wrongly, or predict cycles more than 3 % off."""
    done = cli("bench --tiles --layer 32x16x64 --dtype q15 --within 1.3 --json")
    assert done.code == 0, done.out
    (study,) = done.json
    assert len(study["runs"]) > 2
    best = min(run["cycles"] for run in study["runs"])
    assert study["runs"][0]["cycles"] <= 1.01 * best


def test_machine_without_external_memory_leaves_sections_out(tmp_path: Path) -> None:
    """Catches a crash where there is nothing to stage from."""
    inside = _MCU.model_copy(update={"memories": tuple(m for m in _MCU.memories if m.kind != "external")})
    bench = compare.run(["search", "traffic"], [(3, 4, 5)], ["q15"], inside)
    assert not bench.search
    assert not bench.traffic
    assert "no external memory" in bench.notes[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("bench everything", "no section 'everything': there are layers, squares, search, traffic"),
        ("bench --dtype f64", "no dtype 'f64': there are f32, q15, s8"),
        ("bench --layer 3x4", "expected sizes M, K and N"),
        ("bench --layer 3x0x4", "expected sizes M, K and N"),
        ("bench traffic --layer 3x4x5", "--layer has no effect on bench: it is for layers and search"),
        ("bench --mcu stm32", "no microcontroller 'stm32'"),
        ("bench --compiler tcc layers --layer 2x2x2 --dtype q15", "no compiler 'tcc': there are gcc and zig"),
        ("bench --wait-states -1", "wait-states"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, arguments: str, said: str) -> None:
    """Catches a traceback, a table before the error, or a wrong option that is ignored."""
    assert said in cli.refused(arguments)


def test_unwritable_plots_are_one_line(cli: Cli, tmp_path: Path) -> None:
    """Catches a traceback at the end of a long run."""
    (tmp_path / "file").write_text("")
    done = cli("bench", "search", "--layer", "2x2x2", "--dtype", "q15", "--plots", tmp_path / "file")
    assert done.code == 2
    assert "cannot be written" in done.err
    assert "Traceback" not in done.err
