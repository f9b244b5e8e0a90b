"""The command line's part for networks: solve a file, inspect one, write the zoo, sweep budgets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memaopt.cli.machine import ClockOption, DmaOption, McuOption, SettingOption, WaitStatesOption, clocked
from memaopt.cli.options import (
    CustomOption,
    FillOption,
    HopOption,
    JsonOption,
    PlaceOption,
    StreamOption,
    SubgraphOption,
)
from memaopt.cli.warmup import start_board
from memaopt.errors import InputError
from memaopt.problems.words import MCU, TAKEN
from memaopt.report import console

if TYPE_CHECKING:
    from rich.console import Console

    from memaopt.certificates.network import NetworkCertificate
    from memaopt.choice.network_plan import NetworkPlan
    from memaopt.machines.mcu import Mcu
    from memaopt.trials.library import LibraryCheck
    from memaopt.trials.network import NetworkTrial

#: Layers up to which what other settings would give is computed too, all on the chip: that takes as long again for
#: each, and much longer where constants outside compete for the SRAM with copies that stay there.
_MOST_LAYERS = 40


def solve(
    model: str,
    machine: Mcu,
    objective: str | None,
    *,
    out: Path | None,
    packages: Sequence[str] = (),
    labels: Sequence[str] = (),
    run: bool,
    inputs: str | None = None,
    stream: tuple[str | None, int | None, str | None] = (None, None, None),
    taken: str | None = None,
    compiler: str | None,
    as_json: bool,
    budgets: Mapping[str, int | None],
    within: float | None = None,
    place: str | None = None,
    custom: Sequence[str] = (),
    subgraph: str | None = None,
    report: Path | None = None,
) -> None:
    """Compile, certify, check, write and run a network; Exit 1 if a check fails, and then nothing is written.

    ``budgets``: bytes of ``sram``, ``flash`` and ``arena``; None is the default. The chip is larger if they are.
    ``within``: how much more than the best a smaller arena may cost; None is the default. ``place``: the memories of
    buffers, as they were asked for. ``report``: where the page of it goes, with the front of the arena, which takes
    seconds. ``stream``: axis, hop and fill as they were asked for, ``taken``: how the input is; ``custom``: operators
    with the user's C, ``subgraph``: the one that is the network.
    """
    from memaopt.certificates import network as certificate
    from memaopt.choice import elsewhere
    from memaopt.choice.compile import compile_network
    from memaopt.choice.knee import WITHIN
    from memaopt.choice.least import compile_smallest
    from memaopt.choice.placement import NetworkPlacement
    from memaopt.choice.problem import left_by_project
    from memaopt.networks.custom_files import read_customs
    from memaopt.networks.formats.model import Model
    from memaopt.networks.reading import Wanted
    from memaopt.networks.streaming.window import Stream
    from memaopt.report import network as network_report
    from memaopt.report import network_json

    if run:
        from memaopt.trials import gemm as trial

        trial.require_tools(machine, compiler)
        start_board()
    goal = "cycles" if objective is None else objective
    if objective == "ram" and not (budgets["arena"] is within is None and stream[0] is None):
        raise InputError("--objective ram finds the least arena of a whole run: no --arena, --within or --stream")
    placement = NetworkPlacement.asked(place)
    if objective == "ram" and place is not None:
        raise InputError("--objective ram finds the least arena of a network on the chip: no --place")
    by_rows = _by_rows(taken, within, stream[0])
    with console.spinner(f"reading {Path(model).name}") as now:
        read = Model.read(model, Wanted(read_customs(custom), subgraph or ""))
        slack = WITHIN if within is None else within
        sram, flash, arena = (budgets[name] for name in ("sram", "flash", "arena"))
        machine = large_enough(machine, left_by_project(machine, read.graph), budgets)
        now(f"choosing the kernels and the arena of {len(read.graph.operators)} operators")
        slides = Stream.asked(*stream)
        if objective == "ram":
            plan = compile_smallest(read, machine, sram=sram, flash=flash, by_rows=by_rows)
        else:
            plan = compile_network(
                read,
                machine,
                goal,
                sram=sram,
                flash=flash,
                arena=arena,
                within=slack,
                stream=slides,
                place=placement,
                by_rows=by_rows,
            )
        chosen = _inputs(inputs, plan) if run else None
        signed = certificate.certify(plan)
        now("asking what other settings would give")
        small = len(plan.layers) <= _MOST_LAYERS and not plan.placement.describe()
        others = elsewhere.of_network(plan) if small else ()
    trial_found = _tried(plan, chosen, compiler) if chosen is not None else None
    written = out if trial_found is None or trial_found.passed else None
    checked = None
    if written is not None:
        with console.spinner(f"comparing with the reference and writing {written}"):
            from memaopt.emit.folder import PAGE
            from memaopt.report.page import page

            shown = {PAGE: page(plan, signed, trial_found, others)}
            checked = write(signed, written, shown, packages, labels, check=trial_found is None)
    if report is not None:
        with console.spinner("pricing arenas for the report"):
            from memaopt.choice import pareto
            from memaopt.report.page import page
            from memaopt.writer import write_file

            front = pareto.arena_front(plan) if machine.core.is_timed and not by_rows else ()
            write_file(report, page(plan, signed, trial_found, others, front).encode())
    if as_json:
        check = None if checked is None else checked.model_dump(mode="json")
        console.print_json({**network_json.plan_json(plan, signed, trial_found, others), "check": check})
    else:
        stdout = console.stdout()
        network_report.print_plan(stdout, plan, trial_found, others)
        print_written(stdout, signed.sha256, checked, written, report)
    if trial_found is not None and not trial_found.passed:
        raise typer.Exit(1)


def print_written(
    stdout: Console, sha256: str, checked: LibraryCheck | None, written: Path | None, report: Path | None
) -> None:
    """What a compilation ends with: the certificate's digest, what the library's check says, and what was written."""
    stdout.print(f"certificate {sha256[:16]}")
    for line in [] if checked is None else checked.describe():
        stdout.print(line, soft_wrap=True)
    if written is not None:
        stdout.print(f"written to {written}", soft_wrap=True)
    if report is not None:
        stdout.print(f"report written to {report}", soft_wrap=True)


def write(
    signed: NetworkCertificate,
    out: Path,
    shown: Mapping[str, str],
    packages: Sequence[str] = (),
    labels: Sequence[str] = (),
    *,
    check: bool,
) -> LibraryCheck | None:
    """The library, its certificate, the model that the certificate speaks of and what is ``shown`` of it, all of them
    or nothing.

    With ``packages`` the archives of those kinds instead. ``check``: it is compared with the reference first (the
    board has not done so).
    """
    from memaopt.emit.package import archive
    from memaopt.trials import library
    from memaopt.writer import write_files

    files = {**library.files_of(signed, labels), **shown}
    checked = library.check(signed.plan, files) if check else None
    archives = dict(archive(kind, signed.name, files) for kind in packages)
    write_files(archives or files, out, keep=bool(archives))
    return checked


def run_folder(signed: NetworkCertificate, folder: Path, compiler: str | None, as_json: bool) -> None:
    """Build and run the library in the folder that a certificate was read from, as it is there."""
    from memaopt.report import network as network_report
    from memaopt.report import network_json

    with console.spinner(f"making the plan of {signed.model} again"):
        plan = signed.plan
    start_board()
    found = _tried(plan, _inputs(None, plan), compiler, folder)
    if as_json:
        console.print_json(network_json.plan_json(plan, signed, found))
    else:
        network_report.print_plan(console.stdout(), plan, found)
    if not found.passed:
        raise typer.Exit(1)


def inspect_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite or .onnx file.", show_default=False)],
    subgraph: SubgraphOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the operators of a file without compiling it, and all that is not supported.

    \b
    Example:
      memaopt inspect model.tflite
    """
    from memaopt.networks import summary
    from memaopt.networks.formats import model as files
    from memaopt.networks.reading import Wanted
    from memaopt.report import network as network_report

    found = summary.summarize_reading(files.examine(model, Wanted(subgraph=subgraph or "")))
    if as_json:
        console.print_json(found.model_dump(mode="json"))
    else:
        network_report.print_summary(console.stdout(), found)


