"""What people see: tables and JSON of solved problems, runs and machines. Nothing is wider than 100 columns."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaopt.access import Access
from memaopt.certificates.gemm import ALONE, Certificate
from memaopt.errors import DisagreementError, MemaoptError
from memaopt.kernels.schedule import LayerSchedule, Schedule
from memaopt.machines.core import ORDERED
from memaopt.machines.mcu import beyond_preset
from memaopt.problems.gemm import OPERANDS, Gemm, Weights
from memaopt.report.console import Fact, print_facts, print_whole, table
from memaopt.report.machines import waits_text
from memaopt.trials.gemm import GemmTrial

if TYPE_CHECKING:
    from memaopt.choice.elsewhere import Elsewhere
    from memaopt.trials.library import LibraryCheck

_MODELS = {"closed_form": "closed form", "cp_sat": "CP-SAT", "exhaustive": "exhaustive enumeration"}
_GOALS = {"bytes": "fewest bytes", "cycles": "fewest cycles", "energy": "least energy"}
_BETTER = {
    "bytes": "moves fewer bytes",
    "cycles": "is predicted to take fewer cycles",
    "energy": "is modelled to take less energy",
}
_FIELDS = ("loads", "load_bytes", "stores", "store_bytes")


def _goal(certificate: Certificate) -> str:
    """What was minimised, in words."""
    if certificate.machine.core.only_orders(certificate.objective):
        return ORDERED
    return _GOALS.get(certificate.objective, f"least {certificate.objective}")


class GemmRow(NamedTuple):
    """One problem of a run: its certificate and trial, or the error that ended it, and how it was compared with the
    reference before it was written, if it was not run; what other settings would give, where that was asked for.
    """

    problem: Gemm
    certificate: Certificate | None
    trial: GemmTrial | None
    error: MemaoptError | None
    check: "LibraryCheck | None" = None
    others: Sequence["Elsewhere"] = ()

    @property
    def passed(self) -> bool:
        """Certified and, if it was run, counted = promised and correct."""
        return self.certificate is not None and self.error is None and (self.trial is None or self.trial.passed)


def row_json(row: GemmRow) -> dict[str, Any]:
    """One row as a JSON object; always the same keys, null where there is nothing to say."""
    found: dict[str, Any] = {
        "problem": row.problem.model_dump(mode="json"),
        "passed": row.passed,
        "error": None if row.error is None else str(row.error),
        **_certificate_json(row.certificate),
        **_trial_json(row.trial),
        "check": None if row.check is None else row.check.model_dump(mode="json"),
        "elsewhere": [other.model_dump(mode="json") for other in row.others],
    }
    if isinstance(row.error, DisagreementError):
        found["agreed"] = False
    return found


def _certificate_json(certificate: Certificate | None) -> dict[str, Any]:
    if certificate is None:
        keys = (
            "mcu",
            "objective",
            "proof",
            "schedule",
            "agreed",
            "external_bytes",
            "register_bytes",
            "bound",
            "gap",
            "register_gap",
            "predicted_cycles",
            "solve_ms",
            "promised",
            "sha256",
        )
        return dict.fromkeys(keys)
    traffic = certificate.traffic
    return {
        "problem": certificate.problem.model_dump(mode="json"),
        "mcu": certificate.machine.name,
        "objective": certificate.objective,
        "proof": certificate.proof,
        "schedule": certificate.schedule.model_dump(mode="json"),
        "agreed": certificate.agreed,
        "external_bytes": traffic.external_bytes,
        "register_bytes": traffic.register_bytes,
        "bound": certificate.bounds.model_dump(mode="json"),
        "gap": certificate.gap,
        "register_gap": certificate.register_gap,
        "predicted_cycles": traffic.cycles,
        "solve_ms": dict(certificate.milliseconds),
        "promised": {name: asdict(accesses) for name, accesses in traffic.buffers.items()},
        "sha256": certificate.sha256,
    }


def _trial_json(trial: GemmTrial | None) -> dict[str, Any]:
    keys = (
        "counted",
        "wrong",
        "cycles",
        "ideal_cycles",
        "energy_uj",
        "instructions",
        "around",
        "memories",
        "compiler",
        "flags",
    )
    if trial is None:
        return dict.fromkeys(("equal", "correct", *keys))
    data = trial.model_dump(mode="json")
    found = {"equal": trial.equal, "correct": trial.correct, **{key: data[key] for key in keys}}
    return found | {"instructions_per_second": round(_speed([trial]))}


def print_rows(console: Console, rows: Sequence[GemmRow], ran: bool) -> None:
    """Solved problems: one in full, several as a table."""
    if len(rows) == 1 and rows[0].certificate is not None and rows[0].error is None:
        _print_one(console, rows[0], rows[0].certificate)
    else:
        _print_table(console, rows, ran)


def _print_one(console: Console, row: GemmRow, certificate: Certificate) -> None:
    """One certificate in words, its accesses, and what running it showed."""
    problem, machine, goal = certificate.problem, certificate.machine, _goal(certificate)
    console.print(f"gemm {problem.name} {problem.dtype} on {machine.title}: {goal}\n", style="bold", soft_wrap=True)
    print_facts(console, schedule_facts(certificate, row.others))
    console.print()
    console.print(_accesses(certificate, row.trial))
    if row.trial is not None:
        console.print()
        print_facts(console, _trial_facts(certificate, row.trial))


def schedule_facts(certificate: Certificate, others: Sequence["Elsewhere"], *, with_times: bool = True) -> list[Fact]:
    """The schedule, what it moves, why none is better, and what other settings would give; ``with_times``: what each
    model took here.
    """
    problem, schedule = certificate.problem, certificate.schedule
    traffic, bounds, goal = certificate.traffic, certificate.bounds, _goal(certificate)
    better = f"comes before it, {goal}" if goal == ORDERED else _BETTER.get(certificate.objective, "costs less")
    if isinstance(schedule, LayerSchedule):
        blocks = f"a kernel of the networks, the whole problem as a {schedule.what}"
    elif all(schedule.block[d] == problem.sizes[d] for d in schedule.order):
        blocks = f"one SRAM block, the whole problem{schedule.holding}"
    else:
        loops = " > ".join(schedule.order)
        blocks = f"SRAM blocks MC x KC x NC = {_block(schedule)}, loops {loops}, {schedule.buffering} buffering"
        blocks += schedule.holding
    staged = sorted({home for home in _homes(problem) if home != certificate.machine.sram.name})
    outside = _with_bound(traffic.external_bytes, bounds.external_bytes, f"{' and '.join(staged)} and SRAM")
    whole = isinstance(schedule, LayerSchedule)
    registers = f"{'all memories' if whole else 'SRAM'} and registers, the kernels' stack among them"
    spent = certificate.milliseconds if with_times else {}
    proof = " = ".join(_MODELS[a.model] + (f" ({spent[a.model]:.0f} ms)" if spent else "") for a in certificate.answers)
    if certificate.proof != "full":
        proof += f", {ALONE}"
    setting = certificate.machine.setting
    none = f"no {_what_of(certificate)}, in this setting,"
    return [
        Fact("setting", f"{setting.name}: {setting.title}"),
        *([Fact("", f"supposed: {more}", "yellow")] if (more := beyond_preset(certificate.machine)) else []),
        *([Fact("elsewhere", f"{'; '.join(other.describe() for other in others)} (predicted)")] if others else []),
        Fact("operands", ", ".join(f"{x} in {home}" for x, home in zip(OPERANDS, _homes(problem), strict=True))),
        Fact("schedule", blocks),
        *([Fact("weights", _weights(problem.weights))] if problem.channel_bytes else []),
        Fact("kernel", f"{schedule.kernel}, register tile {'' if whole else 'MR x KR x NR = '}{schedule.tile}"),
        Fact("external", outside if staged else "nothing moves: A, B and C live in SRAM"),
        Fact("registers", _with_bound(traffic.register_bytes, bounds.register_bytes, registers)),
        *([] if traffic.cycles is None else [Fact("cycles", f"{traffic.cycles:,} predicted")]),
        Fact("proof", f"{proof}: {none} {better}", "green" if certificate.agreed else "yellow"),
    ]


def _what_of(certificate: Certificate) -> str:
    """What the certificate speaks of: all that were looked at."""
    kernels = f"of this version's kernels with {certificate.buffering} buffering"
    if any(variant.layers for variant in certificate.variants):
        return f"nest {kernels}, and no kernel of the networks"
    return f"schedule {kernels}"


def _weights(weights: Weights | None) -> str:
    if weights is None:
        return "arguments of the function, with the channels' parameters"
    return "constants in the C" + (
        "" if weights.given else f", random ones with seed {weights.seed}, as none are given"
    )


def _with_bound(moved: int, bound: int, where: str) -> str:
    text = f"{moved:,} bytes between {where}, "
    if moved == bound:
        return text + "the lower bound"
    if moved < 2 * bound:
        return text + f"{(moved - bound) / bound:.1%} above the lower bound of {bound:,}"
    return text + (f"{moved / bound:.2f} times the lower bound of {bound:,}" if bound else "lower bound 0")


def _trial_facts(certificate: Certificate, trial: GemmTrial) -> list[Fact]:
    """What was counted."""
    machine, macs = certificate.machine, certificate.problem.macs
    used = {"flash", *_homes(certificate.problem)}
    waits = [f"{m.name} {waits_text(m)}" for m in machine.memories if m.name in used and (m.first or m.next)]
    equal = "every access is as promised" if trial.equal else "not as promised"
    facts = [
        Fact("counted", equal, "green" if trial.equal else "red"),
        Fact("result", *(("every element of C is right", "green") if trial.correct else ("C is wrong", "red"))),
    ]
    built = Fact("built with", f"{_compiler(trial)}; the board ran {_speed([trial]) / 1e6:.1f} M instructions/s")
    if trial.cycles is None or trial.ideal_cycles is None or trial.energy_uj is None:
        return [*facts, Fact("time", f"not shown: {machine.core.untimed}"), built]
    seconds = trial.cycles / machine.clock_hz
    duration = f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"
    time = f"{trial.cycles:,} cycles, {duration} at {machine.clock_hz / 1e6:g} MHz"
    facts.append(Fact("time", f"{time}: {trial.cycles / macs:.2f} for each multiply-accumulate"))
    if waits:
        without = f"{trial.ideal_cycles:,} without wait states ({'; '.join(waits)})"
        facts.append(Fact("", f"{without}: {trial.ideal_cycles / macs:.2f}"))
    return [*facts, Fact("energy", machine.unpowered or f"{trial.energy_uj:,.0f} uJ, modelled"), built]


def _homes(problem: Gemm) -> list[str]:
    return [problem.placement.of(x) for x in OPERANDS]


def _block(schedule: Schedule) -> str:
    return f"{schedule.mc}x{schedule.kc}x{schedule.nc}"


def _accesses(certificate: Certificate, trial: GemmTrial | None) -> Table:
    """Promised accesses, buffer by buffer; where others were counted, both."""
    made = table(("accesses to", "loads", "bytes loaded", "stores", "bytes stored"))
    promised = certificate.traffic.buffers
    counted = promised if trial is None else trial.counted
    for name in sorted(promised.keys() | counted.keys()):
        pairs = [tuple(getattr(side.get(name, Access()), field) for side in (promised, counted)) for field in _FIELDS]
        made.add_row(name, *(_cell(claim, count) for claim, count in pairs))
    if trial is not None:
        made.add_row("(stack)", *(f"{getattr(trial.around, field):,}" for field in _FIELDS), style="dim")
    return made


def _cell(claim: int, count: int) -> Text:
    return Text(f"{claim:,}") if claim == count else Text(f"{claim:,}, counted {count:,}", style="red")


def _print_table(console: Console, rows: Sequence[GemmRow], ran: bool) -> None:
    """One line for each problem; what all of them share is said once, above."""
    common, columns = _shared(rows)
    timed = ran and all(row.certificate is None or row.certificate.machine.core.is_timed for row in rows)
    words = ("M x K x N", *columns, "loops", "SRAM block", "kernel")
    figures = ("external", "gap", "registers", *(("cycles", "/MAC", "0 ws") if timed else ()))
    made = table((*words, *figures, "checks"), words=(*words, "checks"), blanks=1)
    for row in rows:
        made.add_row(row.problem.name, *(_column(row, name) for name in columns), *_cells(row, ran, timed))
    console.print("; ".join(common), style="bold", soft_wrap=True)
    print_whole(console, made)
    for row in rows:
        if row.error is not None:
            console.print(f"{row.problem.name}: {row.error}", style="red", highlight=False, soft_wrap=True)
    for line in _summary(rows, ran):
        console.print(line, highlight=False, soft_wrap=True)


def _shared(rows: Sequence[GemmRow]) -> tuple[list[str], list[str]]:
    """What is the same in all rows, in words, and the columns needed for what is not."""
    certificates = [row.certificate for row in rows if row.certificate is not None]
    said, columns = [c.machine.title for c in certificates[:1]], []
    if len({row.problem.dtype for row in rows}) == 1:
        said.append(rows[0].problem.dtype)
    else:
        columns.append("dtype")
    homes = {tuple(_homes(c.problem)) for c in certificates}
    if len(homes) == 1:
        said += [", ".join(f"{x} in {home}" for x, home in zip(OPERANDS, next(iter(homes)), strict=True))]
    else:
        columns.append("A/B/C in")
    return [*said, *(_goal(c) for c in certificates[:1])], columns


def _column(row: GemmRow, name: str) -> str:
    problem = row.problem if row.certificate is None else row.certificate.problem
    return problem.dtype if name == "dtype" else "/".join(_homes(problem))


def _cells(row: GemmRow, ran: bool, timed: bool) -> list[str | Text]:
    certificate, trial = row.certificate, row.trial
    if certificate is None:
        return [*[""] * (9 if timed else 6), Text("failed", style="red")]
    problem, schedule, traffic = certificate.problem, certificate.schedule, certificate.traffic
    cells: list[str | Text] = [
        "".join(schedule.order) if isinstance(schedule, Schedule) else "-",
        _block(schedule) if isinstance(schedule, Schedule) else "whole",
        f"{schedule.kernel} {schedule.tile}",
        f"{traffic.external_bytes:,}",
        f"{certificate.gap:.1%}",
        f"{traffic.register_bytes:,}",
    ]
    if not ran:
        return [*cells, Text("proven", style="green")]
    if trial is None:
        return [*cells, *[""] * (3 * timed), Text("failed", style="red")]
    wrong = ["counts"] * (not trial.equal) + ["result"] * (not trial.correct)
    checks = Text(f"wrong {' and '.join(wrong)}", style="red") if wrong else Text("all 3", style="green")
    if trial.cycles is not None and trial.ideal_cycles is not None:
        per_mac = (f"{cycles / problem.macs:.2f}" for cycles in (trial.cycles, trial.ideal_cycles))
        cells += [f"{trial.cycles:,}", *per_mac]
    return [*cells, checks]


def _summary(rows: Sequence[GemmRow], ran: bool) -> list[str]:
    """The checks, counted, and what the columns mean."""
    total = len(rows)
    certificates = [row.certificate for row in rows if row.certificate is not None]
    asked = [answer.model for answer in certificates[0].answers] if certificates else list(_MODELS)
    said = " = ".join(_MODELS[model] for model in asked) + (f", {ALONE}" if len(asked) == 1 else "")
    lines = ["", f"{len(certificates)} of {total} {'proven' if len(asked) > 1 else 'solved'}: {said}"]
    if certificates:
        most = [max(c.milliseconds.get(model, 0.0) for c in certificates) for model in asked]
        lines[1] += f" (at most {', '.join(f'{spent:.0f}' for spent in most)} ms)"
    trials = [row.trial for row in rows if row.trial is not None]
    if ran:
        lines.append(
            f"{sum(t.equal for t in trials)} of {total} counted = promised, access for access, buffer by buffer"
        )
        lines.append(f"{sum(t.correct for t in trials)} of {total} correct, in every element of C")
    lines += ["", "external, registers: bytes moved; gap: how far external lies above the lower bound"]
    if trials:
        untimed = next((c.machine.core.untimed for c in certificates), "")
        meaning = "with all wait states; /MAC: for each multiply-accumulate; 0 ws: without wait states"
        lines.append(f"cycles: {f'not shown: {untimed}' if untimed else meaning}")
        speed = f"{_speed(trials) / 1e6:.1f} M instructions/s"
        lines.append(f"built with {_compiler(trials[0])}; the board ran {speed}")
    return lines


def _compiler(trial: GemmTrial) -> str:
    """``arm-none-eabi-gcc 12.2.1 -O3``: which compiler, which version, how hard it tries."""
    name = next(iter(trial.compiler.split()), "")
    number = re.search(r"\d+\.\d+\.\d+", re.sub(r"\(.*?\)", "", trial.compiler))
    return " ".join([name, *([number[0]] if number else []), *(f for f in trial.flags if f.startswith("-O"))])


def _speed(trials: Sequence[GemmTrial]) -> float:
    """Instructions that the board ran in a second."""
    seconds = sum(t.seconds for t in trials)
    return sum(t.instructions for t in trials) / seconds if seconds > 0 else 0.0
