"""Find a program's vector table: the initial stack pointer and the reset handler (Arm ARM DDI 0403, B1.5.3)."""

from typing import NamedTuple

from memaopt.board.elf import Program
from memaopt.machines.mcu import Mcu

# What linker scripts and start-up code call the table: STM32Cube, CMSIS, Zephyr, mbed and Arduino, libopencm3, Rust.
_SECTIONS = (".isr_vector", ".vectors", "rom_start", ".isr_vectors", ".vector_table", ".vector", ".intvecs")
_SYMBOLS = ("g_pfnVectors", "__isr_vector", "__Vectors", "_vector_table", "vector_table", "__vectors", "vectors")


class Vectors(NamedTuple):
    """The first two words of a vector table, and where it is."""

    address: int
    stack: int
    reset: int


def find_vectors(image: Program, mcu: Mcu) -> Vectors | None:
    """The table in a section or at a symbol of a usual name, at the start of the flash or of the program."""
    places = [s.address for name in _SECTIONS for s in image.sections if s.name == name]
    places += [image.symbols[name] for name in _SYMBOLS if name in image.symbols]
    places.append(mcu.memory("flash").base)
    places += sorted(s.load_address for s in image.segments)[:1]
    for address in places:
        stack, reset = image.word(address), image.word(address + 4)
        if stack is None or reset is None or stack % 4 or not reset & 1:
            continue
        ram = [mcu.memory(a.memory).writable and a.base < stack <= a.end for a in mcu.aliases]
        ram += [m.writable and m.base < stack <= m.end for m in mcu.memories]
        if any(ram) and image.word(reset & ~3) is not None:
            return Vectors(address, stack, reset & ~1)
    return None
