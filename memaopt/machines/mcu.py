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
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from memaopt.arguments import public
from memaopt.errors import InputError
from memaopt.extensions import MACHINES
from memaopt.files import MACHINE_BYTES, parse_toml, read_text
from memaopt.inputs import MOST_BYTES, Input, Prose, Word, YesNo, any_of
from memaopt.machines.core import CoreField, core
from memaopt.machines.dma import Dma
from memaopt.machines.memory import MOST_MEMORY, Alias, Area, Memory, MemoryName, Power, Register
from memaopt.machines.setting import SWITCHES, USUAL, Setting
from memaopt.spelling import either

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "kb": 1 << 10, "mb": 1 << 20, "k": 1 << 10, "m": 1 << 20}
#: Addresses that the core and its peripherals have: nothing of a machine file lies there.
_PERIPHERALS = ((0x4000_0000, 0x6000_0000), (0xE000_0000, MOST_BYTES))


class Mcu(Input):
    """A microcontroller in a setting: resources that schedules must fit, and figures that price them.

    ``core`` is named, or a table of :class:`~memaopt.machines.core.Core`.
    ``registers`` are those of the peripherals that the virtual board has something to say of; all others keep what is
    written, and so do ``areas``. ``fetch_queue_words`` is the core setting that decides how it keeps up with 32-bit
    instructions (see docs/timing.md); ``code_ram`` names the memory or alias that code placed in RAM runs from, a
    writable and executable one.
    ``power_mw`` is drawn while computing; ``power_range_mw`` is the spread of what was measured.
    ``fixed_clock``: there is no other one.
    ``setting`` is the one it is in, ``settings`` are those it can be put in (:meth:`in_setting`);
    where a file names none, ``stock`` and ``ram``.
    ``dma``: the channel that copies beside the core; None where that is not asked for.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)
    title: str = Field(min_length=1, max_length=200)
    core: CoreField = Field(default_factory=lambda: core("cortex-m4"))
    clock_hz: int = Field(strict=True, gt=0, le=10**10)
    fixed_clock: YesNo = False
    fetch_queue_words: int = Field(default=3, strict=True, ge=2, le=7)
    memories: tuple[Memory, ...] = Field(max_length=16)
    aliases: tuple[Alias, ...] = Field(default=(), max_length=16)
    code_ram: MemoryName = "sram"
    registers: tuple[Register, ...] = Field(default=(), max_length=256)
    areas: tuple[Area, ...] = Field(default=(), max_length=16)
    dma: Dma | None = None
    power_mw: Power = 0.0
    power_range_mw: tuple[Power, Power] | None = None
    sources: dict[Word, Prose] = Field(default_factory=dict, max_length=64)
    settings: tuple[Setting, ...] = Field(default=USUAL, max_length=16)
    setting: Setting = USUAL[0]

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
        if sum(m.size for m in self.memories) + sum(a.size for a in self.areas) > MOST_MEMORY:
            raise ValueError(f"the memories have more than {MOST_MEMORY:,} bytes together")
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
        for m in [self.memory("flash")]:
            waits, mhz = m.waits_by_clock and m.waits_by_clock.at(self.clock_hz), f"{self.clock_hz / 1e6:g} MHz"
            if m.waits_by_clock and (waits is None or (m.first, m.next) != (waits, waits)):
                told = "does not reach" if waits is None else f"has {waits} wait states at"
                raise ValueError(f"{m.name!r}: its waits_by_clock {told} {mhz}, where it has {m.first}, then {m.next}")
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
        for switch in SWITCHES:
            if len({getattr(setting, switch) is None for setting in self.settings}) > 1:
                raise ValueError(f"settings: {switch} is said in some, but not in all")
        for name in () if self.dma is None else self.dma.reads:
            if name not in [m.name for m in self.memories if m.kind == "external"]:
                raise ValueError(f"dma: it reads {name!r}, which is no external memory")
        return self

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a DMA that is not asked for, so that a certificate is as it was."""
        data: dict[str, Any] = handler(self)
        return data if self.dma is not None else {name: value for name, value in data.items() if name != "dma"}

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
    def assumed(self) -> tuple[str, ...]:
        """Figures that nobody published or that were not looked up, as their sources say: a name, a memory's, an
        accelerator's (``flash.accelerator``).
        """
        sources = dict(self.sources)
        for memory in self.memories:
            sources[memory.name] = memory.source
            if memory.accelerator is not None:
                sources[f"{memory.name}.accelerator"] = memory.accelerator.source
        sources |= {alias.name: alias.source for alias in self.aliases}
        sources |= {f"setting {setting.name}": setting.source for setting in self.settings}
        sources |= {} if self.dma is None else {"dma": self.dma.source}
        return tuple(name for name, text in sources.items() if "assumed" in text)

    @property
    def places(self) -> "tuple[Memory | Alias, ...]":
        """Everything that has addresses: the memories, then the aliases."""
        return (*self.memories, *self.aliases)

    @property
    def has_wait_states(self) -> bool:
        """Whether any access or instruction fetch costs more than the core itself takes."""
        memories = any(m.first or m.next or m.fetch or any(r.load_sixteenths for r in m.regions) for m in self.memories)
        return memories or any(a.fetch for a in self.aliases)

    @property
    def unpowered(self) -> str:
        """Why nothing is said of its energy, empty where something is."""
        return "" if self.power_mw else f"not known: the machine {self.name} has no power_mw"

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
    def with_clock(self, hz: int, wait_states: int | None = None) -> "Mcu":
        """A copy at another clock, its flash with the wait states of its ``waits_by_clock`` there, or with those given.

        Without a wait state flash needs no accelerator. Other memories keep their cycles, as their buses keep their
        divider; power is in proportion to the clock. InputError says which clocks there are.
        """
        if hz != self.clock_hz and self.fixed_clock:
            raise InputError(f"{self.name} runs at {self.clock_hz / 1e6:g} MHz and at no other clock")
        table = self.memory("flash").waits_by_clock
        if wait_states is not None:
            return self.with_wait_states(wait_states)._clocked(hz)
        if hz == self.clock_hz:
            return self
        if table is None:
            asked = either("--wait-states 3", "wait_states=3")
            raise InputError(f"{self.name} has no table of its flash's wait states by clock: give them, as in {asked}")
        waits = table.at(hz)
        if waits is None or hz <= 0:
            raise InputError(
                f"{self.name}: no clock of {hz / 1e6:g} MHz: its flash has wait states to {table.steps[-1].mhz:g} MHz"
            )
        return self._clocked(hz, waits)

    def _clocked(self, hz: int, flash: int | None = None) -> "Mcu":
        """A copy at a clock, its flash with these wait states, or with those that it has."""
        data, ratio = self.model_dump(), hz / self.clock_hz
        if flash is not None:
            found = next(m for m in data["memories"] if m["name"] == "flash")
            # Without an accelerator code waits as data do.
            fetch = {} if found["accelerator"] else {"fetch": flash if found["fetch"] else 0}
            found.update(first=flash, next=flash, **fetch, **({} if flash else {"accelerator": None}))
        was, now = f"{self.clock_hz / 1e6:g} MHz", f"{hz / 1e6:g} MHz"
        data |= {"clock_hz": hz, "title": self.title.replace(was, now), "power_mw": self.power_mw * ratio}
        if self.power_range_mw is not None:
            data["power_range_mw"] = tuple(each * ratio for each in self.power_range_mw)
        said = {"clock_hz": "asked for", "power_mw": f"in proportion to the clock, at {was}"}
        told = {name: f"{said[name]}: {text}"[:1000] for name, text in self.sources.items() if name in said}
        return Mcu.checked({**data, "sources": {**self.sources, **told}}, self.name)

    @public
    def with_wait_states(self, flash: int) -> "Mcu":
        """A copy whose flash has that many wait states; with 0, no memory has any (the ideal core)."""
        if flash < 0:
            raise InputError(f"{flash} wait states: give 0 or more")
        ideal = {"first": 0, "next": 0, "fetch": 0, "accelerator": None, "waits_by_clock": None}
        memories = [m.model_dump() for m in self.memories]
        aliases = [a.model_dump() for a in self.aliases]
        for m in memories:
            if flash == 0:
                m.update(ideal, regions=[{**r, "load_sixteenths": 0} for r in m["regions"]])
            elif m["kind"] == "flash":
                m.update(first=flash, next=flash, waits_by_clock=None)
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


