"""The command line: ``python -m memaopt``.

Only what the options need is imported here; each command imports the rest when it runs.
"""

import inspect
import io
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from memaopt.cli import network as network_cli
from memaopt.cli import program as elf_cli
from memaopt.cli.bench import bench_command
from memaopt.cli.check import check_command
from memaopt.cli.evaluate import evaluate_command
from memaopt.cli.fit import fit_command
from memaopt.cli.options import demand_packages, machine_of, percent, read_labels, refuse, refuse_other_formats
from memaopt.cli.sweep import SchedulerOption, WorkersOption, sweep_command, verify_all
from memaopt.cli.validate import validate_command
from memaopt.errors import InputError, MemaoptError
from memaopt.printable import printable
from memaopt.problems import suites
from memaopt.problems.words import BUFFERINGS, DTYPES, OBJECTIVES, PROOFS
from memaopt.version import __version__

app = typer.Typer(
    name="memaopt",
    help="Certified, memory-optimal schedules for microcontrollers.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _flowed(text: str) -> str:
    """Help whose paragraphs are one line each, to be folded as wide as the terminal; after ``\\b`` lines stay."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(p if p.startswith("\b") else p.replace("\n", " ") for p in paragraphs)


#: Typer's own errors: BadParameter, UsageError, ClickException (of click, or of the copy that newer typers bring).
_COMMAND_LINE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
McuOption = Annotated[
    str,
    typer.Option(
        "--mcu", metavar="NAME|FILE", rich_help_panel="Machine", help="A preset (see memaopt mcus) or a .toml file."
    ),
]
SramOption = Annotated[
    str | None,
    typer.Option(
        "--sram",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="SRAM to use, as in 32KiB.  \\[default: all that the chip has; for a network, that its project leaves]",
    ),
]
FlashOption = Annotated[
    str | None,
    typer.Option(
        "--flash",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="Flash to use, as in 512KiB.  \\[default: all that the chip has; for a network, that its project leaves]",
    ),
]
ArenaOption = Annotated[
    str | None,
    typer.Option(
        "--arena",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="Arena to use for a network's tensors and scratch.  \\[default: see --within]",
    ),
]
WithinOption = Annotated[
    str | None,
    typer.Option(
        "--within",
        metavar="PERCENT",
        rich_help_panel="Machine",
        help="Of a network's arenas take the least that costs so much more than the best, as in 5%; 0 is the best.  "
        "\\[default: 0.4%]",
    ),
]
SizeOption = Annotated[
    list[str],
    typer.Option(
        "--size",
        metavar="MEMORY=SIZE",
        rich_help_panel="Machine",
        help="Resize another memory, as in qspi=4MiB; repeatable.",
    ),
]
SettingOption = Annotated[
    str,
    typer.Option(
        "--setting",
        metavar="NAME",
        rich_help_panel="Machine",
        help="The project that the machine is used in (see memaopt mcus): what is on, what may be copied into RAM.",
    ),
]
ConstantsInRamOption = Annotated[
    str | None,
    typer.Option(
        "--ram-for-constants",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="RAM that constants of a network may be copied into.  \\[default: the setting's]",
    ),
]
CodeInRamOption = Annotated[
    str | None,
    typer.Option(
        "--ram-for-code",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="RAM that code may be copied into.  \\[default: the setting's]",
    ),
]
WaitStatesOption = Annotated[
    int | None,
    typer.Option(
        "--wait-states",
        metavar="N",
        min=0,
        rich_help_panel="Machine",
        help="Wait states of the flash, and with 0 of no memory.  \\[default: the chip's]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", metavar="", help="Nothing but JSON on stdout.")]
CompilerOption = Annotated[
    str | None,
    typer.Option(
        "--compiler",
        metavar="gcc|zig",
        help="What builds the C.  \\[default: gcc if arm-none-eabi-gcc is on PATH, else zig]",
    ),
]


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", metavar="", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"memaopt {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def solve(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="gemm MxKxN|MODEL.tflite", help="The problem and its sizes, or a network.", show_default=False
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(DTYPES),
            rich_help_panel="Problem",
            help="Element type and arithmetic of a gemm.  \\[default: q15]",
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            metavar="X=MEMORY,...",
            rich_help_panel="Problem",
            help="Where A, B and C live, as in a=qspi,b=sram or all=qspi.  \\[default: A in flash, B and C in sram, "
            "what does not fit in external memory]",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|argument",
            rich_help_panel="Problem",
            help="A and the channels' parameters of an s8 gemm: constants from a .json file, or arguments of the "
            "function.  \\[default: random constants]",
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="|".join(suites.SUITES), rich_help_panel="Problem", help="A named set of problems."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="TOML", rich_help_panel="Problem", help="A file with many problems."),
    ] = None,
    mcu_name: McuOption = "stm32l4r5",
    sram: SramOption = None,
    size: SizeOption = [],  # noqa: B006  # typer copies it
    wait_states: WaitStatesOption = None,
    setting: SettingOption = "stock",
    ram_for_constants: ConstantsInRamOption = None,
    ram_for_code: CodeInRamOption = None,
    flash: FlashOption = None,
    arena: ArenaOption = None,
    within: WithinOption = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(OBJECTIVES),
            rich_help_panel="Schedule",
            help="What to minimise.  \\[default: bytes; cycles for a network]",
        ),
    ] = None,
    buffering: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(BUFFERINGS),
            rich_help_panel="Schedule",
            help="Buffers for each SRAM tile of a gemm.  \\[default: single]",
        ),
    ] = None,
    proof: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(f"'{each}'" if " " in each else each for each in PROOFS),
            rich_help_panel="Schedule",
            help="What proves a gemm's schedule: three models that agree, or one alone.  \\[default: full]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel="Output", help="Write the C project and the certificate there."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel="Output",
            help="Write a network's report there as one page of HTML (--out writes it too, as report.html).",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel="Output",
            help="What the elements of a network's output stand for, a line each: NAME_label() of the library says it.",
        ),
    ] = None,
    package: Annotated[
        list[str],
        typer.Option(
            metavar="KIND",
            rich_help_panel="Output",
            help="Write into DIR, instead of the project itself, the archive that arduino, zephyr, platformio, "
            "cmsis-pack or cmake installs; repeatable.",
        ),
    ] = [],  # noqa: B006
    run: Annotated[
        bool,
        typer.Option(
            "--run",
            metavar="",
            rich_help_panel="Output",
            help="Build the C, run it on the virtual board, count its accesses.",
        ),
    ] = False,
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="random:N|FILE",
            rich_help_panel="Output",
            help="What --run tries on a network: random inputs, or samples as validate reads them.  "
            "\\[default: random:1]",
        ),
    ] = None,
    compiler: CompilerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best schedule of a gemm or the best kernels of a network, prove it, and write (and run) the C.

    \b
    Examples:
      memaopt solve gemm 64x576x64 --dtype q15 --mcu stm32l4r5 --run
      memaopt solve gemm 256x256x256 --place all=qspi --sram 32KiB --out build/
      memaopt solve gemm 64x64x125 --dtype s8 --objective cycles --weights argument
      memaopt solve --suite tinyml --dtype s8 --run --json
      memaopt solve --file problems.toml --objective cycles
      memaopt solve model.tflite --mcu stm32l4r5 --out build/ --run
      memaopt solve model.tflite --setting ram --out build/
      memaopt solve model.tflite --package arduino --out dist/
    """
    refuse_other_formats(what or [])
    named = what[0] if what and len(what) == 1 and suite is None and file is None else ""
    model = named if named.lower().endswith(".tflite") else None
    # What a network's library may take is no size of the chip's.
    limits = [] if model else [f"{name}={text}" for name, text in (("sram", sram), ("flash", flash)) if text]
    machine = machine_of(mcu_name, setting, [*size, *limits])
    machine = machine.with_ram(code=_bytes(ram_for_code), constants=_bytes(ram_for_constants))
    if wait_states is not None:
        machine = machine.with_wait_states(wait_states)
    demand_packages(package, out)
    if inputs is not None and not run:
        raise InputError("--inputs has no effect without --run")
    if model:
        refuse(
            "a network",
            ("--dtype", dtype, "its element types are those of the file"),
            ("--weights", weights, "its weights are those of the file"),
            ("--place", place, "its tensors are placed by the planner"),
            ("--buffering", buffering, "its layers copy nothing block by block"),
            ("--within", within if arena else None, "--arena bounds its arena already"),
            ("--proof", proof, "its choice says itself how it was proven"),
            *(("--size", text, "it uses flash and sram alone") for text in size if not _is_of(text, "flash", "sram")),
        )
        network_cli.solve(
            model,
            machine,
            objective,
            out=out,
            packages=package,
            labels=read_labels(labels, out),
            run=run,
            inputs=inputs or "random:1",
            compiler=compiler,
            as_json=as_json,
            budgets={"sram": _bytes(sram), "flash": _bytes(flash), "arena": _bytes(arena)},
            within=percent("--within", within),
            report=report,
        )
        return
    from memaopt.cli import gemm as gemm_cli

    refuse(
        "a gemm",
        ("--arena", arena, "it has no arena, see --sram"),
        ("--within", within, "it has no arena"),
        ("--report", report, "its report is what is printed"),
        ("--labels", labels, "its result is a matrix"),
        ("--inputs", inputs, "it runs on inputs of its own"),
        ("--ram-for-constants", ram_for_constants, "its weights are staged block by block, or streamed"),
        ("--compiler", None if run else compiler, "nothing is built without --run"),
    )
    fields: dict[str, Any] = {"dtype": dtype, "placement": None if place is None else gemm_cli.placement(place)}
    if weights is not None:
        fields["weights"] = gemm_cli.weights(weights)
    given = {name: value for name, value in fields.items() if value is not None}
    sized = frozenset(text.partition("=")[0] for text in [*size, *(["flash"] if flash else [])])
    gemm_cli.solve(
        gemm_cli.problems_of(what or [], suite, file, given),
        machine,
        objective or "bytes",
        buffering or "single",
        proof=proof or "full",
        out=out,
        packages=package,
        run=run,
        compiler=compiler,
        as_json=as_json,
        asked=gemm_cli.Asked(machine_of(mcu_name, setting, limits[: bool(sram)]), sized, buffering, ram_for_code),
    )


@app.command("verify")
def verify_command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Certificates.", show_default=False)
    ] = None,
    all_of: Annotated[
        Path | None, typer.Option("--all", metavar="DIR", help="Every certificate of a sweep's results.")
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every claim of a certificate, without the solver. Exit 1 names the first claim that is false.

    What a certificate takes as given is printed: it holds of that machine, those budgets, that objective.

    \b
    Examples:
      memaopt verify build/certificate.json
      memaopt verify --all results/
    """
    if all_of is not None:
        refuse("--all", ("FILE", files, "it verifies what is in DIR"))
        verify_all(all_of, scheduler, workers, as_json)
        return
    refuse("FILE", ("--scheduler", scheduler, "see --all"), ("--workers", workers, "see --all"))
    if not files:
        raise InputError("verify: give certificates, or --all DIR")
    from memaopt.api import verify
    from memaopt.report import console
    from memaopt.writer import complete

    told = []
    for path in files:
        complete(path.parent)
        with console.spinner(f"verifying {path.name}"):
            found = verify(path)
        told.append({"file": str(path), "holds": True, **found._asdict()})
        if not as_json:
            but = f" but, not proven again, {' and '.join(found.unproven)}" if found.unproven else ""
            console.stdout().print(f"{path}: every claim holds{but}, given", soft_wrap=True)
            for premise in found.premises:
                console.stdout().print(f"  {premise}", soft_wrap=True)
    if as_json:
        console.print_json(told)


def _run_folder(folder: Path, compiler: str | None, as_json: bool) -> None:
    """Build and run what ``solve --out`` wrote: a network or a GEMM."""
    from memaopt.api import read
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.writer import complete

    complete(folder)
    certificate = read(folder)
    if isinstance(certificate, NetworkCertificate):
        network_cli.run_folder(certificate, folder, compiler, as_json)
        return
    from memaopt.cli import gemm as gemm_cli

    gemm_cli.run_folder(certificate, folder, compiler, as_json)


app.command("run")(elf_cli.command(_run_folder))


@app.command("mcus")
def mcus_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this preset as TOML.", show_default=False)
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", metavar="", help="A page with every figure and its source.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the microcontrollers that come with memaopt, or print one, with its sources, to start your own from.

    \b
    Examples:
      memaopt mcus
      memaopt mcus stm32l4r5 > my.toml
    """
    from memaopt.machines.mcu import mcu, preset_names
    from memaopt.report import console
    from memaopt.report import gemm as report

    if markdown:
        from memaopt.report import presets

        refuse(name or "JSON", ("--markdown", name or as_json, "it is of all presets"))
        sys.stdout.write(presets.page())
        return
    machines = [mcu(each) for each in ([name] if name else preset_names())]
    if as_json:
        console.print_json([machine.model_dump(mode="json") for machine in machines])
    elif name and machines[0].name in preset_names():
        preset = resources.files("memaopt.machines") / "mcus" / f"{machines[0].name}.toml"
        sys.stdout.write(preset.read_text(encoding="utf-8"))
    else:
        report.print_machines(console.stdout(), machines)


app.command("bench")(bench_command)
app.command("check")(check_command)
app.command("validate")(validate_command)
app.command("evaluate")(evaluate_command)
app.command("sweep")(sweep_command)
app.command("fit")(fit_command)
network_cli.register(app)
for _command in app.registered_commands:
    _command.help = _flowed(inspect.getdoc(_command.callback) or "")


def _bytes(text: str | None) -> int | None:
    """A size, 0 among them; None stays None."""
    from memaopt.machines.mcu import parse_size

    return None if text is None else 0 if text.strip() == "0" else parse_size(text)


def _is_of(size: str, *memories: str) -> bool:
    return size.partition("=")[0] in memories


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; what the user can put right is one line on stderr and exit code 1 or 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without some character shows ? for it
    code: Any = 0
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except MemaoptError as error:
        code = _fail(str(error), error.exit_code)
    except _COMMAND_LINE_ERROR as error:
        code = _fail(_usage(error), 2)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except MemoryError:
        code = _fail("out of memory: give a smaller problem, or more of it", 2)
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        code = _fail(f"{error.filename or 'standard output'}: {error.strerror}", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"memaopt: {printable(' '.join(message.split()))}\n")
    return code


def _usage(error: Exception) -> str:
    """What is wrong with the command line, and where to look."""
    message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = getattr(context, "info_name", None) if getattr(context, "parent", None) else None
    return f"{message}; see memaopt {f'{command} ' if command else ''}--help"


def _discard_stdout() -> None:
    """Nobody reads stdout, or it is full: what is still buffered goes nowhere, instead of failing again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
