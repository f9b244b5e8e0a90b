"""``memaopt evaluate``: is a schedule of one's own feasible, what does it move, how far is it from the optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from memaopt.cli.completion import presets, words
from memaopt.cli.machine import machine_of
from memaopt.cli.options import JsonOption
from memaopt.errors import InputError
from memaopt.problems.words import DTYPES, OBJECTIVES, PROOFS


def evaluate_command(
    what: Annotated[list[str], typer.Argument(metavar="gemm MxKxN SCHEDULE", help="The product and a file.")],
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(DTYPES),
            autocompletion=words(DTYPES),
            help="Element type and arithmetic.  \\[default: q15]",
        ),
    ] = None,
    place: Annotated[
        str | None, typer.Option(metavar="X=MEMORY,...", help="Where A, B and C live, as in a=qspi or all=qspi.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE|argument", help="A of an s8 product, as solve has it.")
    ] = None,
    mcu_name: Annotated[
        str,
        typer.Option(
            "--mcu", metavar="NAME|FILE", autocompletion=presets, help="A preset (see memaopt mcus) or a .toml file."
        ),
    ] = "stm32l4r5",
    setting: Annotated[
        str, typer.Option("--setting", metavar="NAME", help="The project that the machine is used in.")
    ] = "stock",
    sram: Annotated[str | None, typer.Option("--sram", metavar="SIZE", help="SRAM to use, as in 32KiB.")] = None,
    size: Annotated[
        list[str], typer.Option("--size", metavar="MEMORY=SIZE", help="Resize another memory; repeatable.")
    ] = [],  # noqa: B006  # typer copies it
    objective: Annotated[
        str,
        typer.Option(
            metavar="|".join(OBJECTIVES), autocompletion=words(OBJECTIVES), help="What the optimum is the best of."
        ),
    ] = "bytes",
    proof: Annotated[
        str,
        typer.Option(
            metavar="|".join(PROOFS),
            autocompletion=words(PROOFS),
            help="What proves the optimum: three models, or one alone.",
        ),
    ] = "full",
    as_json: JsonOption = False,
) -> None:
    """Judge a schedule of your own beside the certified optimum. Exit 1 if it is not feasible.

    SCHEDULE is a .json, .toml or .yaml file: memaopt's own fields (order, mc, kc, nc, ...), a certificate, loops with
    levels, Timeloop's mapping or ZigZag's. What it leaves open, the cheapest kernel fills.

    \b
    Examples:
      memaopt evaluate gemm 256x256x256 mapping.yaml --place all=qspi --sram 32KiB
      memaopt evaluate gemm 64x576x64 tiling.json --objective cycles --json
    """
    from memaopt.api import evaluate
    from memaopt.cli import gemm
    from memaopt.report import console

    if len(what) != 3:
        raise InputError(
            f"evaluate {' '.join(what)}: give gemm, its sizes and a file, as in gemm 64x576x64 tiling.json"
        )
    fields: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if place is not None:
        fields["placement"] = gemm.placement(place)
    if weights is not None:
        fields["weights"] = gemm.weights(weights)
    problem = gemm.problems_of(what[:2], None, None, fields)[0]
    machine = machine_of(mcu_name, setting, [*size, *([f"sram={sram}"] if sram else [])])
    with console.spinner(f"evaluating {Path(what[2]).name}"):
        found = evaluate(problem, machine, what[2], objective, proof=proof)
    if as_json:
        console.print_json(found.to_dict())
    else:
        console.stdout().print(found.summary(), soft_wrap=True)
    if not found.feasible:
        raise typer.Exit(1)
