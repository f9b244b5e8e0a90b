"""The presets, as they are listed."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory
from memaopt.report.console import table

#: The columns of memories, and their least widths: the tables of all presets are aligned.
_COLUMNS = {"memory": 6, "address": 10, "size": 8, "wait states": 11, "": 0}


def print_machines(console: Console, machines: Sequence[Mcu]) -> None:
    """The presets: each a heading, then its memories."""
    for machine in machines:
        core = machine.core
        note = "" if core.is_timed else " (no cycles are shown: their timing is not validated)"
        console.print(Text.assemble((machine.name, "bold cyan"), f"  {machine.title}"), soft_wrap=True)
        console.print(Text(f"  {core.title}{note}"), soft_wrap=True)
        made = table(_COLUMNS, words=_COLUMNS.keys() - {"size"}, blanks=3)
        made.show_header = machine is machines[0]
        for column, width in zip(made.columns, _COLUMNS.values(), strict=True):
            column.min_width = width
        for memory in machine.memories:
            made.add_row(
                memory.name, f"{memory.base:#010x}", size_text(memory.size), waits_text(memory), _caches(memory)
            )
        console.print(Padding.indent(made, 2))
        for setting in machine.settings:
            console.print(Text.assemble("  ", (setting.name, "bold"), f": {setting.title}"), soft_wrap=True)


def waits_text(memory: Memory) -> str:
    """Wait states of a memory's first and following accesses."""
    return f"{memory.first}" if memory.first == memory.next else f"{memory.first}, then {memory.next}"


def waits_by_clock_text(machine: Mcu) -> str:
    """The wait states of a machine's flash at its clocks, or why there are none to show."""
    table = machine.memory("flash").waits_by_clock
    if table is None:
        return "it has one clock" if machine.fixed_clock else "not found"
    return ", ".join(f"{step.wait_states} to {step.mhz:g}" for step in table.steps) + " MHz"


def _caches(memory: Memory) -> str:
    accelerator = memory.accelerator
    if accelerator is None or not (accelerator.instruction_lines or accelerator.data_lines):
        return "" if memory.writable else "read-only"
    lines = {"code": accelerator.instruction_lines, "data": accelerator.data_lines}
    caches = (f"{size_text(count * accelerator.line_bytes)} {what}" for what, count in lines.items() if count)
    return f"read-only; caches: {', '.join(caches)}"


def size_text(size: int) -> str:
    """A size in the largest binary unit that divides it."""
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size and size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} B"
