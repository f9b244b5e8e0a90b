"""Read a bare-metal Arm ELF: what to load where, and the names of functions and objects."""

from bisect import bisect_right
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from memaopt.errors import InputError, MissingToolError

_EXECUTABLE = 0x4  # SHF_EXECINSTR
_ALLOCATED = 0x2  # SHF_ALLOC


class Segment(NamedTuple):
    """Bytes to load: ``address`` is where the program uses them, ``load_address`` where flash holds them.

    ``size`` may exceed ``len(data)``: the rest is zero.
    """

    address: int
    load_address: int
    data: bytes
    size: int


class Symbol(NamedTuple):
    """A function or an object; the address of a function has its Thumb bit cleared."""

    name: str
    address: int
    size: int


class Image:
    """A program: its segments, code ranges, functions, objects and every symbol's address."""

    def __init__(
        self,
        name: str,
        entry: int,
        segments: list[Segment],
        code: list[tuple[int, int]],
        functions: list[Symbol],
        objects: list[Symbol],
        symbols: dict[str, int],
    ) -> None:
        self.name = name
        self.entry = entry
        self.segments = segments
        self.code = code
        self.functions = sorted(functions, key=lambda s: s.address)
        self.objects = objects
        self.symbols = symbols
        self._starts = [f.address for f in self.functions]

    def function_at(self, address: int) -> str:
        """The name of the function that holds ``address``, or the address in hexadecimal."""
        i = bisect_right(self._starts, address) - 1
        # Assembly may leave a function's size out: it then reaches to the next one.
        if i >= 0 and (self.functions[i].size == 0 or address < self.functions[i].address + self.functions[i].size):
            return self.functions[i].name
        return f"{address:#010x}"


def read_elf(source: str | Path | bytes) -> Image:
    """The program in a 32-bit little-endian Arm ELF file (or its bytes). Raises InputError if it is not one."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        raise MissingToolError("reading ELF files needs pyelftools: pip install 'memaopt[board]'") from None
    name = "program" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        elf = ELFFile(BytesIO(data))
        if elf.elfclass != 32 or not elf.little_endian or elf["e_machine"] != "EM_ARM":
            raise InputError(f"{name}: not a 32-bit little-endian Arm program")
        if elf["e_type"] != "ET_EXEC":
            raise InputError(f"{name}: not a linked executable (its ELF type is {elf['e_type']})")
        return _image(name, elf)
    except (ELFError, UnicodeDecodeError, ValueError, KeyError, AttributeError, TypeError, IndexError):
        raise InputError(f"{name}: not a valid ELF file") from None


def _image(name: str, elf: Any) -> Image:
    segments = [
        Segment(s["p_vaddr"], s["p_paddr"], s.data(), s["p_memsz"])
        for s in elf.iter_segments()
        if s["p_type"] == "PT_LOAD" and s["p_memsz"]
    ]
    code = [
        (s["sh_addr"], s["sh_addr"] + s["sh_size"])
        for s in elf.iter_sections()
        if s["sh_flags"] & _EXECUTABLE and s["sh_flags"] & _ALLOCATED
    ]
    functions: dict[int, Symbol] = {}
    objects: list[Symbol] = []
    symbols: dict[str, int] = {}
    table = elf.get_section_by_name(".symtab")
    for s in table.iter_symbols() if table else ():
        kind, address = s["st_info"]["type"], s["st_value"]
        if not s.name or s["st_shndx"] == "SHN_UNDEF" or s.name[:2] in ("$t", "$d", "$a"):
            continue
        if kind == "STT_FUNC":
            functions.setdefault(address & ~1, Symbol(s.name, address & ~1, s["st_size"]))
            address &= ~1
        elif kind == "STT_OBJECT" and s["st_size"]:
            objects.append(Symbol(s.name, address, s["st_size"]))
        elif kind not in ("STT_NOTYPE", "STT_OBJECT"):
            continue
        symbols[s.name] = address
    return Image(name, elf["e_entry"], segments, code, list(functions.values()), objects, symbols)
