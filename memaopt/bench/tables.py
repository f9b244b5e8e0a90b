"""A benchmark as terminal tables, readable at 100 columns."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from memaopt.bench.results import OURS, Bench, Case, Heading, Searched, TrafficCurve, geometric_mean, speedups
from memaopt.report.console import Fact, print_facts, table
from memaopt.report.machines import size_text

#: What the columns are called, where the kernel's own name is long.
SHORT = {
    "arm_mat_mult_f32": "CMSIS f32",
    "arm_mat_mult_q15": "CMSIS q15",
    "arm_mat_mult_fast_q15": "CMSIS fast",
    "arm_mat_mult_q7": "CMSIS q7",
    "arm_convolve_1x1_s8_fast": "CMSIS-NN",
}


def print_bench(console: Console, bench: Bench, times: dict[str, float]) -> None:
    """Everything that was measured; ``times`` are the tilers' seconds on this host, which no file holds."""
    print_heading(console, bench.heading)
    both = bench.heading.has_wait_states
    for dtype in dict.fromkeys(case.dtype for case in bench.layers):
        cases = [case for case in bench.layers if case.dtype == dtype]
        _print_layers(console, cases, both)
        _print_totals(console, cases, both)
    for dtype in dict.fromkeys(case.dtype for case in bench.squares):
        _print_squares(console, [case for case in bench.squares if case.dtype == dtype], bench.heading)
    if bench.search:
        _print_search(console, bench.search, times)
    for curve in bench.traffic:
        _print_traffic(console, curve)
    for case in (*bench.layers, *bench.squares):
        for name, error in case.errors.items():
            console.print(f"{name}, {case.dtype} {case.name}: {error}", style="red", highlight=False)
        for name, entry in case.entries.items():
            if not entry.correct:
                console.print(f"{name}, {case.dtype} {case.name}: wrong result", style="red", highlight=False)
            if entry.as_promised is False:
                console.print(f"{case.dtype} {case.name}: accesses differ from the promise", style="red")
    for note in bench.notes:
        console.print(note, style="yellow", highlight=False)


def print_heading(console: Console, heading: Heading) -> None:
    """What the figures depend on."""
    console.print(f"memaopt {heading.version} on {heading.machine}", style="bold", highlight=False)
    both = "; each pair of figures: no wait states, then the chip's" if heading.has_wait_states else ""
    lines = (
        ("memory", heading.memory_model + both),
        ("compiler", heading.compiler),
        ("flags", heading.flags),
        ("baselines", f"the same flags and {heading.baseline_flags}; CMSIS-DSP {heading.cmsis_dsp}"),
    )
    print_facts(console, (Fact(*line) for line in lines))


def _table(console: Console, title: str, columns: Sequence[str], left: int = 1) -> Table:
    """An empty table, its title printed already: rich would fold it to the width of the columns."""
    console.print(f"\n{title}", style="bold", highlight=False)
    return table(columns, left)


def _baselines(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(name for case in cases for name in case.entries if name != OURS))


def _count(cases: Sequence[Case]) -> str:
    return f"{len(cases)} layer{'s' if len(cases) > 1 else ''}"


def _pair(ideal: float | None, real: float | None, both: bool) -> str:
    """One figure, or the two side by side."""
    if ideal is None or real is None:
        return "-"
    return f"{ideal:.2f} {real:.2f}" if both else f"{ideal:.2f}"


def _print_layers(console: Console, cases: Sequence[Case], both: bool) -> None:
    names = _baselines(cases)
    title = f"{_count(cases)}, {cases[0].dtype}: cycles per multiply-accumulate; how many times as fast as ..."
    made = _table(console, title, ["M x K x N", "kernel", OURS, *(SHORT.get(name, name) for name in names)], left=2)
    for case in cases:
        ours = case.entries.get(OURS)
        cells = (
            ["-", "-"]
            if ours is None
            else [ours.kernel or "", _pair(ours.ideal_cycles / case.macs, ours.cycles / case.macs, both)]
        )
        ratios = [_pair(case.speedup(name, True), case.speedup(name, False), both) for name in names]
        made.add_row(case.name, *cells, *ratios)
    found = {s.baseline: s for s in speedups(cases)}
    means = [_pair(found[n].ideal_mean, found[n].mean, both) if n in found else "-" for n in names]
    least = [_pair(found[n].ideal_least, found[n].least, both) if n in found else "-" for n in names]
    made.add_section()
    made.add_row("geometric mean", "", "", *means, style="bold")
    made.add_row("least", "", "", *least)
    console.print(made)


