"""A network's firmware: an image for the chip alone that measures each layer, and prints promised and measured cycles.

It runs as it is on the virtual board, on silicon by semihosting or RTT; ``NAME_measure.h`` does the measuring, in any
other program too.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """The path of the header that measures the library in any program."""
    return f"extras/{name}_measure.h"


def program(name: str) -> str:
    """The path of the firmware's C text; likewise of its linker script."""
    return f"{FOLDER}/{name}_firmware.inc"


def linker_script(name: str) -> str:
    return f"{FOLDER}/{name}_firmware.ld"


def files(plan: NetworkPlan, values: Mapping[str, Any], behind_data: str) -> dict[str, str]:
    """The firmware by path. ``values`` are those of the library's templates (:mod:`memaopt.emit.network`);
    ``behind_data`` is what its linker script places behind ``.data``.
    """
    name = plan.name
    given = _given(plan, values)
    texts = {program(name): "firmware.inc", linker_script(name): "firmware.ld", f"{FOLDER}/Makefile": "Makefile"}
    made = {path: _text(text, given, behind_data=behind_data) for path, text in texts.items()}
    made[f"{FOLDER}/{name}_memory.inc"] = source("board/freestanding.c")
    return {**measuring_files(plan, values), **made}


def measuring_files(plan: NetworkPlan, values: Mapping[str, Any]) -> dict[str, str]:
    """The header that measures the network in any program, by path."""
    return {measuring(plan.name): _text("measure.h", _given(plan, values))}


def _text(template: str, given: Mapping[str, Any], **more: Any) -> str:
    return render(f"emit/templates/firmware/{template}.j2", **given, **more)


def _given(plan: NetworkPlan, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates see beside the ``values`` of the library's."""
    name, mcu = plan.name, plan.mcu
    kept = [f"{name}_kept()"] if plan.graph.states else []
    return {
        **values,
        "layers": [layer.machine_cycles for layer in plan.layers],
        "nothing": ", ".join(
            [*kept, *(f"{name}_test_{end.parameter}" if end.by_rows else "NULL" for end in values["ends"])]
        ),
        "mcu": mcu,
        "core": mcu.core,
        "control": _control(mcu),
        "turn_on": mcu.setting.turn_on,
        "rtt_bytes": min(_MOST_KEPT, _LINE * (len(plan.layers) + 3)),
        "flash": mcu.memory("flash"),
        "stack_bytes": align(plan.stack_bytes + _STACK, 8),
        "warnings": " ".join(w for w in WARNINGS if w != "-Werror"),
    }


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
