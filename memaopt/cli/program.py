"""``memaopt run``: an ELF program on the virtual board, or a folder that ``solve --out`` wrote."""

import difflib
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from memaopt.cli.completion import presets
from memaopt.cli.machine import clock_option, clocked, wait_states_option
from memaopt.cli.options import JsonOption
from memaopt.cli.panels import option
from memaopt.cli.warmup import start_board
from memaopt.errors import InputError
from memaopt.problems.words import MCU

if TYPE_CHECKING:
    from memaopt.board import Run
    from memaopt.board.elf import Program
    from memaopt.machines.mcu import Mcu

_INTEGER = re.compile(r"[-+]?(0x[0-9a-f]+|0b[01]+|\d+)", re.IGNORECASE)
_PANEL = "An ELF program"


class _Options(NamedTuple):
    """What only an ELF program can be given."""

    call: str | None
    until: str | None
    args: str | None
    mcu: str | None
    setting: str | None
    dma: bool
    clock: float | None
    wait_states: int | None
    timing: str | None
    stack: str | None
    trap_divide: bool
    budget: int | None
    profile: bool

    @property
    def given(self) -> list[str]:
        """The options that were used, as they are written."""
        unused = (None, False)
        values = self._asdict().items()
        return [f"--{name.replace('_', '-')}" for name, value in values if not any(value is x for x in unused)]


