"""The presets as a page of Markdown: every figure with its source. docs/presets.md is this page."""

from __future__ import annotations

from collections.abc import Iterator

from memaopt.machines.mcu import Mcu, dma_of, mcu, preset_names
from memaopt.machines.memory import Memory
from memaopt.report.machines import size_text, waits_by_clock_text

_INTRODUCTION = """# Presets

The chips that come with memaopt, each figure with its source; what is assumed says so. `memaopt mcus --markdown` prints
this page. Chips whose core's timing nobody has validated are shown without cycles ([timing.md](timing.md)).

`--clock MHZ` asks for a preset at another clock, its flash with the wait states that its table has there. Of the other
memories the cycles stay, as their buses keep their divider; power is taken in proportion to the clock, modelled. A
clock beyond the table is refused, and one of a preset without a table unless `--wait-states` gives them.
"""


def page() -> str:
    """The whole page: a table of all presets, then each with its memories, settings and sources."""
    machines = [mcu(name) for name in preset_names()]
    return "\n".join([_INTRODUCTION, *_overview(machines), *(line for each in machines for line in _chip(each))]) + "\n"


def _overview(machines: list[Mcu]) -> Iterator[str]:
    yield "| preset | core | MHz | flash | wait states | by clock | SRAM | external | assumed, in whole or in part |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in machines:
        flash = each.memory("flash")
        outside = ", ".join(f"{m.name} {size_text(m.size)}" for m in each.memories if m.kind == "external")
        cells = (
            f"[{each.name}](#{each.name})",
            each.core.title,
            f"{each.clock_hz / 1e6:g}",
            size_text(flash.size),
            str(flash.first),
            waits_by_clock_text(each),
            size_text(each.sram.size),
            outside or "none",
            ", ".join(each.assumed) or "nothing",
        )
        yield _row(cells)


def _chip(machine: Mcu) -> Iterator[str]:
    yield f"\n## {machine.name}\n\n{machine.title}.\n"
    yield "| memory | address | size | wait states | source |"
    yield "|---|---|---|---|---|"
    for memory in machine.memories:
        waits = f"{memory.first}" if memory.first == memory.next else f"{memory.first}, then {memory.next}"
        fetch = f"; {memory.fetch} for each word of code" if memory.fetch else ""
        source = ". ".join(filter(None, (memory.source, _caches(memory))))
        yield _row((memory.name, f"{memory.base:#010x}", size_text(memory.size), waits + fetch, source))
    for alias in machine.aliases:
        cells = (f"{alias.name}, of {alias.memory}", f"{alias.base:#010x}", size_text(alias.size), "0", alias.source)
        yield _row(cells)
    table = machine.memory("flash").waits_by_clock
    yield f"\nWait states of flash by clock: {waits_by_clock_text(machine)}{f' ({table.source})' if table else ''}."
    yield "\n| setting | what it is | source |\n|---|---|---|"
    for setting in machine.settings:
        yield _row((setting.name, setting.title, setting.source))
    figures = {"clock_hz": f"{machine.clock_hz:,} Hz", "fetch_queue_words": str(machine.fetch_queue_words)}
    figures |= {"power_mw": f"{machine.power_mw:g} mW"} if machine.power_mw else {}
    yield "\n| figure | value | source |\n|---|---|---|"
    for name, source in machine.sources.items():
        yield _row((f"`{name}`", figures.get(name, machine.core.title if name == "core" else ""), source))
    if (dma := dma_of(machine.name)) is not None:
        each = f"{dma.start_cycles} cycles, and {dma.word_cycles} for each word beside what its memory waits"
        yield _row(("`dma`", f"{dma.name}, off unless `--dma` asks for it: {each}", dma.source))


def _caches(memory: Memory) -> str:
    """What the accelerator is."""
    found = memory.accelerator
    if found is None:
        return ""
    lines = f"{found.instruction_lines} lines for code and {found.data_lines} for data"
    return f"Reads of {found.read_bytes} bytes; caches of {lines}, {found.line_bytes} bytes each ({found.source})"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"
