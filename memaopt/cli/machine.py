"""Options that say what machine is meant, and what of it may be used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from memaopt.cli.completion import presets
from memaopt.cli.panels import option
from memaopt.errors import InputError

if TYPE_CHECKING:
    from memaopt.machines.mcu import Mcu

McuOption = Annotated[
    str,
    option("Machine", "NAME|FILE", "A preset (see memaopt mcus) or a .toml file.", "--mcu", autocompletion=presets),
]
SramOption = Annotated[
    str | None,
    option(
        "Machine",
        "SIZE",
        "SRAM to use, as in 32KiB.  \\[default: all that the chip has; for a network, that its project leaves]",
        "--sram",
    ),
]
FlashOption = Annotated[
    str | None,
    option(
        "Machine",
        "SIZE",
        "Flash to use, as in 512KiB.  \\[default: all that the chip has; for a network, that its project leaves]",
        "--flash",
    ),
]
ArenaOption = Annotated[
    str | None,
    option(
        "Machine", "SIZE", "Arena to use for a network's tensors and scratch.  \\[default: see --within]", "--arena"
    ),
]
WithinOption = Annotated[
    str | None,
    option(
        "Machine",
        "PERCENT",
        "Of a network's arenas take the least that costs so much more than the best, as in 5%; 0 is the best.  "
        "\\[default: 0.4%]",
        "--within",
    ),
]
SizeOption = Annotated[
    list[str],
    option("Machine", "MEMORY=SIZE", "Resize another memory, as in qspi=4MiB; repeatable.", "--size"),
]
SettingOption = Annotated[
    str,
    option(
        "Machine",
        "NAME",
        "The project that the machine is used in (see memaopt mcus): what is on, what may be copied into RAM.",
        "--setting",
    ),
]
ConstantsInRamOption = Annotated[
    str | None,
    option(
        "Machine",
        "SIZE",
        "RAM that constants of a network may be copied into.  \\[default: the setting's]",
        "--ram-for-constants",
    ),
]
CodeInRamOption = Annotated[
    str | None,
    option("Machine", "SIZE", "RAM that code may be copied into.  \\[default: the setting's]", "--ram-for-code"),
]


DmaOption = Annotated[
    bool,
    option(
        "Machine",
        "",
        "With the chip's DMA, as its file has it: it brings in a network's constants from outside the chip while the "
        "core computes (modelled, measured by nobody).",
        "--dma",
    ),
]


def wait_states_option(panel: str) -> Any:
    """``--wait-states`` in a panel of a help screen."""
    told = "Wait states of the flash, and with 0 of no memory.  \\[default: the chip's]"
    return option(panel, "N", told, "--wait-states", min=0)


def clock_option(panel: str) -> Any:
    """``--clock`` in a panel of a help screen, in MHz."""
    told = (
        "The core's clock; the flash has the wait states that the chip's table has there (see memaopt mcus NAME), or "
        "those of --wait-states.  \\[default: the machine's]"
    )
    return option(panel, "MHZ", told, "--clock", min=0.001, max=10_000)


WaitStatesOption = Annotated[int | None, wait_states_option("Machine")]
ClockOption = Annotated[float | None, clock_option("Machine")]


def clocked(machine: Mcu, clock: float | None, wait_states: int | None) -> Mcu:
    """The machine at the clock that was asked for, in MHz, with its flash's wait states, if any were."""
    if clock is not None:
        return machine.with_clock(round(clock * 1_000_000), wait_states)
    return machine if wait_states is None else machine.with_wait_states(wait_states)


def machine_of(name: str, setting: str, sizes: Iterable[str], *, dma: bool = False) -> Mcu:
    """The machine in a setting, with its memories resized as asked, and with its DMA if that is."""
    from memaopt.machines.mcu import mcu, parse_size

    machine, resized = mcu(name, setting, dma=dma), {}
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
