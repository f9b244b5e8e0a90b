"""WHERE a problem is computed: a microcontroller's memories, registers, clock and timing figures.

A machine is a TOML file (presets in ``memaopt/mcus/``); nothing here knows any chip by name. Every figure
in a preset has its source beside it. Sizes and addresses are bytes, costs are core cycles.
"""

import difflib
import re
import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from memaopt.errors import InputError

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "kb": 1 << 10, "mb": 1 << 20, "k": 1 << 10, "m": 1 << 20}


class Accelerator(BaseModel):
    """Caches between the core and a flash array, fully associative with LRU replacement.

    The array delivers ``read_bytes`` at a time, in the memory's ``first`` wait states. A cache line holds
    ``line_bytes``; each read in it is filled on its own. ``prefetch`` reads the next instructions ahead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    read_bytes: int = Field(ge=4, le=64)
    line_bytes: int = Field(ge=4, le=64)
    instruction_lines: int = Field(default=0, ge=0, le=128)
    data_lines: int = Field(default=0, ge=0, le=128)
    prefetch: bool = False
    source: str = ""

    @model_validator(mode="after")
    def _check(self) -> "Accelerator":
        for size in (self.read_bytes, self.line_bytes):
            if size & (size - 1):
                raise ValueError(f"{size} is not a power of two")
        if self.line_bytes < self.read_bytes:
            raise ValueError("a cache line is shorter than one read")
        return self


class Region(BaseModel):
    """A part of a memory with hardware of its own, such as one bank of an SRAM: ``size`` bytes from ``offset`` on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    offset: int = Field(ge=0)
    size: int = Field(gt=0)
    source: str = ""

    @property
    def end(self) -> int:
        """The first offset past this region."""
        return self.offset + self.size


class Memory(BaseModel):
    """One addressable memory. ``first``/``next`` are the wait states (cycles beyond an SRAM access) that
    the first and each directly following access of up to 4 bytes cost, ``fetch`` those of each 4 bytes of
    instructions. Behind an ``accelerator`` ``first`` is what a read of the flash array costs. ``regions`` are the
    banks that it is made of, from its first byte to its last; none: it is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["flash", "sram", "external"]
    base: int = Field(ge=0, lt=1 << 32)
    size: int = Field(gt=0, le=1 << 32)
    writable: bool = True
    first: int = Field(default=0, ge=0)
    next: int = Field(default=0, ge=0)
    fetch: int = Field(default=0, ge=0)
    accelerator: Accelerator | None = None
    executable: bool = True
    energy_pj_per_byte: float = Field(default=0.0, ge=0)
    regions: tuple[Region, ...] = ()
    source: str = ""

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


class Alias(BaseModel):
    """A second address of part of a memory: ``size`` bytes from ``offset`` on also appear at ``base``.

    It adds no capacity. Fetching code there may be faster, since addresses below 0x2000_0000 are on the
    core's code buses (Armv7-M address map).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memory: str
    offset: int = Field(ge=0)
    base: int = Field(ge=0, lt=1 << 32)
    size: int = Field(gt=0)
    fetch: int = Field(default=0, ge=0)
    source: str = ""

    @property
    def end(self) -> int:
        """The first address past this alias."""
        return self.base + self.size


