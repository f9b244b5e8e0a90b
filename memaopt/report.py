"""What people see: tables and JSON of solved problems, runs and machines."""

from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaopt.certificates import Certificate
from memaopt.errors import MemaoptError
from memaopt.mcus import Mcu
from memaopt.problems import OPERANDS, Gemm
from memaopt.trial import Trial


class Row(NamedTuple):
    """One problem of a run: its certificate and trial, or the error that ended it."""

    problem: Gemm
    certificate: Certificate | None
    trial: Trial | None
    error: MemaoptError | None

    @property
    def passed(self) -> bool:
        """Certified and, if it was run, counted = promised and correct."""
        return self.certificate is not None and self.error is None and (self.trial is None or self.trial.passed)


def row_json(row: Row) -> dict[str, Any]:
    """One row as a JSON object."""
    certificate = row.certificate
    if certificate is None:
        return {"problem": row.problem.model_dump(mode="json"), "error": str(row.error)}
    traffic = certificate.traffic
    found: dict[str, Any] = {
        "problem": certificate.problem.model_dump(mode="json"),
        "mcu": certificate.machine.name,
        "objective": certificate.objective,
        "schedule": certificate.schedule.model_dump(mode="json"),
        "agreed": certificate.agreed,
        "external_bytes": traffic.external_bytes,
        "register_bytes": traffic.register_bytes,
        "bound": certificate.bounds.model_dump(mode="json"),
        "gap": certificate.gap,
        "register_gap": certificate.register_gap,
        "predicted_cycles": traffic.kernel_cycles,
        "solve_ms": {answer.model: answer.milliseconds for answer in certificate.answers},
        "promised": {name: accesses.model_dump() for name, accesses in traffic.buffers.items()},
        "sha256": certificate.sha256,
    }
    if row.trial is not None:
        found |= {
            "counted": {name: accesses.model_dump() for name, accesses in row.trial.counted.items()},
            "equal": row.trial.equal,
            "correct": row.trial.correct,
            "cycles": row.trial.cycles,
            "instructions": row.trial.instructions,
            "compiler": row.trial.compiler,
        }
    if row.error is not None:
        found["error"] = str(row.error)
    return found


def print_rows(console: Console, rows: list[Row], machine: Mcu, objective: str, ran: bool) -> None:
    """The table of solved problems, then what it says in sum."""
    table = Table(title=f"{machine.title}, objective {objective}", title_justify="left", title_style="bold")
    for name, justify in (("M x K x N", "left"), ("dtype", "left"), ("A/B/C in", "left"), ("loops", "left"),
                          ("SRAM block", "right"), ("kernel", "left"), ("external B", "right"), ("bound", "right"),
                          ("gap", "right"), ("register B", "right"), ("proof", "left"), ("solve ms", "right")):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    if ran:
        for name in ("counted", "result", "cycles", "cyc/MAC"):
            table.add_column(name, justify="right" if name.startswith("cyc") else "left", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, ran))
    console.print(table)
    for row in rows:
        if row.error is not None:
            console.print(f"{row.problem.name}: {row.error}", style="red", highlight=False, soft_wrap=True)
    console.print(_summary(rows, ran), highlight=False, soft_wrap=True)


def _cells(row: Row, ran: bool) -> list[str | Text]:
    certificate = row.certificate
    if certificate is None:
        return [row.problem.name, row.problem.dtype, Text("failed", style="red")]
    problem, schedule, traffic = certificate.problem, certificate.schedule, certificate.traffic
    cells: list[str | Text] = [
        problem.name,
        problem.dtype,
        "/".join(problem.placement.of(x) for x in OPERANDS),
        ">".join(schedule.order),
        f"{schedule.mc}x{schedule.kc}x{schedule.nc}",
        f"{schedule.kernel} {schedule.tile}",
        f"{traffic.external_bytes:,}",
        f"{certificate.bounds.external_bytes:,}",
        f"{certificate.gap:.1%}",
        f"{traffic.register_bytes:,}",
        Text("agreed", style="green") if certificate.agreed else Text("differs", style="red"),
        "/".join(f"{answer.milliseconds:.0f}" for answer in certificate.answers),
    ]
    if ran and row.trial is not None:
        trial = row.trial
        cells += [
            Text("= promised", style="green") if trial.equal else Text("differs", style="red"),
            Text("correct", style="green") if trial.correct else Text("wrong", style="red"),
            f"{trial.cycles:,}",
            f"{trial.cycles / problem.macs:.2f}",
        ]
    return cells


def _summary(rows: list[Row], ran: bool) -> str:
    total = len(rows)
    agreed = sum(row.certificate is not None for row in rows)
    text = f"{agreed} of {total} agreed (closed form = CP-SAT = exhaustive enumeration)"
    if ran:
        trials = [row.trial for row in rows if row.trial is not None]
        equal, correct = sum(t.equal for t in trials), sum(t.correct for t in trials)
        text += f", {equal} of {total} counted = promised, {correct} of {total} correct"
        seconds, instructions = sum(t.seconds for t in trials), sum(t.instructions for t in trials)
        if trials and seconds > 0:
            text += f"\nbuilt with {trials[0].compiler}; board: {instructions / seconds / 1e6:.1f} M instructions/s"
    return text


def print_accesses(console: Console, certificate: Certificate, trial: Trial) -> None:
    """Promised and counted accesses, buffer by buffer."""
    table = Table(title="accesses, promised / counted", title_justify="left", title_style="bold")
    table.add_column("buffer")
    for name in ("loads", "bytes loaded", "stores", "bytes stored"):
        table.add_column(name, justify="right", no_wrap=True)
    promised = certificate.traffic.buffers
    for name in sorted(promised.keys() | trial.counted.keys()):
        cells: list[str | Text] = [name]
        for field in ("loads", "load_bytes", "stores", "store_bytes"):
            claim, count = (getattr(side.get(name), field, 0) for side in (promised, trial.counted))
            same = claim == count
            cells.append(f"{claim:,}" if same else Text(f"{claim:,} / {count:,}", style="red"))
        table.add_row(*cells)
    stack = trial.stack
    table.add_row("stack", f"{stack.loads:,}", f"{stack.load_bytes:,}", f"{stack.stores:,}", f"{stack.store_bytes:,}")
    console.print(table)


def print_machines(console: Console, machines: list[Mcu]) -> None:
    """The presets, their clocks, registers and memories."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "chip", "clock", "memory", "base", "size", "wait states (first/next)"):
        table.add_column(name, no_wrap=True)
    for machine in machines:
        for i, memory in enumerate(machine.memories):
            head = [machine.name, machine.title, f"{machine.clock_hz / 1e6:g} MHz"] if i == 0 else ["", "", ""]
            table.add_row(*head, memory.name, f"{memory.base:#010x}", size_text(memory.size), memory_cost(memory))
    console.print(table)


def memory_cost(memory: Any) -> str:
    """Wait states of a memory's first and following accesses."""
    return f"{memory.first}/{memory.next}"


def size_text(size: int) -> str:
    """A size in the largest binary unit that divides it."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} B"
