"""``memaopt evaluate``: is a schedule of one's own feasible, what does it move, how far is it from the optimum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memaopt.cli.completion import words
from memaopt.cli.machine import (
    ArenaOption,
    ClockOption,
    DmaOption,
    FlashOption,
    McuOption,
    SettingOption,
    SizeOption,
    SramOption,
    WaitStatesOption,
    clocked,
    machine_of,
    size_of,
)
from memaopt.cli.options import CustomOption, JsonOption
from memaopt.errors import InputError
from memaopt.problems.dtypes import DTYPES
from memaopt.problems.words import MCU, OBJECTIVES, PROOFS

if TYPE_CHECKING:
    from memaopt.problems.gemm import Gemm


def evaluate_command(
    what: Annotated[
        list[str], typer.Argument(metavar="gemm MxKxN SCHEDULE|MODEL PLAN", help="A product or a network, and a file.")
    ],
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(DTYPES),
            autocompletion=words(DTYPES),
            help="Element type and arithmetic.  \\[default: q15]",
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            metavar="X=MEMORY,...",
            help="Where A, B and C live, as in a=qspi or all=qspi; a network's weights and tensors, as solve has it.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE|argument", help="A of an s8 product, as solve has it.")
    ] = None,
    mcu_name: McuOption = MCU,
    setting: SettingOption = "stock",
    dma: DmaOption = False,
    clock: ClockOption = None,
    wait_states: WaitStatesOption = None,
    sram: SramOption = None,
    size: SizeOption = [],  # noqa: B006  # typer copies it
    flash: FlashOption = None,
    arena: ArenaOption = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(OBJECTIVES),
            autocompletion=words(OBJECTIVES),
            help="What the optimum is the best of.  \\[default: bytes of a product, cycles of a network]",
        ),
    ] = None,
    proof: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PROOFS),
            autocompletion=words(PROOFS),
            help="What proves a product's optimum: three models, or one.  \\[default: full]",
        ),
    ] = None,
    custom: CustomOption = [],  # noqa: B006  # typer copies it
    as_json: JsonOption = False,
) -> None:
    """Judge a schedule of your own beside the certified optimum. Exit 1 if it is not feasible.

    SCHEDULE is a .json, .toml or .yaml file: memaopt's own fields (order, mc, kc, nc, ...), a certificate, loops with
    levels, Timeloop's mapping or ZigZag's. What it leaves open, the cheapest kernel fills. PLAN is one with the kernels
    of a network's layers, or a certificate; layers that it leaves out are chosen.

    \b
    Examples:
      memaopt evaluate gemm 256x256x256 mapping.yaml --place all=qspi --sram 32KiB
      memaopt evaluate gemm 64x576x64 tiling.json --objective cycles --json
      memaopt evaluate kws.tflite plan.json --mcu stm32f446
      memaopt evaluate kws.tflite plan.json --mcu nrf52840 --place weights=qspi
    """
    from memaopt.api import evaluate
    from memaopt.report import console

    budgets = {"sram": sram, "flash": flash, "arena": arena}
    problem: Gemm | str
    if len(what) == 2 and what[0] != "gemm":
        for option, value in {"--dtype": dtype, "--weights": weights, "--proof": proof}.items():
            if value is not None:
                raise InputError(f"evaluate: {option} has no effect on a network")
        problem, machine = what[0], machine_of(mcu_name, setting, size, dma=dma)
        sizes: dict[str, Any] = {name: size_of(text) for name, text in budgets.items()} | {"place": place}
    elif len(what) == 3:
        for name in ("flash", "arena"):
            if budgets[name] is not None:
                raise InputError(f"evaluate: --{name} has no effect on a product")
        if dma:
            raise InputError("evaluate: --dma has no effect on a product: its blocks are copied by the core")
        if custom:
            raise InputError("evaluate: --custom has no effect on a product")
        problem = _product(what[:2], dtype, place, weights)
        machine, sizes = machine_of(mcu_name, setting, [*size, *([f"sram={sram}"] if sram is not None else [])]), {}
    else:
        raise InputError(
            f"evaluate {' '.join(what)}: give gemm, its sizes and a file, as in gemm 64x576x64 tiling.json, or a model "
            "and a file"
        )
    machine = clocked(machine, clock, wait_states)
    with console.spinner(f"evaluating {Path(what[-1]).name}"):
        found = evaluate(problem, machine, what[-1], objective, proof=proof, custom=custom, **sizes)
    if as_json:
        console.print_json(found.to_dict())
    else:
        console.stdout().print(found.summary(), soft_wrap=True)
    if not found.feasible:
        raise typer.Exit(1)


def _product(what: list[str], dtype: str | None, place: str | None, weights: str | None) -> Gemm:
    """The product that the command line names."""
    from memaopt.cli import gemm

    fields: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
    if place is not None:
        fields["placement"] = gemm.placement(place)
    if weights is not None:
        fields["weights"] = gemm.weights(weights)
    return gemm.problems_of(what, None, None, fields)[0]
