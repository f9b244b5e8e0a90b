"""Are weights and code where they are fastest? Run every variant on a layer with the machine's wait states.

Weights in flash are staged in SRAM or streamed from where they are; the code runs from flash or from RAM.
"""

from pydantic import BaseModel
from rich.console import Console

from memaopt.certificates.gemm import certify
from memaopt.errors import InfeasibleError
from memaopt.kernels.schedule import AnySchedule, LayerSchedule, space, variants
from memaopt.machines.mcu import Mcu
from memaopt.models import closed_form
from memaopt.problems.gemm import Dtype, Gemm, Placement, gemm
from memaopt.report.console import table
from memaopt.trials import gemm as trial

#: The chosen variant may be this much slower than the best measured.
CHOICE_LIMIT = 0.01
#: Weights in flash, activations in SRAM.
WEIGHTS_IN_FLASH = Placement(a="flash", b="sram", c="sram")


class VariantRun(BaseModel, frozen=True):
    """One variant: where weights are read and code runs from, and the cycles of its best schedule."""

    variant: str
    cycles: int
    correct: bool


class PlaceStudy(BaseModel, frozen=True):
    """All variants of a problem, and the one that the models chose."""

    problem: str
    dtype: Dtype
    chosen: str
    runs: tuple[VariantRun, ...]

    @property
    def best(self) -> VariantRun:
        """The fastest as counted."""
        return min(self.runs, key=lambda run: run.cycles)

    @property
    def slower(self) -> float:
        """How much slower the chosen variant is than the best, as a fraction."""
        return next(run.cycles for run in self.runs if run.variant == self.chosen) / self.best.cycles - 1

    @property
    def holds(self) -> bool:
        """Whether the choice is within its limit, and all results are right."""
        return self.slower <= CHOICE_LIMIT and all(run.correct for run in self.runs)


def weights_in_flash(sizes: list[tuple[int, int, int]], dtypes: list[Dtype]) -> list[Gemm]:
    """The problems of every size and dtype, weights in flash."""
    return [gemm(m, k, n, dtype=dtype, placement=WEIGHTS_IN_FLASH) for dtype in dtypes for m, k, n in sizes]


def study(problem: Gemm, machine: Mcu, compiler: str | None = None) -> PlaceStudy:
    """Run the best schedule of every variant that fits."""
    certificate = certify(problem, machine, "cycles")
    runs = []
    for where in variants(space(problem, machine, "cycles")):
        try:
            schedule = closed_form.solve(where).schedule
        except InfeasibleError:
            continue
        tried = trial.run(certificate.model_copy(update={"schedule": schedule}), compiler=compiler)
        name = _name(schedule)
        runs.append(VariantRun(variant=name, cycles=tried.cycles, correct=tried.correct))
    chosen = _name(certificate.schedule)
    return PlaceStudy(problem=problem.name, dtype=problem.dtype, chosen=chosen, runs=tuple(runs))


def print_studies(console: Console, studies: list[PlaceStudy], machine: Mcu) -> None:
    """One line for each problem, cycles of each variant."""
    console.print(f"Weights in flash, {machine.title}: cycles of each variant", style="bold", highlight=False)
    names = list(dict.fromkeys(run.variant for found in studies for run in found.runs))
    made = table(("M x K x N", "dtype", *names, "chosen", "slower"), words=("M x K x N", "dtype", "chosen"))
    for found in studies:
        cycles = {run.variant: f"{run.cycles:,}" for run in found.runs}
        made.add_row(
            found.problem,
            found.dtype,
            *(cycles.get(name, "-") for name in names),
            found.chosen,
            f"{found.slower:.1%}",
            style=None if found.holds else "red",
        )
    console.print(made)
    good = sum(found.holds for found in studies)
    console.print(
        f"{good} of {len(studies)}: chosen at most {CHOICE_LIMIT:.0%} slower than the best, all results right",
        highlight=False,
    )


def _name(schedule: AnySchedule) -> str:
    how = "layer" if isinstance(schedule, LayerSchedule) else "streamed" if schedule.streamed else "staged"
    return f"{how}/{schedule.code}"