def _print_totals(console: Console, cases: Sequence[Case], both: bool) -> None:
    """Accesses, bytes and energy of each kernel, over the layers that all of them ran."""
    names = [OURS, *_baselines(cases)]
    whole = [case for case in cases if set(names) <= set(case.entries)]
    if not whole:
        return
    title = f"{_count(whole)}, {cases[0].dtype}, geometric means per multiply-accumulate; energy is modelled"
    made = _table(console, title, ["", "cycles", "instructions", "accesses", "bytes", "energy (pJ)"])
    for name in names:
        entries = [(case.entries[name], case.macs) for case in whole]
        ideal, real = (geometric_mean(e.of(side) / macs for e, macs in entries) for side in (True, False))
        picojoules = [geometric_mean(1e6 * e.ideal_energy_uj / macs for e, macs in entries)]
        picojoules += [geometric_mean(1e6 * e.energy_uj / macs for e, macs in entries)] if both else []
        made.add_row(
            name,
            _pair(ideal, real, both),
            f"{geometric_mean(e.instructions / macs for e, macs in entries):.2f}",
            f"{geometric_mean(e.accesses / macs for e, macs in entries):.2f}",
            f"{geometric_mean(e.bytes / macs for e, macs in entries):.2f}",
            " ".join(f"{value:.0f}" for value in picojoules),
        )
    console.print(made)


def _print_squares(console: Console, cases: Sequence[Case], heading: Heading) -> None:
    """Throughput over N, as the paper plots it: an operation is a multiplication or an addition."""
    names = [OURS, *_baselines(cases)]
    both = heading.has_wait_states
    title = f"N x N x N, {cases[0].dtype}: million operations a second at {heading.clock_hz / 1e6:g} MHz"
    made = _table(console, title, ["N", *(SHORT.get(name, name) for name in names)])
    for case in cases:
        cells = []
        for name in names:
            entry = case.entries.get(name)
            sides = [] if entry is None else [throughput(case, entry.of(side), heading) for side in (True, False)]
            cells.append(" ".join(f"{value:.1f}" for value in sides[: 1 + both]) or "-")
        made.add_row(str(case.n), *cells)
    console.print(made)


def throughput(case: Case, cycles: int, heading: Heading) -> float:
    """Million operations, two for a multiply-accumulate, a second."""
    return 2 * case.macs * heading.clock_hz / cycles / 1e6


def _print_search(console: Console, rows: Sequence[Searched], times: dict[str, float]) -> None:
    problems = len({row.problem for row in rows})
    products = f"{problems} product{'s' if problems > 1 else ''}"
    title = f"Search-based tilers on {products}, operands outside SRAM, same space and cost"
    columns = ["", "runs", "evaluations", "gap, mean", "worst", "external optimum", "whole optimum", "ms a run"]
    made = _table(console, title, columns)
    for tiler in dict.fromkeys(row.tiler for row in rows):
        mine = [row for row in rows if row.tiler == tiler]
        made.add_row(
            tiler,
            str(len(mine)),
            f"{sum(row.evaluations for row in mine) // len(mine):,}",
            f"{geometric_mean(1 + row.gap for row in mine) - 1:.1%}",
            f"{max(row.gap for row in mine):.1%}",
            f"{sum(row.gap == 0 for row in mine)} of {len(mine)}",
            f"{sum(row.optimal for row in mine)} of {len(mine)}",
            f"{1e3 * times.get(tiler, 0) / len(mine):.0f}",
        )
    made.add_row(
        "closed form",
        str(problems),
        "-",
        "0.0%",
        "0.0%",
        f"{problems} of {problems}",
        f"{problems} of {problems}",
        f"{1e3 * times.get('closed form', 0) / problems:.0f}",
    )
    console.print(made)
    console.print(
        "On one small product a good annealer finds the optimum in milliseconds. What no search has is the proof, "
        "and so it cannot know when to stop.",
        highlight=False,
    )


def _print_traffic(console: Console, curve: TrafficCurve) -> None:
    title = f"{curve.problem} {curve.dtype}, all operands in {curve.memory}: external bytes against SRAM"
    made = _table(console, title, ["SRAM", "certified", "lower bound", "gap", "powers of two", "more than certified"])
    for point in curve.points:
        grid = point.grid
        made.add_row(
            size_text(point.sram),
            f"{point.certified:,}",
            f"{point.bound:,}",
            f"{point.certified / point.bound - 1:.1%}",
            "-" if grid is None else f"{grid:,}",
            "-" if grid is None else f"{grid / point.certified - 1:.1%}",
        )
    console.print(made)
