"""WHERE a problem is computed: a microcontroller's core, memories, clock and timing figures.

A machine is a TOML file (presets in ``memaopt/machines/mcus/``); nothing here knows any chip by name. Every figure
in a preset has its source beside it. Sizes and addresses are bytes, costs are core cycles.

The chip is one thing, the project that it is used in another: a :class:`Setting` says what that project turns on and
what may be copied into RAM. An :class:`Mcu` is always in one setting, its accelerators as that setting has them.
"""

import difflib
import re
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from memaopt.arguments import public
from memaopt.errors import InputError
from memaopt.files import MACHINE_BYTES, parse_toml, read_text
from memaopt.inputs import MOST_BYTES, Address, Count, Input, Prose, Word, YesNo
from memaopt.machines.core import CoreField, core

#: Names of sections and of keywords in linker scripts, and what else a memory cannot be called.
_RESERVED = {
    *("all", "auto", "bss", "comment", "data", "fini", "init", "l", "len", "length", "note", "o", "org", "origin"),
    *("ramfunc", "rodata", "sram_behind", "stack", "text", "vectors"),
}
#: Addresses that the core and its peripherals have: nothing of a machine file lies there.
_PERIPHERALS = ((0x4000_0000, 0x6000_0000), (0xE000_0000, MOST_BYTES))
#: Memories begin at a page of the board's emulator.
_PAGE = 4096
_MOST_MEMORY = 512 << 20
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "kb": 1 << 10, "mb": 1 << 20, "k": 1 << 10, "m": 1 << 20}
#: What a stock project takes beside a library. Images of :mod:`memaopt.board.projects` are linked to at most 4.1 KB of
#: flash more than the library is promised: start-up code, clocks, ``main``, the compiler's helpers for double. The rest
#: is for the 0.5 KB of a whole vector table and for code that is only estimated. In RAM they have a heap of 512 bytes,
#: or Zephyr's stack for interrupts of 2 KiB, and little data.
PROJECT_FLASH, PROJECT_RAM = 8192, 6144


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
MemorySize = Annotated[int, Field(strict=True, gt=0, le=_MOST_MEMORY)]
WaitStates = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Peripheral = Annotated[int, Field(strict=True, ge=0x4000_0000, lt=0x6000_0000, multiple_of=4)]
Bits = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]
SomeBits = Annotated[int, Field(strict=True, gt=0, lt=1 << 32)]
Power = Annotated[float, Field(strict=True, ge=0, le=1e6)]


class Control(Input):
    """The register that switches an accelerator, and its bits for each part; 0 where it has none."""

    address: Peripheral
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


