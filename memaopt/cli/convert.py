"""``memaopt convert``: a float network made int8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaopt.cli.options import JsonOption


def convert_command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A float .tflite file, a Keras model, or a SavedModel's folder.", show_default=False
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DATA",
            help="What the network is given: .npz, .npy, .csv, a folder of pictures or of WAV files.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .tflite file that is written.", show_default=False)],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Classes, or real outputs: .npy or .csv.  \\[default: those of DATA]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """An int8 network of a float one, by samples of what it is given; and what of its accuracy that costs.

    Weights get a scale for each output channel, activations the range that they have on the samples; a hundred samples
    of the kind that the network meets later usually do. Weights of float16 or of a dynamic range are taken as they are.
    Of a Keras model or a SavedModel TensorFlow's converter makes int8, by the same samples (pip install
    'memaopt\\[tensorflow]').

    \b
    Examples:
      memaopt convert model.tflite --data calibration.npz --out model_int8.tflite
      memaopt convert model.keras --data calibration.npz --out model.tflite
      memaopt convert model.tflite --data pictures/ --out model_int8.tflite --json
    """
    from memaopt.report import console
    from memaopt.trials.conversion import convert
    from memaopt.writer import write_file

    with console.spinner(f"running {model.name} on {data.name}"):
        converted = convert(model, data, labels)
    write_file(out, converted.model.data)
    if as_json:
        console.print_json(converted.loss.to_dict())
    else:
        console.stdout().print(converted.loss.summary(), soft_wrap=True, markup=False, highlight=False)
