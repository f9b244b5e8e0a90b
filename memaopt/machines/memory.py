"""The memories of a machine and what stands before them: accelerators, aliases, registers; each with its figures."""

from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from memaopt.inputs import Address, Count, Input, Prose, Word, YesNo

#: Names of sections and of keywords in linker scripts, and what else a memory cannot be called.
_RESERVED = {
    *("all", "auto", "bss", "comment", "data", "fini", "init", "l", "len", "length", "note", "o", "org", "origin"),
    *("ramfunc", "rodata", "sram_behind", "stack", "text", "vectors"),
}
#: Memories begin at a page of the board's emulator.
_PAGE = 4096
MOST_MEMORY = 512 << 20


def _free(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(f"{name!r} is taken: give it another name")
    return name


def _aligned(address: int) -> int:
    if address % _PAGE:
        raise ValueError(f"{address:#x} is no multiple of {_PAGE:#x}")
    return address


MemoryName = Annotated[Word, AfterValidator(_free)]
Page = Annotated[Address, AfterValidator(_aligned)]
MemorySize = Annotated[int, Field(strict=True, gt=0, le=MOST_MEMORY)]
WaitStates = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Peripheral = Annotated[int, Field(strict=True, ge=0x4000_0000, lt=0x6000_0000, multiple_of=4)]
Bits = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]
SomeBits = Annotated[int, Field(strict=True, gt=0, lt=1 << 32)]
Power = Annotated[float, Field(strict=True, ge=0, le=1e6)]


class Control(Input):
    """The register that switches an accelerator, and its bits for each part; 0 where it has none. ``wait_states`` is
    the field with those of the flash."""

    address: Peripheral
    wait_states: Bits = 0
    prefetch: Bits = 0
    instruction_cache: Bits = 0
    data_cache: Bits = 0
    source: Prose = ""


class Flag(Input):
    """Status bits that follow ``bits`` of a register as soon as those are written: ``shift`` to their left, there or
    in the register ``status``."""

    bits: SomeBits
    shift: int = Field(default=0, strict=True, ge=-31, le=31)
    status: Peripheral | None = None


class Register(Input):
    """A peripheral's register that start-up code looks at: its value after reset, and the flags that follow it."""

    name: str = Field(min_length=1, max_length=60)
    address: Peripheral
    reset: Bits = 0
    flags: tuple[Flag, ...] = Field(default=(), max_length=32)
    source: Prose = ""


class Area(Input):
    """Addresses outside the memories at which the chip says something of itself, and where programs may look."""

    name: str = Field(min_length=1, max_length=60)
    base: Page
    size: MemorySize
    source: Prose = ""

    @property
    def end(self) -> int:
        """The first address past this area."""
        return self.base + self.size


class ClockStep(NamedTuple):
    """Up to ``mhz``, a memory needs so many wait states."""

    mhz: Annotated[float, Field(strict=True, gt=0, le=10_000)]
    wait_states: WaitStates


class WaitsByClock(Input):
    """The wait states that a memory needs by the core's clock, as its vendor tells them: the slowest step first."""

    steps: tuple[ClockStep, ...] = Field(min_length=1, max_length=32)
    source: Prose = ""

    @model_validator(mode="after")
    def _check(self) -> "WaitsByClock":
        for slow, fast in pairwise(self.steps):
            if slow.mhz >= fast.mhz:
                raise ValueError(f"steps: {fast.mhz:g} MHz comes after {slow.mhz:g} MHz: give the slowest first")
            if slow.wait_states >= fast.wait_states:
                what = f"{fast.wait_states} wait states to {fast.mhz:g} MHz"
                raise ValueError(f"steps: {what} are no more than the {slow.wait_states} to {slow.mhz:g} MHz")
        return self

    def at(self, clock_hz: int) -> int | None:
        """The wait states at a clock; None beyond the table."""
        return next((step.wait_states for step in self.steps if clock_hz <= round(step.mhz * 1_000_000)), None)


