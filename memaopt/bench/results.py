"""What a benchmark found, as plain frozen models: the JSON is these, and tables and plots read nothing else."""

import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from memaopt.problems.gemm import Dtype

#: The name of memaopt's own entry beside those of the baselines.
OURS = "memaopt"


class Entry(BaseModel, frozen=True, extra="forbid"):
    """One kernel on one problem.

    ``cycles`` with the machine's wait states, ``ideal_cycles`` without any; ``accesses`` and ``bytes``
    are all loads and stores of data; energy is modelled. For memaopt's own entry each side has the schedule that is
    optimal for it: ``schedule`` and ``ideal_schedule``; ``predicted_cycles`` are what the cost data gave for the latter
    before the run, and ``as_promised`` says whether the accesses counted to every buffer were the certificates'.
    """

    correct: bool
    cycles: int
    ideal_cycles: int
    instructions: int
    accesses: int
    bytes: int
    energy_uj: float
    ideal_energy_uj: float
    schedule: str | None = None
    ideal_schedule: str | None = None
    kernel: str | None = None
    predicted_cycles: int | None = None
    as_promised: bool | None = None

    def of(self, ideal: bool) -> int:
        """Cycles without wait states, or with the machine's."""
        return self.ideal_cycles if ideal else self.cycles


class Case(BaseModel, frozen=True, extra="forbid"):
    """One problem: the entry of each kernel that ran, and one line for each that could not."""

    m: int
    k: int
    n: int
    dtype: Dtype
    entries: dict[str, Entry]
    errors: dict[str, str] = {}

    @property
    def name(self) -> str:
        """``64x576x64``, in the order M, K, N."""
        return f"{self.m}x{self.k}x{self.n}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.k * self.n

    def speedup(self, baseline: str, ideal: bool) -> float | None:
        """Cycles of ``baseline`` for each cycle of memaopt; None if one of them did not run."""
        ours, theirs = self.entries.get(OURS), self.entries.get(baseline)
        return None if ours is None or theirs is None else theirs.of(ideal) / ours.of(ideal)


class Speedup(BaseModel, frozen=True, extra="forbid"):
    """Geometric mean and least of the cycle ratios to one baseline, over ``cases`` problems."""

    baseline: str
    dtype: Dtype
    cases: int
    ideal_mean: float
    ideal_least: float
    mean: float
    least: float


class Searched(BaseModel, frozen=True, extra="forbid"):
    """One tiler on one problem with one seed, against the certified optimum.

    ``gap`` is how far its external bytes lie above the optimum's, ``optimal`` whether it reached the whole objective
    (external bytes, then register bytes), ``best_at`` the evaluation that found its best.
    """

    problem: str
    tiler: str
    seed: int
    evaluations: int
    best_at: int
    gap: float
    optimal: bool


class TrafficPoint(BaseModel, frozen=True, extra="forbid"):
    """External bytes with one size of SRAM: certified optimum, best of the grid of powers of two, lower bounds."""

    sram: int
    certified: int
    grid: int | None
    compulsory: int
    io_bound: int

    @property
    def bound(self) -> int:
        """What no schedule can beat."""
        return max(self.compulsory, self.io_bound)


class TrafficCurve(BaseModel, frozen=True, extra="forbid"):
    """Traffic of one problem against the size of the SRAM, all operands outside it."""

    problem: str
    dtype: Dtype
    memory: str
    points: tuple[TrafficPoint, ...]


class Heading(BaseModel, frozen=True, extra="forbid"):
    """What the figures depend on: the machine, its memories, the compiler and all flags."""

    version: str
    machine: str
    clock_hz: int
    has_wait_states: bool
    memory_model: str
    compiler: str
    flags: str
    baseline_flags: str
    cmsis_dsp: str


class Bench(BaseModel, frozen=True, extra="forbid"):
    """A whole benchmark. Sections that were not asked for are empty."""

    heading: Heading
    layers: tuple[Case, ...] = ()
    squares: tuple[Case, ...] = ()
    speedups: tuple[Speedup, ...] = ()
    search: tuple[Searched, ...] = ()
    traffic: tuple[TrafficCurve, ...] = ()
    notes: tuple[str, ...] = ()


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean of positive values; ValueError if there are none."""
    logs = [math.log(value) for value in values]
    if not logs:
        raise ValueError("the geometric mean of nothing")
    return math.exp(sum(logs) / len(logs))


def speedups(cases: Sequence[Case]) -> tuple[Speedup, ...]:
    """Geometric mean and least ratio to each baseline, by dtype."""
    found = []
    for dtype in dict.fromkeys(case.dtype for case in cases):
        ours = [case for case in cases if case.dtype == dtype]
        for name in dict.fromkeys(name for case in ours for name in case.entries if name != OURS):
            pairs = [(case.speedup(name, True), case.speedup(name, False)) for case in ours]
            ideal, real = ([ratio for ratio in side if ratio is not None] for side in zip(*pairs, strict=True))
            if ideal:
                found.append(
                    Speedup(
                        baseline=name,
                        dtype=dtype,
                        cases=len(ideal),
                        ideal_mean=geometric_mean(ideal),
                        ideal_least=min(ideal),
                        mean=geometric_mean(real),
                        least=min(real),
                    )
                )
    return tuple(found)
