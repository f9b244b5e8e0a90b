"""Other studies of ``memaopt bench``: networks, tiles, places, waits, cliffs, operators, a heat map."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from memaopt.errors import InputError
from memaopt.problems.dtypes import Dtype

if TYPE_CHECKING:
    from memaopt.bench.places import PlaceStudy
    from memaopt.bench.tiles import TileStudy
    from memaopt.machines.mcu import Mcu


def study_networks(suite: str, models: Path | None, layers: bool, compiler: str | None, as_json: bool) -> None:
    from memaopt.bench import networks
    from memaopt.report import console

    if suite not in networks.SUITES:
        raise InputError(f"no suite {suite!r}: there is {', '.join(networks.SUITES)}")
    with console.progress() as progress:
        task = progress.add_task("", total=None)
        results = networks.run(
            models,
            compiler,
            lambda what: progress.update(task, description=what),
            layers,
        )
    if as_json:
        console.print_json([result.model_dump(mode="json") for result in results])
    else:
        if layers:
            networks.print_layers(console.stdout(), results)
        networks.print_results(console.stdout(), results)
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def study_network_traffic(network: str, sram: list[str], plots: Path | None, layers: bool, as_json: bool) -> None:
    from memaopt.bench import network_traffic
    from memaopt.machines.mcu import parse_size
    from memaopt.report import console

    if plots is not None:
        from memaopt.bench.plots import require_matplotlib

        require_matplotlib()
    sizes = tuple(sorted({parse_size(text) for text in sram})) or network_traffic.SIZES
    found = network_traffic.study(network_traffic.network_of(network), sizes)
    if as_json:
        console.print_json(found.model_dump(mode="json"))
    else:
        network_traffic.print_study(console.stdout(), found, layers=layers)
    if plots is not None:
        from memaopt.bench.plots import write_network_plot

        for path in write_network_plot(found, plots):
            console.stderr().print(f"written {path}", soft_wrap=True)


def study_tiles(
    sizes: list[tuple[int, int, int]],
    dtypes: list[Dtype],
    machine: "Mcu",
    compiler: str | None,
    within: float,
    as_json: bool,
) -> None:
    from memaopt.bench import measure, tiles
    from memaopt.report import console

    problems = measure.in_sram(sizes, dtypes)
    machine = measure.with_room(machine, problems)
    studies = [tiles.study(problem, machine, within, compiler) for problem in console.watched(problems, "tiles")]
    if not as_json:
        tiles.print_studies(console.stdout(), studies, machine, within)
    _finish_studies(studies, as_json)


def study_places(
    sizes: list[tuple[int, int, int]], dtypes: list[Dtype], machine: "Mcu", compiler: str | None, as_json: bool
) -> None:
    from memaopt.bench import measure, places
    from memaopt.report import console

    problems = places.weights_in_flash(sizes, dtypes)
    machine = measure.with_room(machine, problems).with_ram(code=machine.sram.size)
    studies = [places.study(problem, machine, compiler) for problem in console.watched(problems, "places")]
    if not as_json:
        places.print_studies(console.stdout(), studies, machine)
    _finish_studies(studies, as_json)


def study_waits(machine: "Mcu", count: int, seed: int, compiler: str | None, as_json: bool) -> None:
    from memaopt.bench import gemm_waits, waits
    from memaopt.bench.random_layers import random_layers
    from memaopt.report import console

    layers = console.watched(list(random_layers(count, seed)), "layers")
    found = waits.study(machine, layers, compiler)
    problems = console.watched(list(gemm_waits.random_gemms(count, seed, machine.sram.size)), "GEMMs")
    gemms = [run for problem in problems for run in gemm_waits.runs(problem, machine, compiler)]
    found = found.model_copy(update={"gemms": tuple(gemms)})
    if as_json:
        console.print_json(found.model_dump(mode="json"))
    else:
        waits.print_study(console.stdout(), found, machine, f"seed {seed}")


def study_certified(name: str, machine: "Mcu", dtypes: list[Dtype], plots: Path | None, as_json: bool) -> None:
    """A study by certificates alone, of each dtype."""
    from memaopt.bench import plots as drawing
    from memaopt.bench import studies
    from memaopt.report import console

    if plots is not None:
        drawing.require_matplotlib()
    found = [studies.study(name, machine, dtype) for dtype in console.watched(dtypes, name)]
    if as_json:
        console.print_json([each.model_dump(mode="json") for each in found])
    else:
        for each in found:
            studies.print_study(console.stdout(), each, machine)
    if plots is not None:
        drawn = {f"{name}_{dtype}": each for dtype, each in zip(dtypes, found, strict=True)}
        for path in drawing.write_studies(drawn, plots):
            console.stderr().print(f"written {path}", soft_wrap=True)


def study_cliffs(machine: "Mcu", count: int | None, seed: int, compiler: str | None, as_json: bool) -> None:
    from memaopt.bench import cliffs, random_layers
    from memaopt.report import console

    layers = cliffs.layers() if count is None else random_layers.products_of(count, seed)
    most = None if count is None else cliffs.MOST_OF_ANY
    found = list(cliffs.study(machine, console.watched(layers, "layers"), compiler, most))
    if as_json:
        console.print_json([cliff.model_dump(mode="json") for cliff in found])
    elif count is not None:
        cliffs.print_beyond(console.stdout(), found, machine)
    else:
        cliffs.print_cliffs(console.stdout(), found, machine)


def study_operators(machine: "Mcu", compiler: str | None, as_json: bool) -> None:
    from memaopt.bench import operator_cases, operators
    from memaopt.report import console

    found = operators.study(machine, console.watched(list(operator_cases.cases()), "operators"), compiler)
    if as_json:
        console.print_json(found.model_dump(mode="json"))
    else:
        operators.print_operators(console.stdout(), found, machine)


def study_heat(machine: "Mcu", compiler: str | None, plots: Path | None, as_json: bool) -> None:
    from memaopt.bench import heat
    from memaopt.bench import plots as drawing
    from memaopt.report import console

    if plots is not None:
        drawing.require_matplotlib()
    found = list(heat.study(machine, console.watched(heat.layers(), "layers"), compiler))
    if as_json:
        console.print_json([cell.model_dump(mode="json") for cell in found])
    else:
        heat.print_heat(console.stdout(), found, machine)
    for path in drawing.write_heat(found, machine.title, plots) if plots is not None else ():
        console.stderr().print(f"written {path}", soft_wrap=True)


def _finish_studies(studies: "Sequence[TileStudy | PlaceStudy]", as_json: bool) -> None:
    """JSON if it was asked for; exit 1 unless every study holds."""
    from memaopt.report import console

    if as_json:
        console.print_json([study.model_dump(mode="json") for study in studies])
    if not all(study.holds for study in studies):
        raise typer.Exit(1)