def beyond_preset(machine: Mcu) -> str:
    """What a machine with the name of a preset has more of on the chip than that; empty if nothing."""
    if machine.name not in preset_names():
        return ""
    of_preset = {memory.name: memory.size for memory in _chip(machine.name).memories if memory.kind != "external"}
    more = [m for m in machine.memories if m.size > of_preset.get(m.name, m.size)]
    return ", ".join(f"{m.size:,} bytes of {m.name} where {machine.name} has {of_preset[m.name]:,}" for m in more)


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
def mcu(name: str | Path, setting: str = "stock", *, dma: bool = False) -> Mcu:
    """The preset called ``name``, or the machine described in the TOML file at that path, in a setting.

    ``dma``: with the DMA that its file describes, which else is off. Raises InputError for an unknown name (with the
    nearest preset) or setting, for a DMA that is not described, or a file that is not a valid machine.
    """
    chip = _chip(name)
    if dma and chip.dma is None:
        raise InputError(f"{chip.name}: its file describes no DMA (a table [dma], see docs/files.md)")
    asked = {"title": f"{chip.title} with DMA"} if dma else {"dma": None}
    return chip.model_copy(update=asked).in_setting(setting)


def dma_of(name: str) -> Dma | None:
    """The DMA that the file of a preset describes, if it describes one."""
    return _chip(name).dma


def _added(thing: object, name: str) -> Mcu:
    """What was registered under a name."""
    if not isinstance(thing, Mcu):
        raise InputError(f"machine {name}: what is registered under that name is no Mcu")
    return thing


def _chip(name: str | Path) -> Mcu:
    text = str(name)
    if text.endswith(".toml"):
        return Mcu.checked(parse_toml(read_text(text, MACHINE_BYTES), text), text)
    if text.lower() in preset_names():
        preset = resources.files("memaopt.machines") / "mcus" / f"{text.lower()}.toml"
        return Mcu.checked(parse_toml(preset.read_text(encoding="utf-8"), text), text)
    added = MACHINES.all()
    if text in added:
        return _added(added[text], text)
    names, short = [*preset_names(), *added], text.lower()
    # A letter mistyped or left out, or less or more of the name: another chip of the same family is not meant.
    part = [name for name in names if len(short) > 2 and (name.startswith(short) or short.startswith(name))]
    near = part or difflib.get_close_matches(short, names, n=1, cutoff=0.85)
    hint = f"did you mean {any_of(near)}?" if near else f"there are {', '.join(names)}"
    raise InputError(f"no microcontroller {text!r}: {hint} (or give a .toml file)")