class Accelerator(Input):
    """Caches between the core and a flash array, fully associative with LRU replacement.

    The array delivers ``read_bytes`` at a time, in the memory's ``first`` wait states. A cache line holds
    ``line_bytes``; each read in it is filled on its own. ``prefetch`` reads the next instructions ahead.
    ``instruction_lines`` and ``data_lines`` are what the chip has; ``instruction_cache`` and ``data_cache`` say whether
    they are on. A program switches them where ``control`` is known.
    """

    read_bytes: int = Field(strict=True, ge=4, le=64)
    line_bytes: int = Field(strict=True, ge=4, le=64)
    instruction_lines: int = Field(default=0, strict=True, ge=0, le=128)
    data_lines: int = Field(default=0, strict=True, ge=0, le=128)
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
    instructions. Behind an ``accelerator`` ``first`` is what a read of the flash array costs. ``regions`` are the
    banks that it is made of, from its first byte to its last; none: it is one.
    """

    name: MemoryName
    kind: Literal["flash", "sram", "external"]
    base: Page
    size: MemorySize
    writable: YesNo = True
    first: WaitStates = 0
    next: WaitStates = 0
    fetch: WaitStates = 0
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


class RegisterBits(Input):
    """Bits that a setting needs set in a register, which start-up code leaves as they are after reset."""

    name: str = Field(pattern=r"^[A-Za-z0-9_>., -]{1,60}$")
    address: int = Field(strict=True, ge=0, lt=1 << 32, multiple_of=4)
    bits: SomeBits


class Setting(Input):
    """The project that a chip is used in: what is on, and what may be copied into RAM when it starts.

    ``prefetch``, ``instruction_cache`` and ``data_cache`` are those of every accelerator; None leaves them as the
    machine's file has them. ``code_in_ram`` and ``constants_in_ram`` are budgets in bytes. ``turn_on`` is what the
    emitted snippets do beyond the vendor's start-up code. ``project_flash`` and ``project_ram`` are the bytes that the
    project itself takes, and leaves to no library: its vector table, start-up code, clocks, ``memcpy`` and its kind and
    ``main``; its data, heap and stacks.
    """

    name: str = Field(default="stock", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    title: str = Field(default="code and constants in flash", min_length=1, max_length=200)
    prefetch: YesNo | None = None
    instruction_cache: YesNo | None = None
    data_cache: YesNo | None = None
    code_in_ram: Count = 0
    constants_in_ram: Count = 0
    project_flash: Count = PROJECT_FLASH
    project_ram: Count = PROJECT_RAM
    turn_on: tuple[RegisterBits, ...] = Field(default=(), max_length=16)
    source: Prose = ""

    def switched(self, accelerator: Accelerator) -> Accelerator:
        """The accelerator as this setting has it."""
        wanted = {name: getattr(self, name) for name in _SWITCHES}
        return accelerator.model_copy(update={name: on for name, on in wanted.items() if on is not None})


_SWITCHES = ("prefetch", "instruction_cache", "data_cache")
#: More than any memory has.
_ALL = 1 << 32
#: The settings of a machine whose file has none.
_USUAL = (
    Setting(),
    Setting(
        name="ram",
        title="code and constants copied into RAM where that pays",
        code_in_ram=_ALL,
        constants_in_ram=_ALL,
    ),
)


class Mcu(Input):
    """A microcontroller in a setting: resources that schedules must fit, and figures that price them.

    ``core`` is named, or a table of :class:`~memaopt.machines.core.Core`.
    ``registers`` are those of the peripherals that the virtual board has something to say of; all others keep what is
    written, and so do ``areas``. ``fetch_queue_words`` is the core setting that decides how it keeps up with 32-bit
    instructions (see docs/timing.md); ``code_ram`` names the memory or alias that code placed in RAM runs from, a
    writable and executable one.
    ``power_mw`` is drawn while computing; ``power_range_mw`` is the spread of what was measured.
    ``setting`` is the one it is in, ``settings`` are those it can be put in (:meth:`in_setting`);
    where a file names none, ``stock`` and ``ram``.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)
    title: str = Field(min_length=1, max_length=200)
    core: CoreField = Field(default_factory=lambda: core("cortex-m4"))
    clock_hz: int = Field(strict=True, gt=0, le=10**10)
    fetch_queue_words: int = Field(default=3, strict=True, ge=2, le=7)
    memories: tuple[Memory, ...] = Field(max_length=16)
    aliases: tuple[Alias, ...] = Field(default=(), max_length=16)
    code_ram: MemoryName = "sram"
    registers: tuple[Register, ...] = Field(default=(), max_length=256)
    areas: tuple[Area, ...] = Field(default=(), max_length=16)
    power_mw: Power = 0.0
    power_range_mw: tuple[Power, Power] | None = None
    sources: dict[Word, Prose] = Field(default_factory=dict, max_length=64)
    settings: tuple[Setting, ...] = Field(default=_USUAL, max_length=16)
    setting: Setting = _USUAL[0]

    @model_validator(mode="after")
    def _check(self) -> "Mcu":
        names = [m.name for m in self.places]
        if len(set(names)) != len(names):
            raise ValueError("two memories or aliases have the same name")
        for kind in ("flash", "sram"):
            if not any(m.name == m.kind == kind for m in self.memories):
                raise ValueError(f"a memory named {kind!r} and of that kind is needed")
        if not self.sram.writable:
            raise ValueError("memory 'sram' is not writable")
        if sum(m.size for m in self.memories) + sum(a.size for a in self.areas) > _MOST_MEMORY:
            raise ValueError(f"the memories have more than {_MOST_MEMORY:,} bytes together")
        for alias in self.aliases:
            if alias.memory not in [m.name for m in self.memories]:
                raise ValueError(f"alias {alias.name!r} is of {alias.memory!r}, which is not a memory")
        for place in (*self.places, *self.areas):
            if place.end > MOST_BYTES:
                raise ValueError(f"{place.name!r} ends at {place.end:#x}, beyond 32-bit addresses")
            for start, end in _PERIPHERALS:
                if place.base < end and start < place.end:
                    raise ValueError(f"{place.name!r} lies over peripherals, {start:#x} to {end - 1:#x}")
        ordered = sorted((*self.places, *self.areas), key=lambda m: m.base)
        for low, high in pairwise(ordered):
            if low.end > high.base:
                raise ValueError(f"memories {low.name!r} and {high.name!r} overlap")
        if self.code_ram not in [m.name for m in self.places]:
            raise ValueError(f"code_ram is {self.code_ram!r}, which is no memory and no alias")
        second = {alias.name: alias.memory for alias in self.aliases}
        copied = next(m for m in self.memories if m.name == second.get(self.code_ram, self.code_ram))
        # Under another address code may run where it cannot under the memory's own.
        runs = copied.executable or self.code_ram in second
        if copied.kind == "flash" or not copied.writable or not runs:
            raise ValueError(f"code_ram is {self.code_ram!r}, which code cannot be copied into and run from")
        known = [setting.name for setting in self.settings]
        if len(set(known)) != len(known):
            raise ValueError("two settings have the same name")
        if "stock" not in known:
            raise ValueError("a setting named 'stock' is needed where there are any")
        for switch in _SWITCHES:
            if len({getattr(setting, switch) is None for setting in self.settings}) > 1:
                raise ValueError(f"settings: {switch} is said in some, but not in all")
        return self

    @public
    def memory(self, name: str) -> Memory:
        """The memory called ``name``; InputError names those there are."""
        for m in self.memories:
            if m.name == name:
                return m
        have = ", ".join(m.name for m in self.memories)
        raise InputError(f"{self.name} has no memory {name!r}: it has {have}")

    @property
    def sram(self) -> Memory:
        """The memory that holds tiles, stack and activations."""
        return self.memory("sram")

    @property
    def places(self) -> "tuple[Memory | Alias, ...]":
        """Everything that has addresses: the memories, then the aliases."""
        return (*self.memories, *self.aliases)

    @property
    def has_wait_states(self) -> bool:
        """Whether any access or instruction fetch costs more than the core itself takes."""
        memories = any(m.first or m.next or m.fetch or any(r.load_sixteenths for r in m.regions) for m in self.memories)
        return memories or any(a.fetch for a in self.aliases)

    @public
    def in_setting(self, name: str) -> "Mcu":
        """A copy in the setting called ``name``; InputError names those there are."""
        for setting in self.settings:
            if setting.name == name:
                return self._in(setting)
        have = ", ".join(setting.name for setting in self.settings)
        raise InputError(f"{self.name} has no setting {name!r}: it has {have}")

    @public
    def with_ram(self, *, code: int | None = None, constants: int | None = None) -> "Mcu":
        """A copy in the same setting with other budgets of bytes copied into RAM; None leaves a budget as it is."""
        given = {"code_in_ram": code, "constants_in_ram": constants}
        for budget in given.values():
            if budget is not None and budget < 0:
                raise InputError(f"{budget} bytes of RAM: give 0 or more")
        return self._in(self.setting.model_copy(update={key: n for key, n in given.items() if n is not None}))

    def _in(self, setting: Setting) -> "Mcu":
        memories = tuple(
            m if m.accelerator is None else m.model_copy(update={"accelerator": setting.switched(m.accelerator)})
            for m in self.memories
        )
        return self.model_copy(update={"memories": memories, "setting": setting})

    @public
    def with_wait_states(self, flash: int) -> "Mcu":
        """A copy whose flash has that many wait states; with 0, no memory has any (the ideal core)."""
        if flash < 0:
            raise InputError(f"{flash} wait states: give 0 or more")
        ideal = {"first": 0, "next": 0, "fetch": 0, "accelerator": None}
        memories = [m.model_dump() for m in self.memories]
        aliases = [a.model_dump() for a in self.aliases]
        for m in memories:
            if flash == 0:
                m.update(ideal, regions=[{**r, "load_sixteenths": 0} for r in m["regions"]])
            elif m["kind"] == "flash":
                m.update(first=flash, next=flash)
        if flash == 0:
            aliases = [{**a, "fetch": 0} for a in aliases]
        return Mcu.checked({**self.model_dump(), "memories": memories, "aliases": aliases}, self.name)

    @public
    def with_sizes(self, **sizes: int) -> "Mcu":
        """A copy with the given memories resized, as in ``with_sizes(sram=32768)``."""
        for name in sizes:
            self.memory(name)
        memories = [m.resized(sizes[m.name]) if m.name in sizes else m for m in self.memories]
        return Mcu.checked({**self.model_dump(), "memories": [m.model_dump() for m in memories]}, self.name)


