"""Options that say what machine is meant, and what of it may be used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from memaopt.cli.completion import presets
from memaopt.errors import InputError

if TYPE_CHECKING:
    from memaopt.machines.mcu import Mcu

McuOption = Annotated[
    str,
    typer.Option(
        "--mcu",
        metavar="NAME|FILE",
        autocompletion=presets,
        rich_help_panel="Machine",
        help="A preset (see memaopt mcus) or a .toml file.",
    ),
]
SramOption = Annotated[
    str | None,
    typer.Option(
        "--sram",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="SRAM to use, as in 32KiB.  \\[default: all that the chip has; for a network, that its project leaves]",
    ),
]
FlashOption = Annotated[
    str | None,
    typer.Option(
        "--flash",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="Flash to use, as in 512KiB.  \\[default: all that the chip has; for a network, that its project leaves]",
    ),
]
ArenaOption = Annotated[
    str | None,
    typer.Option(
        "--arena",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="Arena to use for a network's tensors and scratch.  \\[default: see --within]",
    ),
]
WithinOption = Annotated[
    str | None,
    typer.Option(
        "--within",
        metavar="PERCENT",
        rich_help_panel="Machine",
        help="Of a network's arenas take the least that costs so much more than the best, as in 5%; 0 is the best.  "
        "\\[default: 0.4%]",
    ),
]
SizeOption = Annotated[
    list[str],
    typer.Option(
        "--size",
        metavar="MEMORY=SIZE",
        rich_help_panel="Machine",
        help="Resize another memory, as in qspi=4MiB; repeatable.",
    ),
]
SettingOption = Annotated[
    str,
    typer.Option(
        "--setting",
        metavar="NAME",
        rich_help_panel="Machine",
        help="The project that the machine is used in (see memaopt mcus): what is on, what may be copied into RAM.",
    ),
]
ConstantsInRamOption = Annotated[
    str | None,
    typer.Option(
        "--ram-for-constants",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="RAM that constants of a network may be copied into.  \\[default: the setting's]",
    ),
]
CodeInRamOption = Annotated[
    str | None,
    typer.Option(
        "--ram-for-code",
        metavar="SIZE",
        rich_help_panel="Machine",
        help="RAM that code may be copied into.  \\[default: the setting's]",
    ),
]
WaitStatesOption = Annotated[
    int | None,
    typer.Option(
        "--wait-states",
        metavar="N",
        min=0,
        rich_help_panel="Machine",
        help="Wait states of the flash, and with 0 of no memory.  \\[default: the chip's]",
    ),
]

ClockOption = Annotated[
    float | None,
    typer.Option(
        "--clock",
        metavar="MHZ",
        min=0.001,
        max=10_000,
        rich_help_panel="Machine",
        help="The core's clock; the flash has the wait states that the chip's table has there (see memaopt mcus), or "
        "those of --wait-states.  \\[default: the chip's fastest]",
    ),
]


def clocked(machine: Mcu, clock: float | None, wait_states: int | None) -> Mcu:
    """The machine at the clock that was asked for, in MHz, with its flash's wait states, if any were."""
    if clock is not None:
        return machine.with_clock(round(clock * 1_000_000), wait_states)
    return machine if wait_states is None else machine.with_wait_states(wait_states)


def machine_of(name: str, setting: str, sizes: Iterable[str]) -> Mcu:
    """The machine in a setting, with its memories resized as asked."""
    from memaopt.machines.mcu import mcu, parse_size

    machine, resized = mcu(name, setting), {}
    for text in sizes:
        memory, equals, amount = text.partition("=")
        if not equals:
            raise InputError(f"--size {text}: give a memory and its size, as in qspi=4MiB")
        machine.memory(memory)
        resized[memory] = parse_size(amount)
    return machine.with_sizes(**resized) if resized else machine


def size_of(text: str | None) -> int | None:
    """The bytes of a size as it is written, 0 among them; None stays None."""
    from memaopt.machines.mcu import parse_size

    return None if text is None else 0 if text.strip() == "0" else parse_size(text)


def is_of(size: str, *memories: str) -> bool:
    """Whether a ``MEMORY=SIZE`` is of one of these."""
    return size.partition("=")[0] in memories
