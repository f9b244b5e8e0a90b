"""A library's firmware: an image for the chip alone that measures each layer of its networks, and prints promised and
measured cycles.

It runs as it is on the virtual board, on silicon by semihosting or RTT; ``NAME_measure.h`` does the measuring, in any
other program too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from memaopt.alignment import align
from memaopt.choice.network_plan import NetworkPlan
from memaopt.kernels.text.standard import WARNINGS
from memaopt.kernels.text.templates import render, source
from memaopt.machines.mcu import Mcu
from memaopt.printable import in_comment

FOLDER = "extras/firmware"
#: What the firmware's own functions take of the stack beside the library.
_STACK = 512
#: Bytes of a line of output, and the most that are kept for an RTT viewer.
_LINE, _MOST_KEPT = 64, 4096


class _Control(NamedTuple):
    """A flash's register: the field of its wait states and their value, its switches and those that are on."""

    comment: str
    address: str
    mask: str
    wait_states: str
    switches: str
    on: str


def measuring(name: str) -> str:
    """The path of the header that measures a network in any program."""
    return f"extras/{name}_measure.h"


def program(name: str) -> str:
    """The path of the C text of a library's firmware; likewise of its linker script."""
    return f"{FOLDER}/{name}_firmware.inc"


def linker_script(name: str) -> str:
    return f"{FOLDER}/{name}_firmware.ld"


def files(plans: Sequence[NetworkPlan], behind_data: str = "", **options: Any) -> dict[str, str]:
    """The firmware of a library of networks by path, which :func:`measuring_files` measure; the rest is as in
    :func:`image`."""
    return image(
        plans[0].library,
        plans[0].mcu,
        [plan.name for plan in plans],
        stack_bytes=max(plan.stack_bytes for plan in plans),
        lines=sum(len(plan.layers) + 2 for plan in plans),
        behind_data=behind_data,
        serves=len(plans) == 1 and serves(plans[0]),
        **options,
    )


def image(
    name: str,
    mcu: Mcu,
    reports: Sequence[str],
    *,
    stack_bytes: int,
    lines: int = 2,
    behind_data: str = "",
    serves: bool = False,
    has_init: bool = False,
    custom_sources: Sequence[str] = (),
    outside: Iterable[str] = (),
) -> dict[str, str]:
    """The firmware of a library by path; ``reports``: the names by which its headers measure it, so many ``lines`` in
    all. ``stack_bytes`` is what the library takes.

    ``behind_data`` is what its linker script places behind ``.data``; ``serves``: it runs samples of a host's;
    ``has_init``: the library is initialised once; ``custom_sources``: the user's files that are built with it;
    ``outside``: the memories beyond the chip that it uses.
    """
    given = {
        "name": name,
        "networks": list(reports),
        "serves": serves,
        "machine": in_comment(mcu.title),
        "mcu": mcu,
        "core": mcu.core,
        "setting": mcu.setting,
        "control": _control(mcu),
        "turn_on": mcu.setting.turn_on,
        "has_init": has_init,
        "outside": list(outside),
        "custom_sources": custom_sources,
        "rtt_bytes": min(_MOST_KEPT, _LINE * (lines + 1)),
        "flash": mcu.memory("flash"),
        "stack_bytes": align(stack_bytes + _STACK, 8),
        "warnings": " ".join(w for w in WARNINGS if w != "-Werror"),
        "behind_data": behind_data,
    }
    texts = {program(name): "firmware.inc", linker_script(name): "firmware.ld", f"{FOLDER}/Makefile": "Makefile"}
    made = {path: render(f"emit/templates/firmware/{template}.j2", **given) for path, template in texts.items()}
    return {**made, f"{FOLDER}/{name}_memory.inc": source("board/freestanding.c")}


def samples(name: str) -> str:
    """The path of the header that runs a host's samples in any program."""
    return f"extras/{name}_samples.h"


def serves(plan: NetworkPlan) -> bool:
    """Whether its samples can come from a host: an input and an output, in its arena, and nothing kept between runs."""
    graph = plan.graph
    ends = (*graph.inputs, *graph.outputs)
    return len(ends) == 2 and not graph.states and not graph.by_rows and not any(map(plan.is_away, ends))


def measuring_files(plan: NetworkPlan, values: Mapping[str, Any]) -> dict[str, str]:
    """The headers that measure the network in any program, and run samples in it, by path. ``values`` are those of the
    library's templates (:mod:`memaopt.emit.network`).
    """
    kept = [f"{plan.name}_kept()"] if plan.graph.states else []
    given = [f"{plan.name}_test_{end.parameter}" if end.by_rows else "NULL" for end in values["ends"]]
    more = {"layers": [layer.machine_cycles for layer in plan.layers], "nothing": ", ".join([*kept, *given])}
    made = {measuring(plan.name): render("emit/templates/firmware/measure.h.j2", **values, **more)}
    if serves(plan):
        (taken, result) = values["ends"]
        more |= {"given": taken, "made": result}
        made[samples(plan.name)] = render("emit/templates/firmware/samples.h.j2", **values, **more)
    return made


def _control(mcu: Mcu) -> _Control | None:
    """The register of the flash as the setting has it; None where the machine's file does not know enough of it."""
    flash = mcu.memory("flash")
    if flash.accelerator is None or flash.accelerator.control is None:
        return None
    accelerator, control = flash.accelerator, flash.accelerator.control
    states = flash.first * (control.wait_states & -control.wait_states)
    if states & ~control.wait_states:
        return None
    parts = {
        control.prefetch: accelerator.prefetch,
        control.instruction_cache: accelerator.instruction_cache,
        control.data_cache: accelerator.data_cache,
    }
    on = sum(bits for bits, wanted in parts.items() if wanted)
    words = (control.address, control.wait_states, states, sum(parts), on)
    return _Control(in_comment(control.source), *(f"{word:#x}u" for word in words))
