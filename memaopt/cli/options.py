"""Options that several commands have, and what is checked of them: one that has no effect is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from memaopt.cli.panels import option
from memaopt.errors import InputError
from memaopt.files import read_text
from memaopt.problems.words import AXES, FILLS

JsonOption = Annotated[bool, typer.Option("--json", metavar="", help="Nothing but JSON on stdout.")]
CompilerOption = Annotated[
    str | None,
    typer.Option(
        "--compiler",
        metavar="gcc|zig",
        help="What builds the C.  \\[default: gcc if arm-none-eabi-gcc is on PATH, else zig]",
    ),
]

StreamOption = Annotated[
    str | None,
    option(
        "Problem",
        "|".join(AXES),
        "A network's input is a window that slides along this axis: NAME_push() of the library takes new "
        "frames and computes what they change.",
        "--stream",
    ),
]
HopOption = Annotated[
    int | None,
    option("Problem", "N", "New frames a push.  \\[default: the least multiple of all strides along time]", "--hop"),
]
FillOption = Annotated[
    str | None,
    option(
        "Problem",
        "|".join(FILLS),
        "What the window holds before it is full: the input's zero point, or the first frame.  \\[default: zero]",
        "--fill",
    ),
]

PlaceOption = Annotated[
    str | None,
    option(
        "Problem",
        "X=MEMORY,...",
        "Where a network's weights, activations, input and output may live, as solve has it: weights=qspi, "
        "activations=fmc.  \\[default: all on the chip]",
        "--place",
    ),
]

CustomOption = Annotated[
    list[str],
    option(
        "Problem",
        "NAME=H[,C]",
        "A .tflite file's own operator NAME is the C function of that name in this header, and source: its tensors "
        "are planned, its cycles are in no figure; repeatable.",
        "--custom",
    ),
]
SubgraphOption = Annotated[
    str | None,
    option(
        "Problem",
        "NAME|N",
        "Which of a .tflite file's subgraphs the network is: its name, its signature's, or its number.  "
        "\\[default: the first]",
        "--subgraph",
    ),
]

_LABELS_BYTES = 1 << 20


def demand_packages(kinds: Sequence[str], out: Path | None) -> None:
    """InputError for an archive of a kind that there is not, or without a folder to write it into."""
    if not kinds:
        return
    from memaopt.emit import package

    if out is None:
        raise InputError(f"--package {kinds[0]} needs --out DIR, the folder that the archive is written into")
    for kind in kinds:
        package.demand_kind(kind)


def read_labels(file: Path | None, out: Path | None) -> tuple[str, ...]:
    """The lines of a file; InputError where there is no folder for the library that they go into."""
    if file is None:
        return ()
    if out is None:
        raise InputError("--labels has no effect without --out: they are part of the library")
    return tuple(read_text(file, _LABELS_BYTES).splitlines())


def percent(option: str, text: str | None) -> float | None:
    """The fraction that ``5%`` or ``5`` says, from 0 to 10; None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,4}(?:\.\d{1,6})?)\s*%?\s*", text)
    if match is None or float(match[1]) > 1000:
        raise InputError(f"{option} {text}: give a percentage from 0 to 1000, as in 5%")
    return float(match[1]) / 100


def refuse(what: str, *options: tuple[str, object, str]) -> None:
    """InputError for the first of ``options`` (name, value, why it has none) that was given without an effect.

    None, False and an empty list are what an option is that was not given.
    """
    for name, value, why in options:
        if value is not None and value is not False and value != []:
            raise InputError(f"{name} has no effect on {what}: {why}")
