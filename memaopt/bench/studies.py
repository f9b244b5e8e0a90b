"""The paper's studies and beyond, by certificates alone: throttled bandwidth, skewed shapes, rows of zeros skipped.

Nothing runs: every figure is the closed form's (:func:`memaopt.certificates.gemm.certify`) or predicted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from pydantic import BaseModel
from rich.console import Console

from memaopt.bench.sweeps import external_memory, outside
from memaopt.certificates.gemm import Certificate, certify
from memaopt.choice import invoke
from memaopt.errors import InputError
from memaopt.kernels.schedule import AnySchedule, LayerSchedule, space
from memaopt.machines.mcu import Mcu
from memaopt.models.layer_kernels import predicted_cycles
from memaopt.problems.gemm import Dtype, Gemm, gemm
from memaopt.report.console import table

#: SRAM of the studies with operands outside it.
SRAM = 8 << 10
_THROTTLED = (1, 2, 3, 4)
_CUBE = 128
_LONGEST = 1024
#: Output rows, reduction and columns of the product whose rows are zero.
_ROWS = (64, 288, 64)
_DRAWS = 5
_STORED_BYTES = 4


class StudyPoint(BaseModel, frozen=True):
    """One case: what it is called, and its figures by name; None is one that there is not."""

    case: str
    figures: dict[str, float | None]


class Study(BaseModel, frozen=True):
    """A study of products of one dtype. ``unit`` is that of ``drawn``, the figures that a plot shows."""

    name: str
    title: str
    axis: str
    unit: str
    drawn: tuple[str, ...]
    points: tuple[StudyPoint, ...]
    note: str = ""


def study(name: str, machine: Mcu, dtype: Dtype) -> Study:
    """The study of that name; InputError names those there are, or what the machine lacks."""
    if name not in STUDIES:
        raise InputError(f"bench: no study {name!r}: there are {', '.join(STUDIES)}")
    machine.core.require_timing("bench")
    if name != "rows" and external_memory(machine) is None:
        raise InputError(f"bench --study {name}: {machine.name} has no external memory that can be written")
    return STUDIES[name](machine, dtype)


def _outside(machine: Mcu, sizes: tuple[int, int, int], dtype: Dtype) -> Gemm:
    found = outside(machine, sizes, dtype)
    assert found is not None
    return found


def bandwidth(machine: Mcu, dtype: Dtype) -> Study:
    """The external memory at all of its bandwidth, a half, a third, a quarter: the best schedule of each and of all."""
    smaller = machine.with_sizes(sram=SRAM)
    problem = _outside(smaller, (_CUBE,) * 3, dtype)
    home = smaller.memory(problem.placement.a)
    full = _certified(problem, smaller, "cycles")
    points = []
    for factor in _THROTTLED:
        slower = home.model_copy(update={each: _slower(getattr(home, each), factor) for each in ("first", "next")})
        memories = tuple(slower if each is home else each for each in smaller.memories)
        throttled = smaller.model_copy(update={"memories": memories})
        best = _certified(problem, throttled, "cycles")
        kept = _predicted(problem, throttled, full.schedule)
        points.append(
            StudyPoint(
                case=f"1/{factor}" if factor > 1 else "full",
                figures={
                    "cycles": best.traffic.cycles,
                    "with the schedule for full": kept,
                    "external bytes": best.traffic.external_bytes,
                    "register bytes": best.traffic.register_bytes,
                },
            )
        )
    return Study(
        name="bandwidth",
        title=f"{problem.name} {dtype}, all operands in {home.name} at a part of its bandwidth, SRAM {SRAM >> 10} KiB",
        axis="bandwidth",
        unit="cycles",
        drawn=("cycles", "with the schedule for full"),
        points=tuple(points),
    )


def _predicted(problem: Gemm, machine: Mcu, schedule: AnySchedule) -> int:
    """Cycles of a schedule that need not be the best."""
    of_layers = isinstance(schedule, LayerSchedule)
    streamed = () if isinstance(schedule, LayerSchedule) else schedule.streamed
    where = space(problem, machine, "cycles").variant(streamed, schedule.code, of_layers)
    return predicted_cycles(where, schedule)


def _slower(waits: int, factor: int) -> int:
    """Wait states of an access that takes ``factor`` times as long."""
    return factor * (waits + 1) - 1


def shapes(machine: Mcu, dtype: Dtype) -> Study:
    """Products of equal work and other shapes: external traffic against what nothing can beat."""
    smaller = machine.with_sizes(sram=SRAM)
    points = []
    for sizes in dict.fromkeys(_skewed()):
        found = _certified(_outside(smaller, sizes, dtype), smaller, "bytes")
        traffic, bounds = found.traffic, found.bounds
        points.append(
            StudyPoint(
                case="x".join(map(str, sizes)),
                figures={
                    "external bytes": traffic.external_bytes,
                    "lower bound": bounds.external_bytes,
                    "gap, %": 100 * (traffic.external_bytes / bounds.external_bytes - 1),
                    "cycles": traffic.cycles,
                },
            )
        )
    return Study(
        name="shapes",
        title=f"{_CUBE}^3 products {dtype} of skewed shapes, all operands outside, SRAM {SRAM >> 10} KiB",
        axis="M x K x N",
        unit="bytes",
        drawn=("external bytes", "lower bound"),
        points=tuple(points),
    )


def _skewed() -> Iterator[tuple[int, int, int]]:
    """Shapes of one volume: each dimension in turn from the longest to the shortest, the others equal or nearly so."""
    for axis in range(3):
        for long in (_LONGEST, 2 * _CUBE, _CUBE // 2, 8):
            rest = _CUBE**3 // long
            short = 1 << (rest.bit_length() - 1) // 2
            others = [short, rest // short]
            others.insert(axis, long)
            yield others[0], others[1], others[2]
    yield _CUBE, _CUBE, _CUBE


def rows(machine: Mcu, dtype: Dtype) -> Study:
    """Rows of A that are known to be zero, skipped where that pays, against the product of all rows.

    Rows that are computed come in runs, each a product of its own with a certified schedule. A row of zeros is skipped,
    its outputs stored a word at a time, or computed with its neighbours: the best of all ways is found by dynamic
    programming over the rows.
    """
    m, k, n = _ROWS

    @cache
    def product(size: int) -> int:
        found = _certified(gemm(size, k, n, dtype=dtype), machine, "cycles").traffic.cycles
        assert found is not None
        return found + invoke.call_cycles(1)

    width = gemm(1, 1, 1, dtype=dtype).width
    row_cycles = -(-n * width // _STORED_BYTES)
    points, pays = [], None
    for tenths in range(10):
        taken = [_skipped(_zeros(m, tenths, seed), product, row_cycles) for seed in range(_DRAWS)]
        mean, dense = sum(taken) / len(taken), product(m)
        pays = tenths if pays is None and mean < dense else pays
        whole = product(m - m * tenths // 10) + (m * tenths // 10) * row_cycles
        points.append(
            StudyPoint(
                case=f"{10 * tenths} %",
                figures={
                    "dense": dense,
                    "zeros skipped": mean,
                    "zeros together": whole,
                    "saved, %": 100 * (1 - mean / dense),
                },
            )
        )
    note = "skipping never pays" if pays is None else f"skipping scattered rows pays from {10 * pays} % of zeros on"
    return Study(
        name="rows",
        title=f"{m}x{k}x{n} {dtype} with rows of zeros, drawn {_DRAWS} times each",
        axis="rows of zeros",
        unit="cycles",
        drawn=("dense", "zeros skipped", "zeros together"),
        points=tuple(points),
        note=note,
    )


def _zeros(m: int, tenths: int, seed: int) -> list[bool]:
    """Whether each row is zero: so many tenths of them, drawn."""
    chosen = set(random.Random(f"{tenths} {seed}").sample(range(m), m * tenths // 10))
    return [i in chosen for i in range(m)]


def _skipped(zero: Sequence[bool], product: Callable[[int], int], row_cycles: int) -> int:
    """The fewest cycles: of each row of zeros it is open whether it is skipped or computed with its neighbours."""
    best = [0]  # for the rows up to each
    for end in range(1, len(zero) + 1):
        options = [best[start] + product(end - start) for start in range(end)]
        best.append(min([*options, best[end - 1] + row_cycles] if zero[end - 1] else options))
    return best[-1]


def _certified(problem: Gemm, machine: Mcu, objective: str) -> Certificate:
    return certify(problem, machine, objective, proof="closed form")


STUDIES: dict[str, Callable[[Mcu, Dtype], Study]] = {"bandwidth": bandwidth, "shapes": shapes, "rows": rows}


def print_study(console: Console, found: Study, machine: Mcu) -> None:
    """A line for each case."""
    names = list(found.points[0].figures)
    made = table((found.axis, *names))
    for point in found.points:
        values = (point.figures[name] for name in names)
        made.add_row(point.case, *("-" if each is None else _number(each) for each in values))
    console.print(f"{found.title}, {machine.title}", style="bold", highlight=False)
    console.print(made)
    if found.note:
        console.print(found.note, highlight=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.1f}"
