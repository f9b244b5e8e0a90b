"""The chip at hand: the options that say how it is reached."""

from __future__ import annotations

from typing import Annotated

import typer

from memaopt.cli.options import refuse

BAUD, SECONDS = 115200, 30.0

SerialOption = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="Read what a program of the chip sends by a serial port, as in /dev/ttyACM0."),
]
BaudOption = Annotated[int | None, typer.Option(metavar="N", min=1, help=f"Speed of the port.  \\[default: {BAUD}]")]
ProbeOption = Annotated[
    bool, typer.Option("--probe", metavar="", help="Write the firmware into the chip at a debug probe, and run it.")
]
SecondsOption = Annotated[
    float | None,
    typer.Option(metavar="N", min=0.1, help=f"How long to wait for the chip.  \\[default: {SECONDS:g}]"),
]


def refuse_idle(
    serial: str | None, probe: bool, baud: int | None, seconds: float | None, name: tuple[str, str | None]
) -> None:
    """InputError for an option of these without an effect; ``name``: the one of the chip's name, and its value."""
    refuse("--serial", ("--probe", serial is not None and probe, "give one of them"))
    refuse(
        "the virtual board", ("--seconds", seconds if serial is None and not probe else None, "nothing is waited for")
    )
    refuse("a run without --serial", ("--baud", baud if serial is None else None, "it is the port's"))
    refuse("a run without --probe", (name[0], None if probe else name[1], "it is the probe's"))