def command(run_folder: Callable[[Path, str | None, bool], None]) -> Callable[..., None]:
    """The command; ``run_folder(folder, compiler, as_json)`` runs a project that ``solve --out`` wrote."""

    def run_command(
        target: Annotated[
            Path,
            typer.Argument(
                metavar="FILE|DIR", show_default=False, help="An ELF program, or a folder that solve --out wrote."
            ),
        ],
        call: Annotated[
            str | None,
            option(_PANEL, "FUNCTION", "Call it, by name or address.  \\[default: run from reset]"),
        ] = None,
        until: Annotated[
            str | None,
            option(_PANEL, "FUNCTION", "Stop the run from reset where it begins, by name or address."),
        ] = None,
        args: Annotated[
            str | None,
            option(
                _PANEL,
                "X,Y,...",
                "What to call it with: integers (r0-r3, stack), floats with a point "
                "(s0-s15), symbols for their addresses.",
            ),
        ] = None,
        mcu_name: Annotated[
            str | None,
            option(
                _PANEL,
                "NAME|FILE",
                f"A preset (see memaopt mcus) or a .toml file.  \\[default: {MCU}]",
                "--mcu",
                autocompletion=presets,
            ),
        ] = None,
        setting: Annotated[
            str | None,
            option(
                _PANEL,
                "NAME",
                "Which caches and prefetch are on: a setting of the machine (see memaopt mcus).  \\[default: stock]",
            ),
        ] = None,
        dma: Annotated[
            bool, option(_PANEL, "", "With the machine's DMA, as its file has it (docs/board.md).", "--dma")
        ] = False,
        clock: Annotated[float | None, clock_option(_PANEL)] = None,
        wait_states: Annotated[int | None, wait_states_option(_PANEL)] = None,
        timing: Annotated[
            str | None,
            option(
                _PANEL, "RULE=CYCLES,...", "Change timing rules of the core, as in load=3 (docs/timing.md lists them)."
            ),
        ] = None,
        stack: Annotated[
            str | None,
            option(_PANEL, "SIZE", "Stack for --call.  \\[default: 16KiB, or what static data leave]"),
        ] = None,
        trap_divide: Annotated[
            bool,
            option(_PANEL, "", "Fault on division by zero, as with CCR.DIV_0_TRP set.", "--trap-divide"),
        ] = False,
        budget: Annotated[
            int | None,
            option(_PANEL, "N", "Stop with an error after so many instructions.  \\[default: 2000000000]", min=1),
        ] = None,
        profile: Annotated[
            bool,
            option(
                _PANEL, "", "Cycles by function, by basic block and, in the hottest loops, by instruction.", "--profile"
            ),
        ] = False,
        compiler: Annotated[
            str | None,
            option(
                "A folder", "gcc|zig", "What builds the C.  \\[default: gcc if arm-none-eabi-gcc is on PATH, else zig]"
            ),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Run a bare-metal Cortex-M4 program on the virtual board: cycles, accesses, stack, energy, profile.

        Given a folder that solve --out wrote: build it, run it, hold the accesses counted to those promised.

        \b
        Examples:
          memaopt run firmware.elf --profile
          memaopt run firmware.elf --until main
          memaopt run firmware.elf --call dot --args a,b,100
          memaopt run firmware.elf --call scale --args x,64,0.5 --json
          memaopt solve gemm 64x576x64 --out build/
          memaopt run build/
        """
        options = _Options(
            call, until, args, mcu_name, setting, dma, clock, wait_states, timing, stack, trap_divide, budget, profile
        )
        if not _is_program(target, options):
            if options.given:
                raise InputError(f"{target} is a folder: {', '.join(options.given)} can be used with an ELF file only")
            run_folder(target, compiler, as_json)
            return
        if target.suffix in (".tflite", ".onnx"):
            raise InputError(f"{target}: a model, and no program: memaopt solve {target} --run builds one and runs it")
        if target.suffix == ".json":
            raise InputError(f"{target}: no program: of a certificate give the folder that it is in")
        if compiler is not None:
            raise InputError(f"--compiler: {target} is not a folder, there is nothing to build")
        _run_program(target, options, as_json)

    return run_command


def _is_program(target: Path, options: _Options) -> bool:
    """Whether an ELF file is meant; of something that is not there its name and the options have to tell."""
    if target.exists():
        return not target.is_dir()
    return bool(target.suffix or options.given)


def _run_program(file: Path, options: _Options, as_json: bool) -> None:
    from memaopt.board import Board
    from memaopt.board.board import BUDGET
    from memaopt.board.elf import read_elf
    from memaopt.machines.mcu import mcu, parse_size
    from memaopt.report import console
    from memaopt.report import program as elf_report

    machine = mcu(options.mcu or MCU, options.setting or "stock", dma=options.dma)
    machine = clocked(machine, options.clock, options.wait_states)
    if options.call is None:
        for name, value in (("--args", options.args), ("--stack", options.stack)):
            if value is not None:
                raise InputError(f"{name} needs --call FUNCTION")
    elif options.until is not None:
        raise InputError("--until is for a run from reset: leave out --call")
    board = Board(
        machine,
        timing=_timing(options.timing),
        stack_bytes=None if options.stack is None else parse_size(options.stack),
        trap_divide=options.trap_divide,
    )
    image = read_elf(file)
    function = None if options.call is None else _function(image, "--call", options.call)
    until = None if options.until is None else _function(image, "--until", options.until)
    arguments = _arguments(image, options.args)
    start_board()
    board.load(image)
    budget = options.budget or BUDGET
    with console.spinner(f"running {file.name}"):
        if function is None:
            run = board.reset(until=until, max_instructions=budget, profile=options.profile)
        else:
            run = board.call(function, *arguments, max_instructions=budget, profile=options.profile)
    if as_json:
        console.print_json(_json(file, board.mcu, options, arguments, run))
    else:
        title = _title(file, options, board.vectors is not None)
        elf_report.print_run(console.stdout(), title, board.mcu, run, image.function_at(run.ended_at))
    if run.exit_code:
        raise typer.Exit(1)


def _timing(text: str | None) -> Any:
    """The rules of the core with those in ``load=3,store=2`` changed."""
    from memaopt.board import Timing

    rules = {}
    for part in _parts("--timing", text):
        name, equals, cycles = (word.strip() for word in part.partition("="))
        if not equals or not re.fullmatch(r"-?\d+", cycles):
            raise InputError(f"--timing {text}: {part!r} is not a rule and its cycles, as in load=3")
        rules[name] = int(cycles)
    return Timing.override(rules)


def _function(image: "Program", option: str, text: str) -> str | int:
    """What to call or to stop at: the name of a function or a label, or an address."""
    if _INTEGER.fullmatch(text):
        address = _integer(text)
        places = [(start, s.size) for s in image.segments for start in (s.address, s.load_address)]
        if not any(start <= address < start + size for start, size in places):
            raise InputError(f"{option} {text}: nothing of {image.name} is at that address")
        return address
    if text in image.symbols and not any(o.name == text for o in image.objects):
        return text
    what = "data, not a function" if text in image.symbols else "no such function"
    names = [f.name for f in image.functions]
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    some = f"it has {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it has no symbols"
    raise InputError(f"{option} {text}: {what} in {image.name}: {f'did you mean {near[0]}?' if near else some}")


def _arguments(image: "Program", text: str | None) -> list[int | float]:
    return [_argument(image, part) for part in _parts("--args", text)]


def _argument(image: "Program", text: str) -> int | float:
    """An integer, a float, or the address of a symbol (of a function with its Thumb bit, for a pointer to it)."""
    if _INTEGER.fullmatch(text):
        value = _integer(text)
        if not -(1 << 31) <= value < 1 << 32:
            raise InputError(f"--args: {text} does not fit 32 bits")
        return value
    if text in image.symbols:
        address = image.symbols[text]
        return address | any(f.address == address for f in image.functions)
    try:
        number = float(text)
    except ValueError:
        raise InputError(f"--args: {text!r} is neither a number nor a symbol of {image.name}") from None
    try:
        struct.pack("<f", number)
    except OverflowError:
        raise InputError(f"--args: {text} does not fit a float of 32 bits") from None
    return number


def _integer(text: str) -> int:
    digits = text.lstrip("+-").lower()
    value = int(digits, 0 if digits.startswith(("0x", "0b")) else 10)
    return -value if text.startswith("-") else value


def _parts(option: str, text: str | None) -> list[str]:
    """The parts of a list with commas, none of them empty."""
    parts = [part.strip() for part in text.split(",")] if text and text.strip() else []
    if not all(parts):
        raise InputError(f"{option} {text}: there is nothing between two commas, or at an end")
    return parts


def _title(file: Path, options: _Options, from_reset: bool) -> str:
    if options.call is None:
        return f"{file} from reset" if from_reset else f"{file} from its entry point (it has no vector table)"
    return f"{options.call}({', '.join(_parts('--args', options.args))}) in {file}"


def _json(file: Path, machine: "Mcu", options: _Options, arguments: list[int | float], run: "Run") -> dict[str, Any]:
    return {
        "program": str(file),
        "mcu": machine.name,
        "clock_hz": machine.clock_hz,
        "call": options.call,
        "arguments": [x if math.isfinite(x) else str(x) for x in arguments],
        **run.to_dict(),
    }
