"""The linker script for a microcontroller: one output section for each of its memories."""

from memaopt.machines.mcu import Mcu
from memaopt.printable import in_comment

_HEAD = """\
/* {title} */
MEMORY
{{
  addressed (rwx) : ORIGIN = 0x0, LENGTH = 0xffffffff
{memories}
}}
REGION_ALIAS("FLASH", flash)
REGION_ALIAS("RAM", sram)

SECTIONS
{{
  .text : {{ {vectors} {text} }} > flash
  .rodata : ALIGN(4) {{ {rodata} }} > flash
  .ARM.extab : {{ *(.ARM.extab .ARM.extab.*) }} > flash
  .ARM.exidx : {{ *(.ARM.exidx .ARM.exidx.*) }} > flash
  .data : ALIGN(4) {{ {data} }} > sram
{behind_data}
  .bss (NOLOAD) : ALIGN(4) {{ {bss} *(COMMON) }} > sram
  .sram : ALIGN(8) {{ {sram} }} > sram
  memaopt_data_end = ALIGN(8);
{sections}
  /DISCARD/ : {{ *(.comment) *(.note .note.*) }}
}}
"""


def linker_script(mcu: Mcu, behind_data: str = "", kept: str = "") -> str:
    """A GNU linker script (ld and lld): code and constants in ``flash``, data in ``sram``, ``.NAME`` in NAME.

    ``behind_data`` goes directly behind the section ``.data``, as a library wants its own script included. The first
    two are also called ``FLASH`` and ``RAM``, as most projects' scripts have them. Functions in ``.ramfunc`` go to the
    machine's ``code_ram``. If that is an alias of the SRAM they are placed behind the data, where both addresses mean
    the same bytes. ``kept`` is a pattern of the object files of which all stays where the linker drops what nothing
    refers to.
    """

    def taken(*names: str) -> str:
        listed = f"({' '.join(names)})"
        return f"KEEP({kept}{listed}) *{listed}" if kept else f"*{listed}"

    # lld wants a region for each section, those with an address of their own too, and takes the first that will do.
    regions = [(m.name, "rwx" if m.writable else "rx", m.base, m.size) for m in mcu.memories]
    regions += [(a.name, "rwx", a.base, a.size) for a in mcu.aliases]
    memories = "\n".join(
        f"  {name} ({attributes}) : ORIGIN = {base:#x}, LENGTH = {size:#x}" for name, attributes, base, size in regions
    )
    sections = [
        f"  .{m.name} : ALIGN(8) {{ {taken(f'.{m.name}', f'.{m.name}.*')} }} > {m.name}"
        for m in mcu.memories
        if m.name != "sram"
    ]
    sections.append(_ramfunc(mcu, taken(".ramfunc", ".ramfunc.*")))
    usual = {name: taken(f".{name}", f".{name}.*") for name in ("vectors", "text", "rodata", "data", "bss", "sram")}
    named = {"memories": memories, "sections": "\n".join(sections), "behind_data": behind_data}
    return _HEAD.format(title=in_comment(mcu.title), **named, **usual)


def _ramfunc(mcu: Mcu, code: str) -> str:
    """The section of code in RAM, and a check that its bytes are not also data under another address."""
    content = f"{{ {code} }}"
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
