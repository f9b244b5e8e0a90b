"""``memaopt check``: a user's own image held to a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaopt.cli.options import JsonOption
from memaopt.cli.warmup import start_board


def check_command(
    firmware: Annotated[Path, typer.Argument(metavar="FIRMWARE.elf", help="A linked image.", show_default=False)],
    certificate: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The certificate of the library in it, with its model beside."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Find a certified library in your own firmware, run it from reset, and say what is not as the certificate assumes.

    Exit 1 if anything is not. The image's own start-up code, linker script and settings are what runs.

    \b
    Example:
      memaopt check firmware.elf --certificate library/certificate.json
    """
    from memaopt.cli.plans import of_networks, plans_in
    from memaopt.report import console
    from memaopt.trials import firmware as trial

    plans = plans_in(certificate)
    start_board()
    with console.spinner(f"running {firmware.name} from reset"):
        found = trial.check_all(plans, firmware)
    if as_json:
        console.print_json(of_networks(found))
    else:
        for each in found:
            console.stdout().print(each.summary(), soft_wrap=True, markup=False, highlight=False)
    if not all(each.passed for each in found):
        raise typer.Exit(1)
