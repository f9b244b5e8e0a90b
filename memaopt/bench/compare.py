"""The comparison: products at every size asked for, tilers on the same mapspace, traffic as SRAM grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from memaopt.bench import measure, results, sweeps
from memaopt.machines.mcu import Mcu
from memaopt.problems.dtypes import Dtype
from memaopt.report import console


def run(
    sections: Iterable[str],
    sizes: list[tuple[int, int, int]],
    dtypes: list[Dtype],
    machine: Mcu,
    compiler: str | None = None,
    times: dict[str, float] | None = None,
    cmsis_nn: Path | None = None,
) -> results.Bench:
    """The sections of the benchmark; ``times`` receives the tilers' seconds here, ``cmsis_nn`` is a checkout."""
    squares = [(n, n, n) for n in measure.SQUARES]
    wanted = {"layers": measure.in_sram(sizes, dtypes), "squares": measure.in_sram(squares, dtypes)}
    wanted = {name: problems if name in sections else [] for name, problems in wanted.items()}
    room = measure.with_room(machine, [p for problems in wanted.values() for p in problems])
    lab = measure.Lab(room, compiler, cmsis_nn)
    cases = {
        name: tuple(lab.case(problem) for problem in console.watched(problems, name))
        for name, problems in wanted.items()
    }
    rows: list[results.Searched] = []
    curves: list[results.TrafficCurve] = []
    spent = times if times is not None else defaultdict(float)
    if "search" in sections:
        smaller = machine.with_sizes(sram=sweeps.SEARCH_SRAM)
        problems = [sweeps.outside(smaller, size, dtypes[0]) for size in sizes]
        for problem in console.watched([p for p in problems if p is not None], "search"):
            rows += sweeps.searched(problem, smaller, spent)
    if "traffic" in sections:
        found = (sweeps.traffic_curve(machine, dtype) for dtype in console.watched(dtypes, "traffic"))
        curves = [curve for curve in found if curve is not None]
    return results.Bench(
        heading=lab.heading(dtypes[0], machine),
        layers=cases["layers"],
        squares=cases["squares"],
        speedups=results.speedups(cases["layers"]),
        search=tuple(rows),
        traffic=tuple(curves),
        notes=(*lab.notes, *_without_external_memory(sections, machine)),
    )


def _without_external_memory(sections: Iterable[str], machine: Mcu) -> list[str]:
    """What is left out for want of a memory to stage from, in a line."""
    if sweeps.external_memory(machine) is not None:
        return []
    left_out = [name for name in ("search", "traffic") if name in sections]
    return (
        [f"{' and '.join(left_out)} left out: {machine.name} has no external memory that can be written"]
        if left_out
        else []
    )