class Mcu(BaseModel):
    """A microcontroller: resources that schedules must fit, and figures that price them.

    ``fetch_queue_words`` is the core setting that decides how it keeps up with 32-bit instructions (see
    docs/timing.md); ``code_ram`` names the memory or alias that code placed in RAM runs from. ``power_mw``
    is drawn while computing; ``power_range_mw`` is the spread of what was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    core: str = "cortex-m4"
    clock_hz: int = Field(gt=0)
    core_registers: int = Field(default=14, ge=1)
    fpu_registers: int = Field(default=32, ge=0)
    fetch_queue_words: int = Field(default=3, ge=2, le=7)
    memories: tuple[Memory, ...]
    aliases: tuple[Alias, ...] = ()
    code_ram: str = "sram"
    power_mw: float = Field(default=0.0, ge=0)
    power_range_mw: tuple[float, float] | None = None
    sources: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> "Mcu":
        names = [m.name for m in self.memories]
        if len(set(names)) != len(names):
            raise ValueError("two memories have the same name")
        for kind in ("flash", "sram"):
            if not any(m.name == kind for m in self.memories):
                raise ValueError(f"a memory named {kind!r} is needed")
        for alias in self.aliases:
            if alias.memory not in names:
                raise ValueError(f"alias {alias.name!r} is of {alias.memory!r}, which is not a memory")
        ordered = sorted(self.places, key=lambda m: m.base)
        for low, high in pairwise(ordered):
            if low.end > high.base:
                raise ValueError(f"memories {low.name!r} and {high.name!r} overlap")
        if self.code_ram not in [m.name for m in self.places]:
            raise ValueError(f"code_ram is {self.code_ram!r}, which is no memory and no alias")
        return self

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
        memories = any(m.first or m.next or m.fetch for m in self.memories)
        return memories or any(a.fetch for a in self.aliases)

    def with_wait_states(self, flash: int) -> "Mcu":
        """A copy whose flash has that many wait states; with 0, no memory has any (the ideal core)."""
        if flash < 0:
            raise InputError(f"{flash} wait states: give 0 or more")
        ideal = {"first": 0, "next": 0, "fetch": 0, "accelerator": None}
        memories = [m.model_dump() for m in self.memories]
        aliases = [a.model_dump() for a in self.aliases]
        for m in memories:
            if flash == 0:
                m.update(ideal)
            elif m["kind"] == "flash":
                m.update(first=flash, next=flash)
        if flash == 0:
            aliases = [{**a, "fetch": 0} for a in aliases]
        return _validated({**self.model_dump(), "memories": memories, "aliases": aliases}, self.name)

    def with_sizes(self, **sizes: int) -> "Mcu":
        """A copy with the given memories resized, as in ``with_sizes(sram=32768)``."""
        for name in sizes:
            self.memory(name)
        memories = [m.resized(sizes[m.name]) if m.name in sizes else m for m in self.memories]
        return _validated({**self.model_dump(), "memories": [m.model_dump() for m in memories]}, self.name)


def parse_size(text: str) -> int:
    """Bytes from text like ``32KiB``, ``1.5MiB``, ``4096`` or ``0x1000``."""
    match = re.fullmatch(r"\s*(0x[0-9a-f]+|\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match and match[2] in _UNITS:
        value = int(match[1], 16) if match[1].startswith("0x") else float(match[1])
        size = int(value * _UNITS[match[2]])
        if size > 0:
            return size
    raise InputError(f"{text!r} is not a size: write bytes, or a number with KiB or MiB, such as 32KiB")


def preset_names() -> list[str]:
    """The names of the presets that come with the package, sorted."""
    folder = resources.files("memaopt") / "mcus"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def mcu(name: str | Path) -> Mcu:
    """The preset called ``name``, or the machine described in the TOML file at that path.

    Raises InputError for an unknown name (with the nearest preset) or a file that is not a valid machine.
    """
    text = str(name)
    if text.endswith(".toml"):
        return _read(Path(text).read_text if Path(text).is_file() else None, text)
    if text.lower() in preset_names():
        preset = resources.files("memaopt") / "mcus" / f"{text.lower()}.toml"
        return _read(preset.read_text, text)
    near = difflib.get_close_matches(text.lower(), preset_names(), n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(preset_names())}"
    raise InputError(f"no microcontroller {text!r}: {hint} (or give a .toml file)")


def _read(read_text: Any, where: str) -> Mcu:
    if read_text is None:
        raise InputError(f"{where}: no such file")
    try:
        data = tomllib.loads(read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not valid TOML: {error}") from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}") from None
    return _validated(data, where)


def _validated(data: dict[str, Any], where: str) -> Mcu:
    try:
        return Mcu.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {place + ': ' if place else ''}{message}") from None
