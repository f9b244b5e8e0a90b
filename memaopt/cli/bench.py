"""``memaopt bench``: run the comparison, print it, write it."""

import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from memaopt.cli.bench_studies import (
    study_certified,
    study_cliffs,
    study_heat,
    study_network_traffic,
    study_networks,
    study_operators,
    study_places,
    study_tiles,
    study_waits,
)
from memaopt.cli.completion import presets, words
from memaopt.cli.options import CompilerOption, JsonOption, refuse
from memaopt.cli.panels import option
from memaopt.errors import InputError, MissingToolError
from memaopt.problems.dtypes import DTYPES, Dtype
from memaopt.problems.suites import TINYML
from memaopt.problems.words import MCU

SECTIONS = ("layers", "squares", "search", "traffic")
_INSTEAD = "Other studies, instead"
_SETTING = "stock"
_WITHIN, _COUNT, _SEED = 1.15, 200, 0


def bench_command(
    sections: Annotated[
        list[str] | None,
        typer.Argument(metavar="|".join(SECTIONS), help="What is compared.  \\[default: all]", show_default=False),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(DTYPES),
            autocompletion=words(DTYPES),
            help="Element type and arithmetic; repeatable.  \\[default: all]",
        ),
    ] = None,
    mcu_name: Annotated[
        str | None,
        typer.Option(
            "--mcu",
            metavar="NAME|FILE",
            autocompletion=presets,
            help=f"A preset (see memaopt mcus) or a .toml file.  \\[default: {MCU}]",
        ),
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"The project that the machine is used in.  \\[default: {_SETTING}]"),
    ] = None,
    wait_states: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Of the flash; 0: of no memory.  \\[default: the chip's own, beside none]"
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="MxKxN", help="A product instead of the paper's 20 layers; repeatable."),
    ] = None,
    compiler: CompilerOption = None,
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Write PNG and SVG plots there.")] = None,
    tiles: Annotated[
        bool,
        option(_INSTEAD, "", "Every register tile: is the chosen one best?", "--tiles"),
    ] = False,
    within: Annotated[
        float | None,
        option(
            _INSTEAD,
            "FACTOR",
            f"With --tiles: only those predicted within it of the chosen one.  \\[default: {_WITHIN}]",
            min=1,
        ),
    ] = None,
    places: Annotated[
        bool,
        option(_INSTEAD, "", "Weights staged and streamed, code in flash and in RAM.", "--places"),
    ] = False,
    network: Annotated[
        str | None,
        option(
            _INSTEAD,
            "FILE|NAME",
            "With traffic: of a .tflite or .onnx file, or a network of the zoo, layer by layer from outside SRAM.",
        ),
    ] = None,
    sram: Annotated[
        list[str] | None,
        option(
            _INSTEAD, "SIZE", "With --network: a size of SRAM, as in 32KiB; repeatable.  \\[default: 4KiB to 256KiB]"
        ),
    ] = None,
    suite: Annotated[
        str | None,
        option(_INSTEAD, "mlperf-tiny", "The four networks, whole, on several machines."),
    ] = None,
    models: Annotated[
        Path | None,
        option(
            _INSTEAD, "DIR", "With --suite: MLPerf Tiny's models.  \\[default: MEMAOPT_MODELS, else seeded weights]"
        ),
    ] = None,
    layers: Annotated[
        bool,
        option(_INSTEAD, "", "With --suite or --network: every layer too.", "--layers"),
    ] = False,
    waits: Annotated[
        bool,
        option(_INSTEAD, "", "Random layers and GEMMs, predicted and counted in every setting.", "--waits"),
    ] = False,
    cmsis_nn: Annotated[
        Path | None, typer.Option("--cmsis-nn", metavar="DIR", help="A checkout of CMSIS-NN: its 1x1 convolution, too.")
    ] = None,
    study: Annotated[
        str | None,
        option(
            _INSTEAD,
            "bandwidth|shapes|rows",
            "By certificates alone: throttled bandwidth, skewed shapes, rows of zeros.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        option(
            _INSTEAD,
            "N",
            f"With --waits: how many layers, and GEMMs.  \\[default: {_COUNT}]  With --cliffs: random layers instead.",
            min=1,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        option(_INSTEAD, "N", f"Of the random layers and GEMMs.  \\[default: {_SEED}]", min=0),
    ] = None,
    cliffs: Annotated[
        bool,
        option(_INSTEAD, "", "Layers at the edges of the kernels: cycles for each product.", "--cliffs"),
    ] = False,
    operators: Annotated[
        bool,
        option(_INSTEAD, "", "One of each operator and type: cycles an element, or a product.", "--operators"),
    ] = False,
    heat: Annotated[
        bool,
        option(
            _INSTEAD,
            "",
            "Convolutions by channels in and out, window, stride: cycles for each product, as a map.",
            "--heat",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare with naive, inner-product and the MEMA paper's kernels, CMSIS-DSP, and search-based tilers.

    Everything runs on the same virtual board, built by the same compiler. CMSIS-DSP is fetched by pip, once.

    \b
    Examples:
      memaopt bench
      memaopt bench layers --dtype q15 --plots plots/
      memaopt bench --wait-states 0 --json
      memaopt bench --suite mlperf-tiny --layers
      memaopt bench traffic --network model.tflite --sram 32KiB --layers
      memaopt bench --waits --mcu stm32f446 --count 50
      memaopt bench --heat --plots plots/
      memaopt bench --operators --json
      memaopt bench --study bandwidth --dtype q15 --plots plots/
    """
    studies = {"--tiles": tiles, "--places": places, "--waits": waits, "--cliffs": cliffs, "--heat": heat}
    studies |= {"--operators": operators}
    if study is not None:
        others: dict[str, object] = {**studies, "--suite": suite, "--network": network, "a section": sections}
        others |= {"--layer": layer, "--compiler": compiler, "--cmsis-nn": cmsis_nn}
        why = "it has its own products and runs nothing"
        refuse("bench --study", *((name, wanted, why) for name, wanted in others.items()))
    random = waits or (cliffs and count is not None)
    studied = next((name for name, wanted in studies.items() if wanted), None)
    refuse(
        f"bench {'--suite' if suite is not None else '--network' if network is not None else studied or ''}".strip(),
        *(
            ()
            if suite is None
            else (
                ("a section", sections, "it compares networks"),
                ("--dtype", dtype, "networks are int8"),
                ("--mcu", mcu_name, "its machines are fixed"),
                ("--setting", setting, "its settings are fixed"),
                ("--wait-states", wait_states, "its settings are fixed"),
                ("--layer", layer, "it runs whole networks"),
                ("--plots", plots, "it draws none"),
                ("--network", network, "its networks are fixed"),
                ("another study", studied, "one study at a time"),
            )
        ),
        *(
            ()
            if suite is not None
            else (
                ("--models", models, "they are for --suite"),
                ("--layers", layers and network is None, "it is for --suite and --network"),
            )
        ),
        *(
            (("--sram", sram, "it is for --network"),)
            if network is None
            else (
                ("--dtype", dtype, "networks are int8"),
                ("--mcu", mcu_name, "it takes sizes of SRAM"),
                ("--setting", setting, "nothing runs"),
                ("--wait-states", wait_states, "nothing runs"),
                ("--layer", layer, "it takes a whole network"),
                ("--compiler", compiler, "nothing runs"),
                ("another study", studied, "one study at a time"),
            )
        ),
        *(
            ()
            if studied is None
            else (
                ("a section", sections, "it is a study of its own"),
                ("--plots", None if heat else plots, "it draws none"),
                *((name, wanted and name != studied, "one study at a time") for name, wanted in studies.items()),
            )
        ),
        *(
            ()
            if not (waits or cliffs or heat or operators)
            else (
                ("--dtype", dtype, "it runs what it has"),
                ("--layer", layer, "it has its own"),
                ("--setting", setting, "it has its own"),
                ("--wait-states", wait_states, "it has its own"),
            )
        ),
        ("--layer", layer and sections and set(sections) <= {"squares", "traffic"}, "it is for layers and search"),
        ("--cmsis-nn", cmsis_nn if suite is not None or studied is not None else None, "it compares no products"),
        ("--within", None if tiles else within, "it is for --tiles"),
        ("--count", None if waits or cliffs else count, "it is for --waits and --cliffs"),
        ("--seed", None if random else seed, "it is for --waits, and for --cliffs with --count"),
    )
    if suite is not None:
        study_networks(suite, models, layers, compiler, as_json)
        return
    if network is not None:
        if sections != ["traffic"]:
            raise InputError("bench --network is a study of traffic: bench traffic --network")
        study_network_traffic(network, sram or [], plots, layers, as_json)
        return
    from memaopt.machines.mcu import mcu
    from memaopt.report import console

    if study is not None:
        machine = mcu(mcu_name or MCU, setting or _SETTING)
        machine = machine if wait_states is None else machine.with_wait_states(wait_states)
        study_certified(study, machine, _dtypes(dtype or []), plots, as_json)
        return
    if waits or cliffs or heat or operators:
        whole = mcu(mcu_name or MCU)
        whole.core.require_timing("bench")
        if cliffs:
            study_cliffs(whole, count, seed or 0, compiler, as_json)
            return
        if heat:
            study_heat(whole, compiler, plots, as_json)
            return
        if operators:
            study_operators(whole, compiler, as_json)
            return
        study_waits(whole, count or _COUNT, seed or _SEED, compiler, as_json)
        return
    # In a checkout they are beside the package, wherever the command is given.
    sys.path.append(str(Path(__file__).parents[2]))
    if find_spec("baselines") is None:
        raise MissingToolError("bench compares with kernels that pip does not install: run it in a checkout of memaopt")
    chosen = _sections(sections or [])
    dtypes = _dtypes(dtype or [])
    machine = mcu(mcu_name or MCU, setting or _SETTING)
    machine.core.require_timing("bench")
    if wait_states is not None:
        machine = machine.with_wait_states(wait_states)
    sizes = [_size(text) for text in layer] if layer else list(TINYML)
    if tiles or places:
        if tiles:
            study_tiles(sizes, dtypes, machine, compiler, _WITHIN if within is None else within, as_json)
        else:
            study_places(sizes, dtypes, machine, compiler, as_json)
        return
    if plots is not None:
        from memaopt.bench.plots import require_matplotlib

        require_matplotlib()
    from memaopt.bench import compare

    times: dict[str, float] = defaultdict(float)
    bench = compare.run(chosen, sizes, dtypes, machine, compiler, times, cmsis_nn)
    if as_json:
        console.print_json(bench.model_dump(mode="json"))
    else:
        from memaopt.bench.tables import print_bench

        print_bench(console.stdout(), bench, times)
    if plots is not None:
        from memaopt.bench.plots import write_plots

        for path in write_plots(bench, plots):
            console.stderr().print(f"written {path}", soft_wrap=True)


def _sections(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in SECTIONS:
            raise InputError(f"bench: no section {name!r}: there are {', '.join(SECTIONS)}")
    return tuple(name for name in SECTIONS if name in names) or SECTIONS


def _dtypes(names: list[str]) -> list[Dtype]:
    for name in names:
        if name not in DTYPES:
            raise InputError(f"bench: no dtype {name!r}: there are {', '.join(DTYPES)}")
    return [dtype for dtype in DTYPES if dtype in names] or list(DTYPES)


def _size(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
        raise InputError(f"bench --layer {text}: expected sizes M, K and N, as in 64x576x64")
    m, k, n = map(int, parts)
    return m, k, n
