"""Attribute addresses to named buffers: the caller's ranges, ELF objects, stack, literals, memories, peripherals."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memaopt.access import Access
from memaopt.board.elf import Program
from memaopt.board.maps import PagedMap
from memaopt.errors import InputError
from memaopt.machines.mcu import Mcu

STACK, LITERALS, PERIPHERAL = "stack", "literals", "peripheral"

# Armv7-M address map (Arm ARM DDI 0403, B3.1): peripherals and the private peripheral bus.
DEVICES, PRIVATE = (0x4000_0000, 0x2000_0000), (0xE000_0000, 0x10_0000)
PERIPHERALS = (DEVICES, PRIVATE)

_MOST = 1 << 16
_MOST_OBJECTS = 60_000


class _Buffer(NamedTuple):
    name: str
    memory: str
    writable: bool
    place: str  # the memory, or the alias of it that it is accessed through


class BufferMap:
    """Which buffer each byte of the address space belongs to; number 0 is nothing at all."""

    def __init__(self, mcu: Mcu) -> None:
        self._mcu = mcu
        self._numbers: dict[tuple[str, str], int] = {}
        self._buffers = [_Buffer("", "", False, "")]
        self.map = PagedMap(1, np.uint16)
        for memory in mcu.memories:
            number = self._number(f"{memory.name}:other", memory.name, memory.writable)
            self.map.fill(memory.base, memory.end, number)
        for alias in mcu.aliases:
            memory = mcu.memory(alias.memory)
            number = self._number(f"{memory.name}:other", memory.name, memory.writable, alias.name)
            self.map.fill(alias.base, alias.end, number)
        self._peripherals = (*PERIPHERALS, *((area.base, area.size) for area in mcu.areas))
        for base, size in self._peripherals:
            self.map.fill(base, base + size, self._number(PERIPHERAL, PERIPHERAL, True))

    def add(self, name: str, address: int, size: int) -> None:
        """Give ``size`` bytes at ``address`` the name, in place of what they were called before."""
        place = self._place(address, size)
        if place is None:
            raise InputError(
                f"buffer {name!r} ({size} bytes at {address:#010x}) is not inside a memory of {self._mcu.name}"
            )
        self.map.fill(address, address + size, self._number(name, *place))

    def _place(self, address: int, size: int) -> tuple[str, bool, str] | None:
        """The memory that holds a range, whether it can be written, and the alias that the range is in."""
        for memory in self._mcu.memories:
            if memory.base <= address and address + size <= memory.end:
                return memory.name, memory.writable, ""
        for alias in self._mcu.aliases:
            if alias.base <= address and address + size <= alias.end:
                return alias.memory, self._mcu.memory(alias.memory).writable, alias.name
        if any(base <= address and address + size <= base + length for base, length in self._peripherals):
            return PERIPHERAL, True, ""
        return None

    def add_image(self, image: Program) -> None:
        """Name the literals in the program's code, and its compiler's, then its objects (the smaller of two that
        overlap).
        """
        for start, end in image.code:
            self.add(LITERALS, start, end - start)
        for literal in image.literals:
            if self._place(literal.address, literal.size) is not None:
                self.add(LITERALS, literal.address, literal.size)
        # What there is no number for is the rest of its memory.
        for symbol in sorted(image.objects, key=lambda s: -s.size)[:_MOST_OBJECTS]:
            if self._place(symbol.address, symbol.size) is not None:
                self.add(symbol.name, symbol.address, symbol.size)

    def add_all(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        """Name the caller's ranges, each ``(address, bytes)``."""
        for name, (address, size) in ranges.items():
            if size < 1:
                raise InputError(f"buffer {name!r} has {size} bytes")
            self.add(name, address, size)

    @property
    def writable(self) -> NDArray[np.uint8]:
        """Whether each number's memory can be written."""
        return np.array([b.writable for b in self._buffers], np.uint8)

    @property
    def memory_numbers(self) -> NDArray[np.uint8]:
        """For each number, the place of its memory or alias in the machine's list of both (see waits.py)."""
        places = [p.name for p in self._mcu.places]
        peripheral = len(places)
        return np.array([places.index(b.place) if b.place in places else peripheral for b in self._buffers], np.uint8)

    def __len__(self) -> int:
        return len(self._buffers)

    @property
    def stack(self) -> int:
        """The stack's number."""
        return next(number for number, buffer in enumerate(self._buffers) if buffer.name == STACK)

    def by_buffer(self, counts: NDArray[np.int64]) -> dict[str, Access]:
        """Counts for each name; ``counts`` is [number, loads, load bytes, stores, store bytes]."""
        return self._sum(counts, [b.name for b in self._buffers])

    def by_memory(self, counts: NDArray[np.int64]) -> dict[str, Access]:
        """Counts for each memory, and for the peripherals."""
        return self._sum(counts, [b.memory for b in self._buffers])

    def _number(self, name: str, memory: str, writable: bool, alias: str = "") -> int:
        place = alias or memory
        key = (name, place)
        if key not in self._numbers:
            if len(self._buffers) == _MOST:
                raise InputError(f"more than {_MOST - 1} buffers: the board cannot name them all")
            self._numbers[key] = len(self._buffers)
            self._buffers.append(_Buffer(name, memory, writable, place))
        return self._numbers[key]

    @staticmethod
    def _sum(counts: NDArray[np.int64], names: list[str]) -> dict[str, Access]:
        totals: dict[str, NDArray[np.int64]] = {}
        for name, row in zip(names[1:], counts[1:], strict=True):
            totals[name] = totals[name] + row if name in totals else row
        return {
            name: Access(loads=int(r[0]), load_bytes=int(r[1]), stores=int(r[2]), store_bytes=int(r[3]))
            for name, r in totals.items()
        }
