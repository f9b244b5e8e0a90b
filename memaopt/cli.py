"""The command line: ``python -m memaopt``."""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from memaopt import report, suites
from memaopt.certificates import Certificate, certify, verify
from memaopt.emit import emit
from memaopt.errors import InputError, MemaoptError
from memaopt.mcus import Mcu, mcu, parse_size, preset_names
from memaopt.problems import DTYPES, Gemm, gemm
from memaopt.report import Row
from memaopt.schedules import BUFFERINGS, OBJECTIVES

app = typer.Typer(
    name="memaopt",
    help="Certified, memory-optimal schedules for microcontrollers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

#: Typer's own errors: BadParameter, UsageError, ClickException (of click, or of the copy that newer typers bring).
_COMMAND_LINE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
_SIZES = re.compile(r"(\d+)x(\d+)x(\d+)", re.IGNORECASE)

McuOption = Annotated[str, typer.Option("--mcu", help="A preset (see `memaopt mcus`) or a .toml file.")]
SizeOption = Annotated[list[str], typer.Option("--size", help="Resize a memory, as in qspi=4MiB; repeatable.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")]
CompilerOption = Annotated[str | None, typer.Option("--compiler", help="gcc or zig; default: gcc if on PATH.")]


@app.command()
def solve(
    what: Annotated[list[str] | None, typer.Argument(help="`gemm MxKxN`.", show_default=False)] = None,
    dtype: Annotated[str, typer.Option(help=f"{', '.join(DTYPES)}.")] = "q15",
    mcu_name: McuOption = "stm32l4r5",
    place: Annotated[
        str | None, typer.Option(help="Memory of each operand, as in a=qspi,b=sram, or all=qspi; default: auto.")
    ] = None,
    objective: Annotated[str, typer.Option(help=f"{', '.join(OBJECTIVES)}.")] = "bytes",
    buffering: Annotated[str, typer.Option(help=f"{' or '.join(BUFFERINGS)}: buffers for each tile.")] = "single",
    sram: Annotated[str | None, typer.Option(help="SRAM to use, as in 32KiB; default: all the chip has.")] = None,
    size: SizeOption = [],  # noqa: B006  # typer copies it
    suite: Annotated[str | None, typer.Option(help=f"A named set of problems: {', '.join(suites.SUITES)}.")] = None,
    file: Annotated[Path | None, typer.Option(help="A TOML file with a [[gemm]] table for each problem.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the C project and the certificate there.")] = None,
    run: Annotated[bool, typer.Option("--run", help="Build it, run it on the virtual board, count.")] = False,
    compiler: CompilerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the schedule that moves the fewest bytes, prove it, and write (and run) the C.

    Examples:

        memaopt solve gemm 64x576x64 --dtype q15 --mcu stm32l4r5 --run

        memaopt solve gemm 256x256x256 --place all=qspi --sram 32KiB --out build/

        memaopt solve --suite tinyml --dtype s8 --run --json
    """
    machine = _machine(mcu_name, sram, size)
    fields = {"dtype": dtype, "placement": _placement(place)}
    problems = _problems(what or [], suite, file, fields)
    if out is not None and len(problems) > 1:
        folders: list[Path | None] = [out / f"gemm_{p.dtype}_{p.name}" for p in problems]
    else:
        folders = [out] * len(problems)

    def one(job: tuple[Gemm, Path | None]) -> Row:
        return _solve_one(*job, machine, objective, buffering, run, compiler)

    jobs = list(zip(problems, folders, strict=True))
    if len(jobs) == 1:
        rows = [_raising(one(jobs[0]))]
    else:
        rows = _with_progress(one, jobs, "solving")
    _print_rows(rows, machine, objective, run, as_json)
    if out is not None and not as_json:
        _console().print(f"written to {out}", highlight=False, soft_wrap=True)
    if not all(row.passed for row in rows):
        raise typer.Exit(1)


@app.command("verify")
def verify_command(
    files: Annotated[list[Path], typer.Argument(help="Certificates to verify.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Check every claim of a certificate, without the solver. Exit 0 if all hold, 1 naming the first that is false.

    Example:

        memaopt verify build/certificate.json
    """
    for path in files:
        verify(path)
        if not as_json:
            _console().print(f"{path}: every claim holds", highlight=False, soft_wrap=True)
    if as_json:
        _print_json([{"file": str(path), "holds": True} for path in files])


@app.command("run")
def run_command(
    folder: Annotated[Path, typer.Argument(help="A folder that solve --out wrote.", show_default=False)],
    compiler: CompilerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build a written project, run it on the virtual board, and hold the accesses counted to those promised.

    Example:

        memaopt run build/
    """
    from memaopt import trial

    certificate, tried = trial.run_folder(folder, compiler)
    row = Row(certificate.problem, certificate, tried, None)
    if as_json:
        _print_json(report.row_json(row))
    else:
        report.print_accesses(_console(), certificate, tried)
        _print_rows([row], certificate.machine, certificate.objective, True, False)
    if not row.passed:
        raise typer.Exit(1)


@app.command("mcus")
def mcus_command(as_json: JsonOption = False) -> None:
    """List the microcontrollers that come with memaopt.

    Example:

        memaopt mcus
    """
    machines = [mcu(name) for name in preset_names()]
    if as_json:
        _print_json([machine.model_dump(mode="json") for machine in machines])
    else:
        report.print_machines(_console(), machines)


def _solve_one(
    problem: Gemm,
    folder: Path | None,
    machine: Mcu,
    objective: str,
    buffering: str,
    run: bool,
    compiler: str | None,
) -> Row:
    """Certify, emit and run one problem; what goes wrong is kept in the row."""
    certificate: Certificate | None = None
    try:
        certificate = certify(problem, machine, objective, buffering)
        if folder is not None:
            emit(certificate, folder)
        if not run:
            return Row(problem, certificate, None, None)
        from memaopt import trial

        return Row(problem, certificate, trial.run(certificate, compiler=compiler), None)
    except MemaoptError as error:
        return Row(problem, certificate, None, error)


def _raising(row: Row) -> Row:
    """A single problem's error is the command's error."""
    if row.error is not None:
        raise row.error
    return row


def _with_progress(one: Callable[[Any], Row], jobs: Iterable[Any], what: str) -> list[Row]:
    jobs = list(jobs)
    rows = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=len(jobs))
        for job in jobs:
            rows.append(one(job))
            progress.advance(task)
    return rows


def _print_rows(rows: list[Row], machine: Mcu, objective: str, ran: bool, as_json: bool) -> None:
    if as_json:
        objects = [report.row_json(row) for row in rows]
        _print_json(objects if len(objects) > 1 else objects[0])
    else:
        report.print_rows(_console(), rows, machine, objective, ran)


def _console() -> Console:
    """stdout; a table is never folded to fit where nobody looks at it."""
    return Console() if sys.stdout.isatty() else Console(width=220)


def _print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def _machine(name: str, sram: str | None, sizes: list[str]) -> Mcu:
    """The machine with its memories resized as asked."""
    machine, resized = mcu(name), {}
    for text in [*([f"sram={sram}"] if sram else []), *sizes]:
        memory, _, amount = text.partition("=")
        machine.memory(memory)
        resized[memory] = parse_size(amount)
    return machine.with_sizes(**resized) if resized else machine


def _placement(text: str | None) -> dict[str, str]:
    """``a=qspi,b=sram`` or ``all=qspi`` as a mapping."""
    placement: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        operand, equals, memory = part.strip().partition("=")
        operand = operand.lower()
        if not equals or not memory or operand not in ("a", "b", "c", "all"):
            raise InputError(f"--place {text}: {part!r} is not an operand and a memory, as in a=qspi or all=qspi")
        placement.update(dict.fromkeys("abc", memory) if operand == "all" else {operand: memory})
    return placement


def _problems(what: list[str], suite: str | None, file: Path | None, fields: dict[str, Any]) -> list[Gemm]:
    """The problems that the arguments name, in exactly one way."""
    if sum((bool(what), suite is not None, file is not None)) != 1:
        raise InputError("solve: give one of gemm MxKxN, --suite NAME or --file FILE")
    if suite is not None:
        return suites.suite(suite, **fields)
    if file is not None:
        return suites.read_problems(file, **fields)
    match = _SIZES.fullmatch(what[1]) if len(what) == 2 and what[0] == "gemm" else None
    if match is None:
        raise InputError(f"solve {' '.join(what)}: expected gemm and its sizes M, K and N, as in gemm 64x576x64")
    m, k, n = map(int, match.groups())
    return [gemm(m, k, n, **fields)]


def main() -> None:
    """Run the command line; a MemaoptError is one line on stderr and its exit code."""
    try:
        code = app(standalone_mode=False)
    except MemaoptError as error:
        sys.stderr.write(f"memaopt: {error}\n")
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except _COMMAND_LINE_ERROR as error:
        sys.stderr.write(f"memaopt: {getattr(error, 'format_message', error.__str__)()}; see memaopt --help\n")
        code = 2
    except BrokenPipeError:
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


