"""The command line: ``python -m memaopt``.

Only what the options need is imported here; each command imports the rest when it runs.
"""

import inspect
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from memaopt import spelling
from memaopt.cli import network as network_cli
from memaopt.cli import program as elf_cli
from memaopt.cli.bench import bench_command
from memaopt.cli.check import check_command
from memaopt.cli.completion import SHELLS, answer, script
from memaopt.cli.convert import convert_command
from memaopt.cli.evaluate import evaluate_command
from memaopt.cli.fit import fit_command
from memaopt.cli.mcus import mcus_command
from memaopt.cli.measure import measure_command
from memaopt.cli.solve import solve_command
from memaopt.cli.sweep import sweep_command
from memaopt.cli.validate import validate_command
from memaopt.cli.verify import verify_command
from memaopt.errors import InputError, MemaoptError
from memaopt.printable import printable
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


class _PlainHelp:
    """Of a command, a ``--help`` that is shown as every other flag."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.metavar = ""
        return option


class _Command(_PlainHelp, TyperCommand):
    """A command that refuses a file or folder without a name, which a Path would make the current folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, *_ = self.make_parser(ctx).parse_args(args=list(args))
        rest: list[str] = super().parse_args(ctx, args)
        for each in self.params:
            values = ctx.params.get(each.name or "")
            paths = [value for value in (values if isinstance(values, list) else [values]) if isinstance(value, Path)]
            said = given.get(each.name)
            if paths and "" in (said if isinstance(said, list | tuple) else [said]):
                option = next((name for name in each.opts if name.startswith("-")), each.metavar)
                raise InputError(f"{option} is empty: give a name; . is the current folder")
        return rest


class _Group(_PlainHelp, TyperGroup):
    pass


#: Typer's own errors: BadParameter, UsageError, ClickException (of click, or of the copy that newer typers bring).
_COMMAND_LINE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


@app.callback(cls=_Group, invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", metavar="", help="Show the version and exit.")] = False,
    completion: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(SHELLS),
            help="Print what a shell's start-up file evaluates to complete commands, options and presets.",
        ),
    ] = None,
) -> None:
    if version:
        typer.echo(f"memaopt {__version__}")
        raise typer.Exit
    if completion is not None:
        typer.echo(script(completion))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def _run_folder(folder: Path, compiler: str | None, as_json: bool) -> None:
    """Build and run what ``solve --out`` wrote: a network, several, or a GEMM."""
    from memaopt.api import read
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.writer import complete

    complete(folder)
    certificate = read(folder)
    if isinstance(certificate, NetworkCertificate):
        network_cli.run_folder(certificate, folder, compiler, as_json)
        return
    if isinstance(certificate, BundleCertificate):
        from memaopt.cli import bundle as bundle_cli

        bundle_cli.run_folder(certificate, folder, compiler, as_json)
        return
    from memaopt.cli import gemm as gemm_cli

    gemm_cli.run_folder(certificate, folder, compiler, as_json)


app.command("solve")(solve_command)
app.command("verify")(verify_command)
app.command("run")(elf_cli.command(_run_folder))
app.command("mcus")(mcus_command)
app.command("bench")(bench_command)
app.command("check")(check_command)
app.command("measure")(measure_command)
app.command("validate")(validate_command)
app.command("convert")(convert_command)
app.command("evaluate")(evaluate_command)
app.command("sweep")(sweep_command)
app.command("fit")(fit_command)
network_cli.register(app)
for _command in app.registered_commands:
    _command.cls = _Command
    _command.help = _flowed(inspect.getdoc(_command.callback) or "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; what the user can put right is one line on stderr and exit code 1 or 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without some character shows ? for it
    code: Any = 0
    try:
        answer()
        with spelling.in_a_command():
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
