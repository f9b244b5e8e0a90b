"""Is the chosen register tile the fastest? Run all tiles on a layer, and compare with the predictions."""

from pydantic import BaseModel
from rich.console import Console

from memaopt.board.results import known
from memaopt.certificates.gemm import Certificate, certify
from memaopt.kernels.schedule import Schedule
from memaopt.machines.mcu import Mcu
from memaopt.models.cycles import kernel_cycles
from memaopt.models.traffic import schedule_counts
from memaopt.problems.gemm import Dtype, Gemm
from memaopt.report.console import table
from memaopt.trials import gemm as trial

#: The chosen tile may be this much slower than the best measured, and predicted cycles this far from the counted.
CHOICE_LIMIT = 0.01
PREDICTION_LIMIT = 0.03


class TileRun(BaseModel, frozen=True):
    """One register tile on one problem: cycles at zero wait states, predicted by its cost data and counted."""

    kernel: str
    predicted: int
    cycles: int
    correct: bool

    @property
    def error(self) -> float:
        """How far the prediction lies from the count, as a fraction of it."""
        return self.predicted / self.cycles - 1


class TileStudy(BaseModel, frozen=True):
    """All tiles of a problem that were run, the chosen one first."""

    problem: str
    dtype: Dtype
    runs: tuple[TileRun, ...]

    @property
    def chosen(self) -> TileRun:
        """The tile that the models chose."""
        return self.runs[0]

    @property
    def best(self) -> TileRun:
        """The fastest as counted."""
        return min(self.runs, key=lambda run: run.cycles)

    @property
    def slower(self) -> float:
        """How much slower the chosen tile is than the best, as a fraction."""
        return self.chosen.cycles / self.best.cycles - 1

    @property
    def holds(self) -> bool:
        """Whether choice and prediction are within their limits, and all results right."""
        exact = abs(self.chosen.error) <= PREDICTION_LIMIT and self.slower <= CHOICE_LIMIT
        return exact and all(run.correct for run in self.runs)


def study(problem: Gemm, machine: Mcu, within: float, compiler: str | None = None) -> TileStudy:
    """Run every tile whose prediction is at most ``within`` times that of the chosen one, without wait states."""
    ideal = machine.with_wait_states(0)
    # With arguments as weights there are no kernels but those with tiles.
    certificate = certify(problem.model_copy(update={"weights": None}), ideal, "cycles")
    limit = within * known(certificate.traffic.kernel_cycles)
    chosen = certificate.schedule
    assert isinstance(chosen, Schedule)
    others = [
        schedule
        for schedule in _schedules(certificate, chosen)
        if (schedule.kernel, schedule.tile) != (chosen.kernel, chosen.tile)
        and _predicted(certificate, schedule) <= limit
    ]
    runs = tuple(_run(certificate, schedule, compiler) for schedule in [chosen, *others])
    return TileStudy(problem=problem.name, dtype=problem.dtype, runs=runs)


def print_studies(console: Console, studies: list[TileStudy], machine: Mcu, within: float) -> None:
    """One line for each problem."""
    title = f"Register tiles predicted within {within:g} times the chosen one, {machine.title}, no wait states"
    console.print(title, style="bold", highlight=False)
    columns = ("M x K x N", "dtype", "chosen", "cycles", "predicted", "best", "slower", "tiles", "errors")
    made = table(columns, words=("M x K x N", "dtype", "chosen", "best"))
    for found in studies:
        errors = [run.error for run in found.runs]
        made.add_row(
            found.problem,
            found.dtype,
            found.chosen.kernel,
            f"{found.chosen.cycles:,}",
            f"{found.chosen.error:+.1%}",
            found.best.kernel,
            f"{found.slower:.1%}",
            str(len(found.runs)),
            f"{min(errors):+.1%} to {max(errors):+.1%}",
            style=None if found.holds else "red",
        )
    console.print(made)
    good = sum(found.holds for found in studies)
    console.print(
        f"{good} of {len(studies)}: chosen at most {CHOICE_LIMIT:.0%} slower than the best, predicted within "
        f"{PREDICTION_LIMIT:.0%}, all results right",
        highlight=False,
    )


def _schedules(certificate: Certificate, chosen: Schedule) -> list[Schedule]:
    """The certified schedule with each other register tile; blocks are whole, as all operands are in SRAM."""
    problem = certificate.problem
    whole = {"order": ("m", "k", "n"), "mc": problem.m, "kc": problem.k, "nc": problem.n}
    return [
        chosen.model_copy(update={**whole, "kernel": family.name, "mr": tile.mr, "kr": tile.kr, "nr": tile.nr})
        for family, tile in certificate.space.kernels
    ]


def _predicted(certificate: Certificate, schedule: Schedule) -> int:
    where = certificate.space
    return int(kernel_cycles(where, schedule.family, schedule.tile, schedule_counts(where, schedule)))


def _run(certificate: Certificate, schedule: Schedule, compiler: str | None) -> TileRun:
    tried = trial.run(certificate.model_copy(update={"schedule": schedule}), compiler=compiler)
    return TileRun(
        kernel=f"{schedule.kernel} {schedule.tile}",
        predicted=_predicted(certificate, schedule),
        cycles=tried.cycles,
        correct=tried.correct,
    )