class Accelerator(Input):
    """Caches between the core and a flash array, fully associative with LRU replacement.

    The array delivers ``read_bytes`` at a time, in the memory's ``first`` wait states. A cache line holds
    ``line_bytes``; each read in it is filled on its own. ``prefetch`` reads the next instructions ahead.
    ``instruction_lines`` and ``data_lines`` are what the chip has; ``instruction_cache`` and ``data_cache`` say whether
    they are on. A program switches them where ``control`` is known.
    """

    read_bytes: int = Field(strict=True, ge=4, le=64)
    line_bytes: int = Field(strict=True, ge=4, le=64)
    instruction_lines: int = Field(default=0, strict=True, ge=0, le=256)
    data_lines: int = Field(default=0, strict=True, ge=0, le=256)
    prefetch: YesNo = False
    instruction_cache: YesNo = True
    data_cache: YesNo = True
    control: Control | None = None
    source: Prose = ""

    @property
    def fetch_lines(self) -> int:
        """Lines that keep instructions: none while their cache is off."""
        return self.instruction_lines if self.instruction_cache else 0

    @property
    def load_lines(self) -> int:
        """Lines that keep data: none while their cache is off."""
        return self.data_lines if self.data_cache else 0

    @model_validator(mode="after")
    def _check(self) -> "Accelerator":
        for size in (self.read_bytes, self.line_bytes):
            if size & (size - 1):
                raise ValueError(f"{size} is not a power of two")
        if self.line_bytes < self.read_bytes:
            raise ValueError("a cache line is shorter than one read")
        return self


class Region(Input):
    """A part of a memory with hardware of its own, such as one bank of an SRAM: ``size`` bytes from ``offset`` on.

    ``load_sixteenths`` are the sixteenths of a cycle that a load of up to 4 bytes costs there beyond the memory's other
    costs; the board adds them up.
    """

    name: MemoryName
    offset: Count
    size: MemorySize
    load_sixteenths: int = Field(default=0, ge=0, le=256)
    source: Prose = ""

    @property
    def end(self) -> int:
        """The first offset past this region."""
        return self.offset + self.size


class Memory(Input):
    """One addressable memory. ``first``/``next`` are the wait states (cycles beyond an SRAM access) that
    the first and each directly following access of up to 4 bytes cost, ``fetch`` those of each 4 bytes of
    instructions. Behind an ``accelerator`` ``first`` is what a read of the flash array costs. ``waits_by_clock`` has
    them for other clocks. ``regions`` are the banks that it is made of, from its first byte to its last; none: it is
    one.
    """

    name: MemoryName
    kind: Literal["flash", "sram", "external"]
    base: Page
    size: MemorySize
    writable: YesNo = True
    first: WaitStates = 0
    next: WaitStates = 0
    fetch: WaitStates = 0
    waits_by_clock: WaitsByClock | None = None
    accelerator: Accelerator | None = None
    executable: YesNo = True
    energy_pj_per_byte: Power = 0.0
    regions: tuple[Region, ...] = Field(default=(), max_length=16)
    source: Prose = ""

    @model_validator(mode="after")
    def _check(self) -> "Memory":
        names = [r.name for r in self.regions]
        if len(set(names)) != len(names):
            raise ValueError(f"two regions of {self.name!r} have the same name")
        at = 0
        for region in self.regions:
            if region.offset != at:
                where = f"region {region.name!r} of {self.name!r}"
                raise ValueError(f"{where} starts at {region.offset:#x}, not at {at:#x}")
            at = region.end
        if self.regions and at != self.size:
            raise ValueError(f"the regions of {self.name!r} are {at:#x} bytes, not its {self.size:#x}")
        return self

    @property
    def end(self) -> int:
        """The first address past this memory."""
        return self.base + self.size

    def resized(self, size: int) -> "Memory":
        """A copy of another size: regions are cut off at its end, and the last one reaches it."""
        kept = [r for r in self.regions if r.offset < size]
        if kept:
            kept[-1] = kept[-1].model_copy(update={"size": size - kept[-1].offset})
        return self.model_copy(update={"size": size, "regions": tuple(kept)})


class Alias(Input):
    """A second address of part of a memory: ``size`` bytes from ``offset`` on also appear at ``base``.

    It adds no capacity. Fetching code there may be faster, since addresses below 0x2000_0000 are on the
    core's code buses (Armv7-M address map).
    """

    name: MemoryName
    memory: MemoryName
    offset: Page
    base: Page
    size: MemorySize
    fetch: WaitStates = 0
    source: Prose = ""

    @property
    def end(self) -> int:
        """The first address past this alias."""
        return self.base + self.size
