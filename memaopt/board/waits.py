"""The table of memories that native code prices accesses with (see memories.py), made from a machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memaopt.board.layout import BANK, LINES, MEMORY, PAGE
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Accelerator, Memory

# Arm ARM DDI 0403, B3.1: below this address the core fetches over its code buses, above over the system bus.
_SYSTEM_BUS = 0x2000_0000
_SYSTEM_PORT = 0


class WaitTable:
    """One record for each memory, then each alias, then what has no wait states (peripherals, the exit page).

    Caches start empty, and nothing is under way: every run starts the same.
    """

    def __init__(self, mcu: Mcu, exit_page: int) -> None:
        self._tables: list[NDArray[np.uint16]] = []
        places = mcu.places
        self.records: NDArray[Any] = np.zeros(len(places) + 1, MEMORY)
        for n, place in enumerate(places):
            memory = place if isinstance(place, Memory) else mcu.memory(place.memory)
            record = self.records[n]
            record["base"], record["end"] = place.base, place.end
            record["port"] = _SYSTEM_PORT if place.base >= _SYSTEM_BUS else n + 1
            record["array"] = memory.kind == "flash"
            record["first"], record["next"], record["fetch"] = memory.first, memory.next, place.fetch
            record["current"] = record["ahead"] = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
            if memory.accelerator is not None:
                self._accelerate(record, memory.accelerator, memory.size)
        self.banks: NDArray[Any] = np.array(_banks(mcu), BANK)
        rest = self.records[len(places)]
        rest["base"], rest["end"], rest["port"] = exit_page, exit_page + PAGE, -1

    def place(self, address: int) -> int:
        """The number of the record for an address; the last one where nothing is."""
        inside = (self.records["base"] <= address) & (address < self.records["end"])
        return int(np.argmax(inside)) if inside.any() else len(self.records) - 1

    def _accelerate(self, record: Any, accelerator: Accelerator, size: int) -> None:
        record["accelerated"] = 1
        record["prefetch"] = accelerator.prefetch
        if accelerator.control is not None:
            record["control"] = accelerator.control.address
            record["prefetch_bit"] = accelerator.control.prefetch
            record["instructions_bit"] = accelerator.control.instruction_cache
            record["data_bit"] = accelerator.control.data_cache
        record["read"] = accelerator.read_bytes.bit_length() - 1
        record["line"] = accelerator.line_bytes.bit_length() - 1
        lines = {
            "instructions": (accelerator.instruction_lines, accelerator.fetch_lines),
            "data": (accelerator.data_lines, accelerator.load_lines),
        }
        for name, (most, count) in lines.items():
            slots = np.zeros(size // accelerator.line_bytes + 1, np.uint16)
            self._tables.append(slots)
            record[name]["most"], record[name]["lines"] = min(most, LINES), min(count, LINES)
            record[name]["slots"] = slots.ctypes.data


def _banks(mcu: Mcu) -> list[tuple[int, int, int]]:
    """First address, end and cost of a load for each region that has one, where it is and under its aliases."""
    found = []
    for memory in mcu.memories:
        for region in memory.regions:
            if region.load_sixteenths:
                found.append((memory.base + region.offset, memory.base + region.end, region.load_sixteenths))
                for alias in mcu.aliases:
                    low, high = max(region.offset, alias.offset), min(region.end, alias.offset + alias.size)
                    if alias.memory == memory.name and low < high:
                        start = alias.base - alias.offset
                        found.append((start + low, start + high, region.load_sixteenths))
    return found
