"""``memaopt validate``: a network on samples of one's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from memaopt import blas
from memaopt.cli.completion import presets
from memaopt.cli.options import JsonOption
from memaopt.cli.warmup import start_board
from memaopt.errors import InputError


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
    pixels: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="What 0 and 255 stand for in pictures, as in -1:1.  \\[default: 0:1, -1:1, 0:255 or -128:127, "
            "whichever is nearest to what the input can say]",
        ),
    ] = None,
    mcu_name: Annotated[
        str,
        typer.Option(
            "--mcu", metavar="NAME|FILE", autocompletion=presets, help="A preset (see memaopt mcus) or a .toml file."
        ),
    ] = "stm32l4r5",
    as_json: JsonOption = False,
) -> None:
    """Accuracy, confusion, errors of a network on your own samples, by the reference: TFLite's arithmetic, bit for bit.

    Floats are quantised as the model says. An .npz holds the samples, and labels as y, labels, y_test or targets; the
    subfolders of a folder are classes, by their names. Exit 1 if an output is not TFLite's, or if the board differs.

    \b
    Examples:
      memaopt validate model.tflite test.npz --tflite
      memaopt validate model.tflite pictures/ --pixels -1:1 --top 3 --json
      memaopt validate model.tflite test.npz --board 5
      memaopt validate model.tflite test.npz --library
    """
    blas.one_thread()  # before numpy is loaded: each process has a core of its own
    from memaopt.choice.compile import compile_network
    from memaopt.machines.mcu import mcu
    from memaopt.networks.formats.model import Model
    from memaopt.report import console
    from memaopt.trials import samples as files
    from memaopt.trials.validation import validate

    read = Model.read(model)
    samples = files.read(data, read.graph.tensors[read.graph.inputs[0]], labels, _range(pixels))
    plan, machine = None, mcu(mcu_name)
    if library or board is not None:
        with console.spinner(f"choosing the kernels of {model.name}"):
            plan = compile_network(read, machine)
    if board is not None:
        start_board()
    with console.progress() as bar:
        task = bar.add_task("running the samples", total=len(samples.inputs))
        found = validate(
            read,
            samples,
            plan=plan,
            k=top,
            tflite=tflite,
            board=board or 0,
            library=library,
            done=lambda count: bar.advance(task, count),
        )
    if as_json:
        console.print_json({**found.to_dict(), "passed": found.passed})
    else:
        console.stdout().print(found.summary(), soft_wrap=True, markup=False, highlight=False)
    if not found.passed:
        raise typer.Exit(1)


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