@public
def parse_size(text: str) -> int:
    """Bytes from text like ``32KiB``, ``1.5MiB``, ``4096`` or ``0x1000``."""
    match = re.fullmatch(r"\s*(0x[0-9a-f]+|\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match and match[2] in _UNITS:
        value = int(match[1], 16) if match[1].startswith("0x") else float(match[1])
        size = int(value * _UNITS[match[2]]) if value <= MOST_BYTES else 0
        if 0 < size <= MOST_BYTES:
            return size
    raise InputError(f"{text[:40]!r} is not a size: write bytes, or a number with KiB or MiB, such as 32KiB")


def preset_names() -> list[str]:
    """The names of the presets that come with the package, sorted."""
    folder = resources.files("memaopt.machines") / "mcus"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


@public
def mcu(name: str | Path, setting: str = "stock") -> Mcu:
    """The preset called ``name``, or the machine described in the TOML file at that path, in a setting.

    Raises InputError for an unknown name (with the nearest preset) or setting, or a file that is not a valid machine.
    """
    return _chip(name).in_setting(setting)


def _chip(name: str | Path) -> Mcu:
    text = str(name)
    if text.endswith(".toml"):
        return Mcu.checked(parse_toml(read_text(text, MACHINE_BYTES), text), text)
    if text.lower() in preset_names():
        preset = resources.files("memaopt.machines") / "mcus" / f"{text.lower()}.toml"
        return Mcu.checked(parse_toml(preset.read_text(encoding="utf-8"), text), text)
    names, short = preset_names(), text.lower()
    # A letter mistyped or left out, or less or more of the name: another chip of the same family is not meant.
    part = [name for name in names if len(short) > 2 and (name.startswith(short) or short.startswith(name))]
    near = part or difflib.get_close_matches(short, names, n=1, cutoff=0.85)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    raise InputError(f"no microcontroller {text!r}: {hint} (or give a .toml file)")
