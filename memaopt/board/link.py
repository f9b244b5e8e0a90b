"""The linker script for a microcontroller: one output section for each of its memories."""

from memaopt.mcus import Mcu

_HEAD = """\
/* {title} */
MEMORY
{{
{memories}
}}

SECTIONS
{{
  .text : {{ *(.vectors .vectors.*) *(.text .text.*) }} > flash
  .rodata : ALIGN(4) {{ *(.rodata .rodata.*) }} > flash
  .ARM.extab : {{ *(.ARM.extab .ARM.extab.*) }} > flash
  .ARM.exidx : {{ *(.ARM.exidx .ARM.exidx.*) }} > flash
  .data : ALIGN(4) {{ *(.data .data.*) }} > sram
  .bss (NOLOAD) : ALIGN(4) {{ *(.bss .bss.*) *(COMMON) }} > sram
{sections}
  end = .;
  /DISCARD/ : {{ *(.comment) *(.note .note.*) }}
}}
"""


def linker_script(mcu: Mcu) -> str:
    """A GNU linker script (ld and lld): code and constants in ``flash``, data in ``sram``, ``.NAME`` in NAME."""
    memories = "\n".join(
        f"  {m.name} ({'rwx' if m.writable else 'rx'}) : ORIGIN = {m.base:#x}, LENGTH = {m.size:#x}"
        for m in mcu.memories
    )
    # The section of sram comes last, with code that runs from RAM, so that `end` is where its data end.
    names = [m.name for m in mcu.memories if m.name != "sram"]
    sections = [_section(name, f".{name} .{name}.*", name) for name in names]
    sections.append(_section("ramfunc", ".ramfunc .ramfunc.*", "sram"))
    sections.append(_section("sram", ".sram .sram.*", "sram"))
    return _HEAD.format(title=mcu.title, memories=memories, sections="\n".join(sections))


def _section(name: str, patterns: str, memory: str) -> str:
    return f"  .{name} : ALIGN(8) {{ *({patterns}) }} > {memory}"
