"""The command line's part for several networks in one library: solve their files, run their folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from memaopt.cli.warmup import start_board
from memaopt.errors import InputError
from memaopt.report import console

if TYPE_CHECKING:
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.choice.bundle import BundlePlan
    from memaopt.machines.mcu import Mcu
    from memaopt.trials.bundle import BundleTrial


def solve(
    files: Sequence[str],
    machine: Mcu,
    objective: str | None,
    *,
    names: str | None,
    out: Path | None,
    packages: Sequence[str] = (),
    run: bool,
    inputs: str | None = None,
    compiler: str | None,
    as_json: bool,
    budgets: Mapping[str, int | None],
    within: float | None = None,
    stream: tuple[str | None, int | None, str | None] = (None, None, None),
    place: str | None = None,
    report: Path | None = None,
) -> None:
    """Compile, certify, check, write and run networks in one library; Exit 1 if a check fails, and then nothing is
    written. ``budgets``: bytes of ``sram``, ``flash`` and ``arena`` of all together; None is the default. ``stream``:
    which slide, as in ``wake=rows``, hop and fill as they were asked for. ``place``: the memories of their buffers.
    """
    from memaopt.certificates import bundle as certificates
    from memaopt.choice.bundle import compile_bundle, left_together
    from memaopt.choice.knee import WITHIN
    from memaopt.choice.placement import NetworkPlacement
    from memaopt.cli.network import large_enough, print_written
    from memaopt.emit.folder import PAGE
    from memaopt.emit.package import archive
    from memaopt.networks.formats.model import Model
    from memaopt.networks.streaming.window import Stream
    from memaopt.report import bundle as shown
    from memaopt.trials import library
    from memaopt.writer import write_file, write_files

    if run:
        from memaopt.trials import gemm as trial

        trial.require_tools(machine, compiler)
        start_board()
    if objective == "ram" and not (budgets["arena"] is within is None):
        raise InputError("--objective ram finds the least arena: no --arena or --within")
    placement = NetworkPlacement.asked(place)
    count, streams = _count(inputs), Stream.asked_of_several(*stream)
    with console.spinner(f"reading {len(files)} networks") as now:
        models = [Model.read(file) for file in files]
        left = left_together(machine, [model.graph for model in models])
        machine = large_enough(machine, left, budgets)
        now("choosing the kernels of each, and one arena")
        plan = compile_bundle(
            models,
            machine,
            objective or "cycles",
            names=None if names is None else [name.strip() for name in names.split(",")],
            within=WITHIN if within is None else within,
            streams=streams,
            place=placement,
            sram=budgets["sram"],
            flash=budgets["flash"],
            arena=budgets["arena"],
        )
        signed = certificates.certify(plan)
        contents = library.files_of_bundle(signed)
    found = _tried(plan, count, compiler) if run else None
    written = out if found is None or found.passed else None
    checked = None
    if written is not None:
        with console.spinner(f"comparing with the reference and writing {written}"):
            contents[PAGE] = shown.page(signed, found)
            checked = library.check_bundle(plan, contents) if found is None else None
            archives = dict(archive(kind, plan.name, contents) for kind in packages)
            write_files(archives or contents, written, keep=bool(archives))
    if report is not None:
        write_file(report, shown.page(signed, found).encode())
    if as_json:
        check = None if checked is None else checked.model_dump(mode="json")
        console.print_json({**shown.bundle_json(signed, found), "check": check})
    else:
        stdout = console.stdout()
        shown.print_bundle(stdout, signed, found)
        print_written(stdout, signed.sha256, checked, written, report)
    if found is not None and not found.passed:
        raise typer.Exit(1)


def run_folder(signed: BundleCertificate, folder: Path, compiler: str | None, as_json: bool) -> None:
    """Build and run the library in the folder that a certificate was read from, as it is there."""
    from memaopt.report import bundle as shown

    with console.spinner(f"making the plans of {', '.join(each.model for each in signed.networks)} again"):
        plan = signed.plan
    start_board()
    found = _tried(plan, None, compiler, folder)
    if as_json:
        console.print_json(shown.bundle_json(signed, found))
    else:
        shown.print_bundle(console.stdout(), signed, found)
    if not found.passed:
        raise typer.Exit(1)


def _count(text: str | None) -> int | None:
    """How many random inputs each network is tried on; None is the default."""
    if text is None:
        return None
    count = re.fullmatch(r"(?:random:)?(\d{1,6})", text)
    if count is None or int(count[1]) < 1:
        raise InputError(f"--inputs {text}: of several networks give a number of 1 or more, as in random:20")
    return int(count[1])


def _tried(plan: BundlePlan, count: int | None, compiler: str | None, folder: Path | None = None) -> BundleTrial:
    from memaopt.board.projects import usual_layout
    from memaopt.trials import bundle as trial

    with console.progress() as progress:
        task = progress.add_task("running on the virtual board", total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        layout = usual_layout(plan.mcu)
        return trial.run(plan, count, folder=folder, compiler=compiler, layout=layout, progress=advance)