def zoo_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path("zoo"),
    as_json: JsonOption = False,
) -> None:
    """Write fifteen networks with seeded weights as .tflite files.

    MLPerf Tiny's four, a small MobileNetV2, a transformer for keywords; for signals: a causal DS-CNN, a TCN, a 1-D CNN;
    larger: MobileNetV2, MobileNetV1, a U-Net, a wide ResNet; two that outgrow most chips: MobileNetV1 0.5 and
    MobileNetV2 1.0 at 224x224.

    \b
    Examples:
      memaopt zoo models/
      memaopt solve models/ds_cnn.tflite --run
    """
    from memaopt.networks.zoo import zoo

    with console.spinner("building the zoo"):
        paths = zoo.save(folder)
    if as_json:
        console.print_json([str(path) for path in paths])
    else:
        for path in paths:
            console.stdout().print(str(path), soft_wrap=True)


def pareto_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite or .onnx file.", show_default=False)],
    mcu_name: McuOption = MCU,
    setting: SettingOption = "stock",
    dma: DmaOption = False,
    clock: ClockOption = None,
    wait_states: WaitStatesOption = None,
    stream: StreamOption = None,
    hop: HopOption = None,
    fill: FillOption = None,
    place: PlaceOption = None,
    custom: CustomOption = [],  # noqa: B006  # typer copies it
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the fronts (.png or .svg).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Trade flash, arena and SRAM for cycles: each point is the fastest library within its budget, proven among those
    computed layer by layer, and of arenas depth first too.

    \b
    Example:
      memaopt pareto model.tflite --plot front.png
      memaopt pareto tcn.tflite --stream rows --hop 1
      memaopt pareto model.tflite --mcu stm32f469 --place weights=auto,activations=fmc
      memaopt pareto model.tflite --mcu stm32l4s5 --place weights=qspi --dma
    """
    from memaopt.choice import pareto
    from memaopt.choice.customs import custom_facts, refuse_with_customs
    from memaopt.choice.placement import NetworkPlacement, sites
    from memaopt.machines.mcu import mcu
    from memaopt.networks.custom_files import read_customs
    from memaopt.networks.formats.model import Model
    from memaopt.networks.reading import Wanted
    from memaopt.networks.streaming.window import Stream, streamed
    from memaopt.report import fronts as report

    machine = clocked(mcu(mcu_name, setting, dma=dma), clock, wait_states)
    placement = NetworkPlacement.asked(place)
    placement.demand_whole(stream=stream is not None)
    with console.spinner("sweeping the budgets"):
        codes = read_customs(custom)
        graph, slides = Model.read(model, Wanted(codes)).graph, Stream.asked(stream, hop, fill)
        refuse_with_customs(graph, stream=slides is not None, tensors=placement.of_tensors)
        graph = graph if slides is None else streamed(graph, slides)[0].graph
        fronts, rows = pareto.fronts(graph, machine, placement), pareto.row_bound(graph, machine, placement)
    if plot is not None:
        report.plot_fronts(fronts, plot, rows)
    if as_json:
        found = {budget: [point.model_dump(mode="json") for point in points] for budget, points in fronts.items()}
        bound = {"row_bound_bytes": None if rows is None else rows.bytes, "dma": machine.dma is not None}
        console.print_json({**found, **bound, "without": [code.name for code in codes]})
    else:
        sets, with_dma = sites(placement, machine).between, machine.dma is not None
        report.print_fronts(console.stdout(), fronts, rows, sets=sets, with_dma=with_dma)
        for _, told in custom_facts(code.name for code in codes):
            console.stdout().print(told, soft_wrap=True, markup=False, highlight=False)
        if plot is not None:
            console.stdout().print(f"written to {plot}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the commands for networks."""
    app.command("inspect")(inspect_command)
    app.command("zoo")(zoo_command)
    app.command("pareto")(pareto_command)


