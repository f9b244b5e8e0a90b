"""Read a bare-metal Arm ELF: what to load where, and the names of sections, functions and objects.

Everything is checked against the file's length, and nothing is copied from it before a program is loaded, so a
file costs little more than its own size whatever it says.
"""

from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from memaopt.errors import InputError

_MOST_BYTES = 256 << 20
_MOST_SYMBOLS = 1_000_000
_MOST_NAME = 4096
_MOST_NAMES = 64 << 20

_EXECUTABLE, _ALLOCATED, _WRITABLE = 0x4, 0x2, 0x1  # SHF_EXECINSTR, SHF_ALLOC, SHF_WRITE
_LOAD = 1  # PT_LOAD
_LOCAL = 0  # STB_LOCAL
_SYMBOLS = 2  # SHT_SYMTAB
_NO_TYPE, _OBJECT, _FUNCTION, _SOURCE = 0, 1, 2, 4  # STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_FILE
_ARM, _LINKED = 40, 2  # EM_ARM, ET_EXEC
_RUNTIME = "compiler_rt"  # what Zig's library calls itself: behind that name stand its own local symbols
_KINDS = {1: "ET_REL", 3: "ET_DYN", 4: "ET_CORE"}

# ELF for the Arm architecture (IHI 0044) and the System V ABI, chapter 4: 32 bits, little-endian.
_HEADER = np.dtype(
    [
        *(("ident", "u1", 16), ("type", "<u2"), ("machine", "<u2"), ("version", "<u4"), ("entry", "<u4")),
        *(("phoff", "<u4"), ("shoff", "<u4"), ("flags", "<u4"), ("ehsize", "<u2"), ("phentsize", "<u2")),
        *(("phnum", "<u2"), ("shentsize", "<u2"), ("shnum", "<u2"), ("shstrndx", "<u2")),
    ]
)
_SEGMENT = np.dtype(
    [(name, "<u4") for name in ("type", "offset", "vaddr", "paddr", "filesz", "memsz", "flags", "align")]
)
_SECTION = np.dtype(
    [(name, "<u4") for name in ("name", "type", "flags", "addr", "offset", "size", "link", "info", "align", "entsize")]
)
_SYMBOL = np.dtype(
    [("name", "<u4"), ("value", "<u4"), ("size", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")]
)


class Segment(NamedTuple):
    """Bytes to load: ``address`` is where the program uses them, ``load_address`` where flash holds them.

    ``size`` may exceed ``len(data)``: the rest is zero.
    """

    address: int
    load_address: int
    data: memoryview
    size: int


class Symbol(NamedTuple):
    """A function, an object or a section; the address of a function has its Thumb bit cleared."""

    name: str
    address: int
    size: int


class Program:
    """A program: its segments, allocated sections, code ranges, functions, objects and every symbol's address.

    ``objects`` are the program's, ``literals`` constants of its compiler's own library.
    """

    def __init__(
        self,
        name: str,
        entry: int,
        segments: list[Segment],
        sections: list[Symbol],
        code: list[tuple[int, int]],
        functions: list[Symbol],
        objects: list[Symbol],
        literals: list[Symbol],
        symbols: dict[str, int],
    ) -> None:
        self.name = name
        self.entry = entry
        self.segments = segments
        self.sections = sections
        self.code = code
        self.functions = sorted(functions, key=lambda s: s.address)
        self.objects = objects
        self.literals = literals
        self.symbols = symbols
        self._starts = [f.address for f in self.functions]

    def function_at(self, address: int) -> str:
        """The name of the function that holds ``address``, or the address in hexadecimal."""
        i = bisect_right(self._starts, address) - 1
        # Assembly may leave a function's size out: it then reaches to the next one.
        if i >= 0 and (self.functions[i].size == 0 or address < self.functions[i].address + self.functions[i].size):
            return self.functions[i].name
        return f"{address:#010x}"

    def word(self, address: int) -> int | None:
        """The word that the file holds for an address, of use or of loading; None if it holds none."""
        for s in self.segments:
            for start in (s.load_address, s.address):
                if start <= address and address + 4 <= start + len(s.data):
                    return int.from_bytes(s.data[address - start : address - start + 4], "little")
        return None


def read_elf(source: str | Path | bytes) -> Program:
    """The program in a 32-bit little-endian Arm ELF file (or its bytes). Raises InputError if it is not one."""
    name = "program" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes):
        data = source
    else:
        try:
            size = Path(source).stat().st_size
            if size > _MOST_BYTES:
                raise InputError(f"{name}: {size >> 20} MiB, a program may have {_MOST_BYTES >> 20}: strip it")
            data = Path(source).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{name}: cannot be read: {reason}") from None
    return _File(name, data).image()


class _File:
    """The tables of one ELF file."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._data = data
        self._view = memoryview(data)
        if data[:4] != b"\x7fELF":
            raise self._wrong("it does not begin as one")
        if data[4:6] != b"\x01\x01":
            raise InputError(f"{name}: not a 32-bit little-endian Arm program")
        self._header: Any = self._table(0, 1, _HEADER, "the header")[0]
        if self._header["machine"] != _ARM:
            raise InputError(f"{name}: not a 32-bit little-endian Arm program")
        kind = int(self._header["type"])
        if kind != _LINKED:
            raise InputError(f"{name}: not a linked executable (its ELF type is {_KINDS.get(kind, kind)})")

    def image(self) -> Program:
        h = self._header
        segments = self._segments()
        sections: Any = np.zeros(0, _SECTION)
        if h["shnum"] and h["shoff"]:
            if h["shentsize"] != _SECTION.itemsize:
                raise self._wrong(f"a section header of {h['shentsize']} bytes")
            sections = self._table(int(h["shoff"]), int(h["shnum"]), _SECTION, "the section headers")
        used = sections[(sections["flags"] & _ALLOCATED != 0) & (sections["size"] > 0)]
        code = used[used["flags"] & _EXECUTABLE != 0]
        names = self._strings(sections, int(h["shstrndx"]))
        functions, objects, literals, symbols = self._symbols(sections)
        return Program(
            self._name,
            int(h["entry"]),
            segments,
            [Symbol(self._text(names, s["name"]), int(s["addr"]), int(s["size"])) for s in used],
            [(int(s["addr"]), int(s["addr"]) + int(s["size"])) for s in code],
            functions,
            objects,
            literals,
            symbols,
        )

    def _segments(self) -> list[Segment]:
        h = self._header
        if h["phnum"] and h["phentsize"] != _SEGMENT.itemsize:
            raise self._wrong(f"a program header of {h['phentsize']} bytes")
        table = self._table(int(h["phoff"]), int(h["phnum"]), _SEGMENT, "the program headers")
        found = []
        for s in table[(table["type"] == _LOAD) & (table["memsz"] > 0)]:
            offset, held, size = int(s["offset"]), int(s["filesz"]), int(s["memsz"])
            what = f"the segment for {int(s['vaddr']):#010x}"
            if offset + held > len(self._data):
                raise self._wrong(f"cut off: {what} ends at byte {offset + held}, the file at {len(self._data)}")
            if held > size:
                raise self._wrong(f"{what} has {held} bytes for {size}")
            found.append(Segment(int(s["vaddr"]), int(s["paddr"]), self._view[offset : offset + held], size))
        self._apart("are used", [(s.address, s.size) for s in found])
        self._apart("are loaded", [(s.load_address, len(s.data)) for s in found if len(s.data)])
        return found

    def _apart(self, verb: str, ranges: list[tuple[int, int]]) -> None:
        """Refuse segments that lie on each other: which of them would be there is nobody's promise."""
        for (low, size), (high, _) in pairwise(sorted(ranges)):
            if low + size > high:
                raise self._wrong(f"two segments {verb} at {high:#010x}")

    def _symbols(self, sections: Any) -> tuple[list[Symbol], list[Symbol], list[Symbol], dict[str, int]]:
        """Functions (one for each address), objects of a size, constants of the compiler's, every symbol's address."""
        functions: dict[int, Symbol] = {}
        objects: list[Symbol] = []
        literals: list[Symbol] = []
        symbols: dict[str, int] = {}
        for table in sections[sections["type"] == _SYMBOLS][:1]:
            count = int(table["size"]) // _SYMBOL.itemsize
            if count > _MOST_SYMBOLS:
                raise InputError(f"{self._name}: {count} symbols, a program may have {_MOST_SYMBOLS}: strip it")
            names = self._strings(sections, int(table["link"]))
            rows = self._table(int(table["offset"]), count, _SYMBOL, "the symbols")
            kinds = rows["info"] & 0xF
            known = (kinds <= _FUNCTION) | (kinds == _SOURCE)
            rows = rows[(rows["name"] > 0) & (rows["section"] > 0) & known]
            letters, runtime = 0, False
            constant, data = sections["flags"] & _WRITABLE == 0, sections["flags"] & _EXECUTABLE == 0
            for at, address, size, info, _, section in rows.tolist():
                name = self._text(names, at)
                letters += len(name)
                if letters > _MOST_NAMES:
                    raise InputError(f"{self._name}: its symbols' names are too long together: strip it")
                if info & 0xF == _SOURCE:
                    runtime = name == _RUNTIME
                    continue
                if not name or name[:2] in ("$t", "$d", "$a"):
                    continue
                if info & 0xF == _FUNCTION:
                    address &= ~1
                    functions.setdefault(address, Symbol(name, address, size))
                elif size and (info & 0xF == _OBJECT or (section < len(data) and data[section])):
                    # GCC without optimisation gives no type to what lies in .bss.
                    # Local symbols stand behind their file's name, global ones behind all of them.
                    its = runtime and info >> 4 == _LOCAL and section < len(constant) and constant[section]
                    (literals if its else objects).append(Symbol(name, address, size))
                symbols[name] = address
        return list(functions.values()), objects, literals, symbols

    def _strings(self, sections: Any, number: int) -> tuple[int, int]:
        """The range of the file that a string table takes; an empty one where there is no such section."""
        if not 0 < number < len(sections):
            return 0, 0
        start, size = int(sections[number]["offset"]), int(sections[number]["size"])
        if start + size > len(self._data):
            raise self._wrong("cut off in its names")
        return start, start + size

    def _text(self, table: tuple[int, int], at: int) -> str:
        start = table[0] + int(at)
        if start >= table[1]:
            return ""
        end = self._data.find(b"\0", start, min(table[1], start + _MOST_NAME))
        if end < 0:
            raise self._wrong(f"a name of more than {_MOST_NAME - 1} bytes, or without an end")
        return self._data[start:end].decode("utf-8", "replace")

    def _table(self, offset: int, count: int, record: Any, what: str) -> Any:
        if offset + count * record.itemsize > len(self._data):
            raise self._wrong(f"cut off in {what}")
        return np.frombuffer(self._data, record, count, offset)

    def _wrong(self, why: str) -> InputError:
        return InputError(f"{self._name}: not a valid ELF file: {why}")
