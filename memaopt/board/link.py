"""The linker script for a microcontroller: one output section for each of its memories."""

from memaopt.mcus import Mcu
from memaopt.printable import in_comment

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
  .sram : ALIGN(8) {{ *(.sram .sram.*) }} > sram
  memaopt_data_end = ALIGN(8);
{sections}
  /DISCARD/ : {{ *(.comment) *(.note .note.*) }}
}}
"""


def linker_script(mcu: Mcu) -> str:
    """A GNU linker script (ld and lld): code and constants in ``flash``, data in ``sram``, ``.NAME`` in NAME.

    Functions in ``.ramfunc`` go to the machine's ``code_ram``. If that is an alias of the SRAM they are
    placed behind the data, where both addresses mean the same bytes.
    """
    regions = [(m.name, "rwx" if m.writable else "rx", m.base, m.size) for m in mcu.memories]
    regions += [(a.name, "rwx", a.base, a.size) for a in mcu.aliases]
    memories = "\n".join(
        f"  {name} ({attributes}) : ORIGIN = {base:#x}, LENGTH = {size:#x}" for name, attributes, base, size in regions
    )
    sections = [
        f"  .{m.name} : ALIGN(8) {{ *(.{m.name} .{m.name}.*) }} > {m.name}" for m in mcu.memories if m.name != "sram"
    ]
    sections.append(_ramfunc(mcu))
    sections.extend(_behind(mcu))
    return _HEAD.format(title=in_comment(mcu.title), memories=memories, sections="\n".join(sections))


def _behind(mcu: Mcu) -> list[str]:
    """The section of data behind the RAM that code runs from, where that lies in the middle of the SRAM."""
    for alias in mcu.aliases:
        end = alias.offset + alias.size
        if alias.name == mcu.code_ram and alias.memory == "sram" and end < mcu.sram.size:
            start = mcu.sram.base + end
            return [f"  .sram_behind {start:#x} : ALIGN(8) {{ *(.sram_behind .sram_behind.*) }} > sram"]
    return []


def _ramfunc(mcu: Mcu) -> str:
    """The section of code in RAM, and a check that its bytes are not also data under another address."""
    content = "{ *(.ramfunc .ramfunc.*) }"
    for alias in mcu.aliases:
        if alias.name == mcu.code_ram:
            start = mcu.memory(alias.memory).base + alias.offset
            behind = f"MAX(memaopt_data_end, {start:#x}) - {start:#x}" if alias.memory == "sram" else "0"
            # lld counts the address of an empty section against its region, so keep that inside in any case.
            return (
                f"  memaopt_behind = {behind};\n"
                f"  .ramfunc {alias.base:#x} + (memaopt_behind < {alias.size:#x} ? memaopt_behind : 0) : "
                f"{content} > {alias.name}\n"
                f"  ASSERT(SIZEOF(.ramfunc) == 0 || memaopt_behind < {alias.size:#x}, "
                f'"error: section .ramfunc will not fit in {alias.name}: data take its place")'
            )
    return f"  .ramfunc : ALIGN(8) {content} > {mcu.code_ram}"