def _by_rows(taken: str | None, within: float | None, stream: str | None) -> bool:
    """Whether the input is taken by rows; InputError for a word that there is not, or what goes with rows nowhere."""
    if taken not in (None, *TAKEN):
        raise InputError(f"--input {taken!r}: there are {', '.join(TAKEN)}")
    if taken == "rows" and stream is not None:
        raise InputError("--input rows has no effect with --stream, whose pushes take frames as they come")
    if taken == "rows" and within is not None:
        raise InputError("--within has no effect with --input rows: give --arena, or --objective ram")
    return taken == "rows"


def large_enough(machine: Mcu, left_by_project: tuple[int, int], budgets: Mapping[str, int | None]) -> Mcu:
    """The machine, of whose flash and SRAM a project leaves so much; where a budget is beyond a memory, with as much of
    it as the project needs besides.
    """
    sizes = {name: machine.memory(name).size for name in ("flash", "sram")}
    left = dict(zip(sizes, left_by_project, strict=True))
    given = {name: budgets[name] or 0 for name in sizes}
    more = {name: given[name] + size - left[name] for name, size in sizes.items() if given[name] > size}
    return machine.with_sizes(**more) if more else machine


def _inputs(text: str | None, plan: NetworkPlan) -> int | list[list[Any]]:
    """How many random inputs, or those in a file; InputError if it is neither. Of a network that keeps a state they are
    pushes, by default beyond a full window."""
    if text is None:
        from memaopt.trials.network import default_count

        return default_count(plan)
    count = re.fullmatch(r"(?:random:)?(\d{1,6})", text)
    if count is not None and int(count[1]) > 0:
        return int(count[1])
    if count is not None or text.startswith("random:"):
        raise InputError(f"--inputs {text}: give a number of 1 or more, as in random:20, or a file of samples")
    from memaopt.trials import samples

    if plan.graph.states:
        raise InputError(f"--inputs {text}: samples are whole inputs, and it is pushed on; random:20 would do")
    if len(plan.source.inputs) != 1:
        raise InputError(f"--inputs {text}: the network has {len(plan.source.inputs)} inputs, samples are for one")
    found = samples.read(Path(text), plan.source.tensors[plan.source.inputs[0]])
    return [[value[None]] for value in found.inputs]


def _tried(
    plan: NetworkPlan, inputs: int | list[list[Any]], compiler: str | None, folder: Path | None = None
) -> NetworkTrial:
    from memaopt.board.projects import usual_layout
    from memaopt.trials import network as network_trial

    with console.progress() as progress:
        count = inputs if isinstance(inputs, int) else len(inputs)
        task = progress.add_task("running on the virtual board", total=count)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        layout = usual_layout(plan.mcu)
        return network_trial.run(plan, inputs, folder=folder, compiler=compiler, layout=layout, progress=advance)
