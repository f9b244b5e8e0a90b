"""``memaopt fit``: which chip do these networks fit, how fast, with what left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memaopt.cli.completion import presets
from memaopt.cli.machine import ClockOption, DmaOption, clocked
from memaopt.cli.options import CustomOption, FillOption, HopOption, JsonOption, PlaceOption, StreamOption, refuse
from memaopt.cli.sweep import SchedulerOption, WorkersOption
from memaopt.errors import InputError

if TYPE_CHECKING:
    from memaopt.choice.placement import NetworkPlacement
    from memaopt.machines.mcu import Mcu

_MS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
_MJ = {"mJ": 1.0, "uJ": 1e-3, "J": 1e3}


def fit_command(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help=".tflite or .onnx files.", show_default=False)
    ],
    mcus: Annotated[
        list[str],
        typer.Option(
            "--mcus",
            metavar="NAME|FILE|all",
            autocompletion=presets,
            help="Presets (memaopt mcus), files; repeatable.",
        ),
    ] = ["all"],  # noqa: B006  # typer copies it
    setting: Annotated[str, typer.Option(metavar="NAME|all", help="The project that each chip is used in.")] = "stock",
    dma: DmaOption = False,
    clock: ClockOption = None,
    latency: Annotated[str | None, typer.Option(metavar="TIME", help="What an inference may take, as in 50ms.")] = None,
    energy: Annotated[str | None, typer.Option(metavar="ENERGY", help="What it may take, as in 2mJ, modelled.")] = None,
    stream: StreamOption = None,
    hop: HopOption = None,
    fill: FillOption = None,
    place: PlaceOption = None,
    custom: CustomOption = [],  # noqa: B006  # typer copies it
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page of HTML too.")] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which chip? Each network's fastest library on each, what it leaves free, and what would do where none fits.

    Exit 1 if there is a network that no chip fits within what is demanded.

    \b
    Examples:
      memaopt fit model.tflite --latency 50ms
      memaopt fit a.tflite b.tflite --mcus stm32f446 --mcus my.toml
      memaopt fit model.tflite --setting all --html fit.html
      memaopt fit tcn.tflite --stream rows --latency 2ms
      memaopt fit large.tflite --place weights=auto,activations=auto
      memaopt fit large.tflite --mcus stm32l4s5 --place weights=qspi --dma
    """
    from memaopt.choice.customs import refuse_with_customs
    from memaopt.choice.placement import NetworkPlacement
    from memaopt.networks.custom_files import read_customs
    from memaopt.networks.formats.model import examine_bytes, read_file
    from memaopt.networks.reading import Wanted
    from memaopt.networks.streaming.window import Stream, streamed
    from memaopt.report import console
    from memaopt.report import fit as report
    from memaopt.sweeps import fit, pools
    from memaopt.writer import write_file

    limits = fit.Limits(
        None if latency is None else fit.amount(latency, _MS, "--latency"),
        None if energy is None else fit.amount(energy, _MJ, "--energy"),
    )
    slides, placement = Stream.asked(stream, hop, fill), NetworkPlacement.asked(place)
    placement.demand_whole(stream=slides is not None)
    models = list(dict.fromkeys(models))
    refuse("fit of several models", ("--custom", custom if len(models) > 1 else None, "it is of one model's operators"))
    codes = read_customs(custom)
    names = Counter(path.name for path in models)
    files = []
    if page in models:
        raise InputError(f"--html {page}: that is a model; choose another file")
    for path in models:
        data = read_file(path)
        read = examine_bytes(data, path, Wanted(codes))  # a file that is no model is refused once, not on each chip
        if slides is not None:
            streamed(read.graph, slides)  # as is one that is no stream
        name = path.name if names[path.name] == 1 else str(path)
        refuse_with_customs(read.graph, stream=slides is not None, tensors=placement.of_tensors)
        files.append(fit.ModelFile(name, data, slides, codes, placement))
    chips, left_out = _chips(mcus, clock, dma=dma)
    settings = [[each.name for each in chip.settings] if setting == "all" else [setting] for chip in chips]
    machines = [chip.in_setting(name) for chip, names in zip(chips, settings, strict=True) for name in names]
    _demand_a_memory(placement, machines)
    for told in left_out:
        console.stderr().print(told, soft_wrap=True)
    found = []
    with pools.workers_of(scheduler, workers) as pool, console.timed_progress() as bar:
        task = bar.add_task("fitting", total=len(files) * len(machines), rate="")
        for each in fit.fits(pool, files, machines, limits):
            found.append(each)
            bar.advance(task)
    if as_json:
        console.print_json([each.model_dump(mode="json") for each in found])
    else:
        report.print_fits(console.stdout(), found)
    if page is not None:  # last: what took minutes is told, also where this cannot be written
        write_file(page, report.html(found).encode())
    if {each.model for each in found if each.verdict == "fits"} != {file.name for file in files}:
        raise typer.Exit(1)


def _chips(names: Sequence[str], clock: float | None, *, dma: bool) -> tuple[list[Mcu], list[str]]:
    """The chips of these names; of ``all`` those with what is asked for, and lines of text of those without."""
    from memaopt.machines.mcu import dma_of, mcu, preset_names

    chips: list[Mcu] = []
    clockless: list[str] = []
    without_dma: list[str] = []
    for given in names:
        for name in preset_names() if given == "all" else [given]:
            if given == "all" and dma and dma_of(name) is None:
                without_dma.append(name)
                continue
            try:
                chips.append(clocked(mcu(name, dma=dma), clock, None))
            except InputError:
                if given != "all":
                    raise
                clockless.append(name)
    if not chips:
        raise InputError(f"--clock {clock}: no preset{' with a DMA' * dma} has that clock")
    lacking = ((without_dma, "a DMA"), (clockless, f"a clock of {clock} MHz"))
    return chips, [f"left out, without {what}: {', '.join(those)}" for those, what in lacking if those]


def _demand_a_memory(placement: NetworkPlacement, machines: Sequence[Mcu]) -> None:
    """InputError, the first machine's, if none has what is placed somewhere."""
    from memaopt.choice.placement import sites

    refused = []
    for machine in machines:
        try:
            sites(placement, machine)
        except InputError as error:
            refused.append(error)
    if len(refused) == len(machines):
        raise refused[0]
