"""``memaopt validate``: a network on samples of one's own."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memaopt import blas
from memaopt.cli.chip import BAUD, SECONDS, BaudOption, ProbeOption, SecondsOption, SerialOption, refuse_idle
from memaopt.cli.machine import McuOption
from memaopt.cli.options import CustomOption, JsonOption, refuse
from memaopt.cli.warmup import start_board
from memaopt.errors import InputError
from memaopt.problems.words import MCU

if TYPE_CHECKING:
    from memaopt.choice.network_plan import NetworkPlan
    from memaopt.networks.formats.model import Model
    from memaopt.trials.silicon import Exchange
    from memaopt.trials.target import SampleTarget


def validate_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite or .onnx file.", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Samples: .npz, .npy, .csv, a folder of pictures or of WAV files.", show_default=False
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Classes, or real outputs: .npy or .csv.  \\[default: those of DATA]"),
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Answers among which the right one may be.")] = 5,
    tflite: Annotated[
        bool, typer.Option("--tflite", metavar="", help="Compare every output with TFLite's reference kernels.")
    ] = False,
    library: Annotated[
        bool, typer.Option("--library", metavar="", help="Run the library's C, built for this computer, instead.")
    ] = False,
    board: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Run the first N samples on the virtual board too, layer by layer."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Run all samples by the firmware in a folder that solve --out wrote too: on the virtual board, on the "
            "chip with --probe, or by a program of yours with --serial.",
        ),
    ] = None,
    serial: SerialOption = None,
    baud: BaudOption = None,
    probe: ProbeOption = False,
    chip: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What pyOCD calls the chip.  \\[default: what the board says itself]"),
    ] = None,
    seconds: SecondsOption = None,
    custom: CustomOption = [],  # noqa: B006  # typer copies it
    pixels: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="What 0 and 255 stand for in pictures, as in -1:1.  \\[default: 0:1, -1:1, 0:255 or -128:127, "
            "whichever is nearest to what the input can say]",
        ),
    ] = None,
    mcu_name: McuOption = MCU,
    as_json: JsonOption = False,
) -> None:
    """Accuracy, confusion, errors of a network on your own samples, by the reference; of .tflite files TFLite's bits.

    Floats are quantised as the model says. An .npz holds the samples, and labels as y, labels, y_test or targets; the
    subfolders of a folder are classes, by their names. Exit 1 if an output is not TFLite's or the target's,
    or if the board differs.

    \b
    Examples:
      memaopt validate model.tflite test.npz --tflite
      memaopt validate model.tflite pictures/ --pixels -1:1 --top 3 --json
      memaopt validate model.tflite test.npz --board 5
      memaopt validate model.tflite test.npz --library
      memaopt validate model.tflite test.npz --target build/ --serial /dev/ttyACM0
    """
    blas.one_thread()  # before numpy is loaded: each process has a core of its own
    from memaopt.choice.compile import compile_network
    from memaopt.machines.mcu import mcu
    from memaopt.networks.custom_files import read_customs
    from memaopt.networks.formats.model import Model
    from memaopt.networks.reading import Wanted
    from memaopt.report import console
    from memaopt.trials import samples as files
    from memaopt.trials.validation import validate

    for option, value in (("--serial", serial), ("--probe", probe)):
        refuse("a run without --target", (option, value if target is None else None, "it is the target's"))
    unplanned = mcu_name if mcu_name != MCU and not library and board is None else None
    refuse("a run without --library and --board", ("--mcu", unplanned, "no kernel is chosen"))
    refuse_idle(serial, probe, baud, seconds, ("--chip", chip))
    read = Model.read(model, Wanted(read_customs(custom)))
    samples = files.read(data, read.graph.tensors[read.graph.inputs[0]], labels, _range(pixels))
    plan, machine = None, mcu(mcu_name)
    if library or board is not None:
        with console.spinner(f"choosing the kernels of {model.name}"):
            plan = compile_network(read, machine)
    library_plan = None if target is None else _plan_of(target, read)
    if board is not None or target is not None:
        start_board()
    with ExitStack() as open_ports, console.progress() as bar:
        at = None
        if target is not None and library_plan is not None:
            line = open_ports.enter_context(_line(serial, baud, seconds))
            at = _target(library_plan, target, line, (chip, seconds) if probe else None)
        task = bar.add_task("running the samples", total=len(samples.inputs) * (1 if at is None else 2))
        found = validate(
            read,
            samples,
            plan=plan,
            k=top,
            tflite=tflite,
            board=board or 0,
            library=library,
            target=at,
            done=lambda count: bar.advance(task, count),
        )
    if as_json:
        console.print_json({**found.to_dict(), "passed": found.passed})
    else:
        console.stdout().print(found.summary(), soft_wrap=True, markup=False, highlight=False)
    if not found.passed:
        raise typer.Exit(1)


def _plan_of(folder: Path, model: Model) -> NetworkPlan:
    """The plan of the library in a folder; InputError unless it is of this model."""
    from memaopt.cli.plans import plans_in

    plans = plans_in(folder)
    if len(plans) != 1 or plans[0].model is None or _which(plans[0].model) != _which(model):
        raise InputError(f"--target {folder}: is not a library of this model alone")
    return plans[0]


def _which(model: Model) -> tuple[str, str]:
    return model.sha256, model.subgraph


def _line(serial: str | None, baud: int | None, seconds: float | None) -> AbstractContextManager[Exchange | None]:
    from memaopt.trials import silicon

    return nullcontext() if serial is None else silicon.serial_line(serial, baud or BAUD, seconds or SECONDS)


def _target(
    plan: NetworkPlan, folder: Path, line: Exchange | None, probe: tuple[str | None, float | None] | None
) -> SampleTarget:
    """Where samples run: at a line, at a probe (the chip's name, and seconds to wait), else on the virtual board."""
    from memaopt.trials import silicon
    from memaopt.trials.target import by_firmware, by_line

    if line is not None:
        return by_line(plan, line)
    serve = None if probe is None else partial(silicon.by_probe, target=probe[0], seconds=probe[1] or SECONDS)
    return by_firmware(plan, folder, serve)


def _range(text: str | None) -> tuple[float, float] | None:
    """The two numbers in ``-1:1``; None stays None."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = 0.0, 0.0
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1])) or ends[0] >= ends[1]:
        raise InputError(f"--pixels {text}: give what 0 and 255 stand for, as in -1:1")
    return ends
