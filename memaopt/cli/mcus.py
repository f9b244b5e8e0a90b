"""``memaopt mcus``: the machines that there are."""

import sys
from importlib import resources
from typing import Annotated

import typer

from memaopt.cli.completion import presets
from memaopt.cli.options import JsonOption, refuse


def mcus_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", autocompletion=presets, help="Print this preset as TOML.", show_default=False),
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
    from memaopt.report.machines import print_machines

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
        print_machines(console.stdout(), machines)
