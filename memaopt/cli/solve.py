"""``memaopt solve``: the best schedule of a gemm, or the best kernels of a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memaopt.cli import network as network_cli
from memaopt.cli.completion import words
from memaopt.cli.machine import (
    ArenaOption,
    ClockOption,
    CodeInRamOption,
    ConstantsInRamOption,
    DmaOption,
    FlashOption,
    McuOption,
    SettingOption,
    SizeOption,
    SramOption,
    WaitStatesOption,
    WithinOption,
    clocked,
    is_of,
    machine_of,
    size_of,
)
from memaopt.cli.options import (
    CompilerOption,
    CustomOption,
    FillOption,
    HopOption,
    JsonOption,
    StreamOption,
    SubgraphOption,
    demand_packages,
    percent,
    read_labels,
    refuse,
)
from memaopt.cli.panels import option
from memaopt.errors import InputError
from memaopt.problems import suites
from memaopt.problems.dtypes import DTYPES
from memaopt.problems.words import BUFFERINGS, MCU, OBJECTIVES, PROOFS, TAKEN

if TYPE_CHECKING:
    from memaopt.machines.mcu import Mcu


def solve_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="gemm MxKxN|MODEL...",
            help="The problem and its sizes, or a network: a .tflite or .onnx file. Several become one library.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        option(
            "Problem",
            "|".join(DTYPES),
            "Element type and arithmetic of a gemm.  \\[default: q15]",
            autocompletion=words(DTYPES),
        ),
    ] = None,
    place: Annotated[
        str | None,
        option(
            "Problem",
            "X=MEMORY,...",
            "Where A, B and C live, as in a=qspi,b=sram or all=qspi; where a network's weights and activations "
            "do, as in weights=qspi or activations=fmc (auto: the first memory that can hold them, where that suits); "
            "parameters=qspi: biases and factors of the rounding there too, which else may stay in flash; input=fmc, "
            "output=fmc: the network's inputs or outputs, which else are outside where nothing fits and activations "
            "may be.  \\[default: A in flash, B and C in sram, what does not fit in external memory; a network's "
            "weights in flash, all else in sram]",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        option(
            "Problem",
            "FILE|argument",
            "A and the channels' parameters of an s8 gemm: constants from a .json file, or arguments of the "
            "function.  \\[default: random constants]",
        ),
    ] = None,
    suite: Annotated[
        str | None,
        option(
            "Problem", "|".join(suites.SUITES), "A named set of problems.", autocompletion=words(tuple(suites.SUITES))
        ),
    ] = None,
    file: Annotated[
        Path | None,
        option("Problem", "TOML", "A file with many problems."),
    ] = None,
    mcu_name: McuOption = MCU,
    sram: SramOption = None,
    size: SizeOption = [],  # noqa: B006  # typer copies it
    clock: ClockOption = None,
    wait_states: WaitStatesOption = None,
    setting: SettingOption = "stock",
    ram_for_constants: ConstantsInRamOption = None,
    dma: DmaOption = False,
    ram_for_code: CodeInRamOption = None,
    flash: FlashOption = None,
    arena: ArenaOption = None,
    within: WithinOption = None,
    objective: Annotated[
        str | None,
        option(
            "Schedule",
            "|".join((*OBJECTIVES, "ram")),
            "What to minimise, or weights such as 4*cycles + 1*qspi.  \\[default: bytes; cycles for a network]",
            autocompletion=words((*OBJECTIVES, "ram")),
        ),
    ] = None,
    buffering: Annotated[
        str | None,
        option(
            "Schedule",
            "|".join(BUFFERINGS),
            "Buffers for each SRAM tile of a gemm.  \\[default: single]",
            autocompletion=words(BUFFERINGS),
        ),
    ] = None,
    proof: Annotated[
        str | None,
        option(
            "Schedule",
            "|".join(f"'{each}'" if " " in each else each for each in PROOFS),
            "What proves a gemm's schedule: three models that agree, or one alone.  \\[default: full]",
        ),
    ] = None,
    names: Annotated[
        str | None,
        option("Problem", "A,B,...", "What several networks of one library are called.  \\[default: as their files]"),
    ] = None,
    stream: StreamOption = None,
    hop: HopOption = None,
    fill: FillOption = None,
    taken: Annotated[
        str | None,
        option(
            "Problem",
            "|".join(TAKEN),
            "How a network takes its input: whole, or an image by rows as they arrive, which NAME_feed() of the "
            "library consumes and nobody keeps.  \\[default: whole]",
            "--input",
        ),
    ] = None,
    custom: CustomOption = [],  # noqa: B006  # typer copies it
    subgraph: SubgraphOption = None,
    out: Annotated[
        Path | None,
        option("Output", "DIR", "Write the C project and the certificate there."),
    ] = None,
    report: Annotated[
        Path | None,
        option("Output", "FILE", "Write the report there as one page of HTML (--out writes it too, as report.html)."),
    ] = None,
    labels: Annotated[
        Path | None,
        option(
            "Output",
            "FILE",
            "What the elements of a network's output stand for, a line each: NAME_label() of the library says it.",
        ),
    ] = None,
    package: Annotated[
        list[str],
        option(
            "Output",
            "KIND",
            "Write into DIR, instead of the project itself, the archive that arduino, zephyr, platformio, "
            "cmsis-pack or cmake installs; repeatable.",
        ),
    ] = [],  # noqa: B006
    run: Annotated[
        bool,
        option("Output", "", "Build the C, run it on the virtual board, count its accesses.", "--run"),
    ] = False,
    inputs: Annotated[
        str | None,
        option(
            "Output",
            "random:N|FILE",
            "What --run tries on a network: random inputs, or samples as validate reads them.  "
            "\\[default: random:1; of a stream, pushes beyond a full window]",
        ),
    ] = None,
    compiler: CompilerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best schedule of a gemm or the best kernels of a network, prove it, and write (and run) the C.

    \b
    Examples:
      memaopt solve gemm 64x576x64 --dtype q15 --mcu stm32l4r5 --run
      memaopt solve gemm 256x256x256 --place all=qspi --sram 32KiB --out build/
      memaopt solve gemm 64x64x125 --dtype s8 --weights argument
      memaopt solve --suite tinyml --dtype s8 --run --json
      memaopt solve --file problems.toml --objective cycles
      memaopt solve model.tflite --mcu stm32l4r5 --out build/ --run
      memaopt solve model.onnx --setting ram --out build/
      memaopt solve model.tflite --mcu stm32l4r5 --clock 80
      memaopt solve model.tflite --mcu nrf52840 --place weights=qspi --run
      memaopt solve model.tflite --mcu stm32l4s5 --place weights=qspi --dma --run
      memaopt solve model.tflite --mcu stm32f469 --place activations=fmc --run
      memaopt solve model.tflite --package arduino --out dist/
      memaopt solve tcn.tflite --stream rows --hop 1 --run
      memaopt solve camera.tflite --input rows --arena 16KiB --run
      memaopt solve wake.tflite door.tflite --stream wake=rows --out library/
      memaopt solve own.tflite --custom Rasp=rasp.h,rasp.c --run
    """
    named = what[0] if what and len(what) == 1 and suite is None and file is None else ""
    model = named if _is_model(named) else None
    # What a network's library may take is no size of the chip's.
    several = what if what and len(what) > 1 and suite is None and file is None and all(map(_is_model, what)) else None
    limits = [] if model or several else [f"{name}={text}" for name, text in (("sram", sram), ("flash", flash)) if text]
    machine = machine_of(mcu_name, setting, [*size, *limits], dma=dma)
    machine = machine.with_ram(code=size_of(ram_for_code), constants=size_of(ram_for_constants))
    machine = clocked(machine, clock, wait_states)
    demand_packages(package, out)
    if inputs is not None and not run:
        raise InputError("--inputs has no effect without --run")
    if model or several:
        refuse(
            "a network",
            ("--dtype", dtype, "its element types are those of the file"),
            ("--weights", weights, "its weights are those of the file"),
            ("--buffering", buffering, "its layers copy nothing block by block"),
            ("--within", within if arena else None, "--arena bounds its arena already"),
            ("--proof", proof, "its choice says itself how it was proven"),
            *_unused(size, place, machine),
        )
    budgets = {"sram": size_of(sram), "flash": size_of(flash), "arena": size_of(arena)}
    if several:
        from memaopt.cli import bundle as bundle_cli

        apart = "solve that network by itself"
        refuse(
            "several networks in one library",
            ("--input", taken, f"it is for one with an image: {apart}"),
            ("--labels", labels, f"they are of one output: {apart}"),
            ("--custom", custom, f"they have no C of yours: {apart}"),
            ("--subgraph", subgraph, f"each is its file's first: {apart}"),
        )
        bundle_cli.solve(
            several,
            machine,
            objective,
            names=names,
            out=out,
            packages=package,
            run=run,
            inputs=inputs,
            compiler=compiler,
            as_json=as_json,
            budgets=budgets,
            within=percent("--within", within),
            stream=(stream, hop, fill),
            place=place,
            report=report,
        )
        return
    refuse("one problem", ("--names", names, "it is for several networks in one library"))
    if model:
        network_cli.solve(
            model,
            machine,
            objective,
            out=out,
            packages=package,
            labels=read_labels(labels, out),
            run=run,
            inputs=inputs,
            stream=(stream, hop, fill),
            taken=taken,
            compiler=compiler,
            as_json=as_json,
            budgets=budgets,
            within=percent("--within", within),
            place=place,
            custom=custom,
            subgraph=subgraph,
            report=report,
        )
        return
    from memaopt.cli import gemm as gemm_cli

    refuse(
        "a gemm",
        ("--arena", arena, "it has no arena, see --sram"),
        ("--dma", dma, "its blocks are copied by the core"),
        ("--within", within, "it has no arena"),
        ("--labels", labels, "its result is a matrix"),
        ("--inputs", inputs, "it runs on inputs of its own"),
        ("--input", taken, "its operands are whole"),
        ("--custom", custom, "it has no operators"),
        ("--subgraph", subgraph, "it is in no file"),
        *(
            (f"--{name}", value, "it has no window")
            for name, value in (("stream", stream), ("hop", hop), ("fill", fill))
        ),
        ("--ram-for-constants", ram_for_constants, "its weights are staged block by block, or streamed"),
        ("--compiler", None if run else compiler, "nothing is built without --run"),
    )
    fields: dict[str, Any] = {"dtype": dtype, "placement": None if place is None else gemm_cli.placement(place)}
    if weights is not None:
        fields["weights"] = gemm_cli.weights(weights)
    given = {name: value for name, value in fields.items() if value is not None}
    sized = frozenset(text.partition("=")[0] for text in [*size, *(["flash"] if flash else [])])
    gemm_cli.solve(
        gemm_cli.problems_of(what or [], suite, file, given),
        machine,
        objective or "bytes",
        buffering or "single",
        proof=proof or "full",
        out=out,
        packages=package,
        run=run,
        compiler=compiler,
        as_json=as_json,
        asked=gemm_cli.Asked(machine_of(mcu_name, setting, limits[: bool(sram)]), sized, buffering, ram_for_code),
        page=report,
    )


def _unused(sizes: list[str], place: str | None, machine: "Mcu") -> Iterator[tuple[str, str, str]]:
    """The sizes that were given of memories which a network does not use, and why each is refused."""
    if all(is_of(text, "flash", "sram") for text in sizes):
        return
    from memaopt.choice.placement import NetworkPlacement, sites

    where = sites(NetworkPlacement.asked(place), machine)
    used = ["flash", "sram", *dict.fromkeys(each.name for each in (where.outside, where.tensors) if each is not None)]
    for text in sizes:
        if not is_of(text, *used):
            yield "--size", text, f"it uses {', '.join(used[:-1])} and {used[-1]} alone"


def _is_model(named: str) -> bool:
    """Whether a word is a network's file, there or not, and not the beginning of a product's sizes."""
    return bool(named) and (bool(Path(named).suffix) or Path(named).exists())
