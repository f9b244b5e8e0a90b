"""``memaopt measure``: a library's firmware on the virtual board, and on the chip at hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from memaopt.cli.chip import BAUD, SECONDS, BaudOption, ProbeOption, SecondsOption, SerialOption, refuse_idle
from memaopt.cli.options import CompilerOption, JsonOption, refuse
from memaopt.cli.warmup import start_board


def measure_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that solve --out wrote.", show_default=False)],
    virtual: Annotated[
        bool, typer.Option("--virtual", metavar="", help="On the virtual board alone, which is what it does otherwise.")
    ] = False,
    serial: SerialOption = None,
    baud: BaudOption = None,
    probe: ProbeOption = False,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What pyOCD calls the chip.  \\[default: what the board says itself]"),
    ] = None,
    seconds: SecondsOption = None,
    compiler: CompilerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a library's firmware: cycles promised, on the virtual board and on silicon, layer by layer.

    Every layer's output is compared with the reference's, by its checksum, the network's byte by byte. Exit 1 if one
    differs. The same image runs on the virtual board and, with --probe, on the chip. With --serial any program of the
    chip does that calls NAME_report() of extras/NAME_measure.h and sends what it prints.

    \b
    Examples:
      memaopt measure build/
      memaopt measure build/ --probe --target stm32l4r5zitx
      memaopt measure build/ --serial /dev/ttyACM0 --json
    """
    from memaopt.api import read
    from memaopt.certificates.gemm import Certificate
    from memaopt.cli.plans import of_networks, plans_of
    from memaopt.emit import gemm
    from memaopt.report import console
    from memaopt.report import measurement as report
    from memaopt.trials import readout, silicon
    from memaopt.trials.measurement import Measurement, measure_all, measure_gemm

    refuse("--virtual", ("--serial", serial if virtual else None, "it is for a chip"))
    refuse("--virtual", ("--probe", virtual and probe, "it is for a chip"))
    refuse_idle(serial, probe, baud, seconds, ("--target", target))
    signed = read(folder)
    product = signed if isinstance(signed, Certificate) else None
    plans = plans_of(signed, folder) if product is None else ()
    calls = [(plan.name, len(plan.layers)) for plan in plans] if product is None else [(gemm.name_of(product), 0)]
    start_board()
    patience = seconds or SECONDS

    def at_port(_: Path) -> str:
        def enough(text: str) -> bool:
            return all(readout.read(text, name, layers) is not None for name, layers in calls)

        return silicon.by_serial(str(serial), baud or BAUD, enough, patience)

    at_probe = partial(silicon.by_probe, target=target, seconds=patience)
    with console.spinner("running the firmware"):
        chip = at_probe if probe else at_port if serial else None
        if product is not None:
            found: tuple[Measurement, ...] = (measure_gemm(product, folder, chip, compiler=compiler),)
        else:
            found = measure_all(plans, folder, chip, compiler=compiler)
    if as_json:
        console.print_json(of_networks(found))
    else:
        for each in found:
            report.print_measurement(console.stdout(), each)
    if not all(each.passed for each in found):
        raise typer.Exit(1)
