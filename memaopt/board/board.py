"""The virtual board: load a program, call its functions, read what they did."""

import math
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from memaopt.board import layout
from memaopt.board.build import Build
from memaopt.board.elf import Image, read_elf
from memaopt.board.energy import energy
from memaopt.board.profile import profile as make_profile
from memaopt.board.results import Run
from memaopt.board.timing import Timing
from memaopt.errors import FaultError, InputError, MissingToolError
from memaopt.mcus import Mcu

if TYPE_CHECKING:
    from memaopt.board.core import Core, Stop

BUDGET = 2_000_000_000
_STACK_BYTES = 16 << 10
_LEAST_STACK = 64
# What common linker scripts call the ends of the stack (newlib, CMSIS, STM32CubeIDE).
_STACK_TOPS = ("__StackTop", "_estack", "__stack", "__initial_sp")
_STACK_LIMITS = ("__StackLimit", "__stack_limit", "_sstack")
_NEEDED = {"unicorn": "unicorn", "capstone": "capstone", "elftools": "pyelftools", "numba": "numba"}


class Board:
    """A virtual Cortex-M4 board with the memories of ``mcu``.

    ``Board(mcu).load("program.elf").call("f", 1, 2)`` runs ``f(1, 2)`` and returns a :class:`Run`. Memory
    keeps its contents between calls; counters, clocks and caches start afresh at each.

    ``timing`` overrides rules of the core, ``wait_states`` those of the flash (0: no memory has any, the
    ideal core). The stack takes ``stack_bytes`` at the end of the SRAM (16 KiB, or what static data leave).
    ``trap_divide`` makes a division by zero a fault, as CCR.DIV_0_TRP does.
    """

    def __init__(
        self,
        mcu: Mcu,
        *,
        timing: Timing | None = None,
        wait_states: int | None = None,
        stack_bytes: int | None = None,
        trap_divide: bool = False,
    ) -> None:
        _require_packages()
        self.mcu = mcu if wait_states is None else mcu.with_wait_states(wait_states)
        self._timing = timing or Timing()
        self._stack_bytes = stack_bytes
        self._trap_divide = trap_divide
        self._image: Image | None = None
        self._core: Core | None = None

    def load(self, program: str | Path | bytes | Build) -> Self:
        """Reset the board and load an ELF file (or its bytes, or a :class:`Build`)."""
        from memaopt.board.core import Core

        image = read_elf(program.elf if isinstance(program, Build) else program)
        core = Core(self.mcu, self._timing)
        for s in image.segments:
            if not any(m.base <= s.address and s.address + s.size <= m.end for m in self.mcu.places):
                raise InputError(
                    f"{image.name}: {s.size} bytes at {s.address:#010x} do not fit a memory of {self.mcu.name}"
                )
            # Start-up code may copy data from where flash holds them; without start-up code they are in place.
            for address in {s.load_address, s.address}:
                core.write(address, s.data)
        self._image, self._core = image, core
        return self

    @property
    def symbols(self) -> dict[str, int]:
        """The address of every symbol; functions without the Thumb bit."""
        return self._loaded()[0].symbols

    def read(self, where: str | int, size: int | None = None) -> bytes:
        """``size`` bytes at a symbol or an address; a whole object if ``size`` is left out."""
        image, core = self._loaded()
        if size is None:
            size = next((o.size for o in image.objects if o.name == where), None)
            if size is None:
                raise InputError(f"{where!r} is not an object of known size: say how many bytes to read")
        return core.read(self._address(where), size)

    def write(self, where: str | int, data: bytes) -> None:
        """Put ``data`` at a symbol or an address, in any memory."""
        self._loaded()[1].write(self._address(where), data)

    def call(
        self,
        function: str | int,
        *args: int | float,
        buffers: Mapping[str, tuple[int, int]] | None = None,
        max_instructions: int = BUDGET,
        profile: bool = False,
    ) -> Run:
        """Call a function by name or address with the hard-float AAPCS and run until it returns.

        Integers go to r0-r3 and then the stack, Python floats to s0-s15. ``buffers`` names address ranges
        ``(address, bytes)`` whose accesses are counted apart; they take precedence over the ELF's objects.
        Raises FaultError where the chip would fault, or after ``max_instructions``.
        """
        entry = self._address(function) & ~1
        top, limit = self._stack()
        self._pass(args, top)
        return self._execute(entry, (limit, top), buffers, max_instructions, profile, call=True)

    def run(
        self,
        *,
        buffers: Mapping[str, tuple[int, int]] | None = None,
        max_instructions: int = BUDGET,
        profile: bool = False,
    ) -> Run:
        """Run the program from its reset handler until it halts: a branch to itself, or a breakpoint.

        The stack pointer comes from the vector table (the start of the lowest segment), or is the end of
        the SRAM. Peripherals are plain memory that nothing changes, and there are no interrupts.
        """
        image, core = self._loaded()
        entry, top = image.entry & ~1, self.mcu.sram.end
        if image.segments:
            lowest = min(image.segments, key=lambda s: s.address)
            if len(lowest.data) >= 8:
                sp, reset = struct.unpack("<2I", lowest.data[:8])
                if self.mcu.sram.base < sp <= self.mcu.sram.end and reset & 1:
                    top, entry = sp, entry or reset & ~1
        if not image.entry and entry == 0:
            raise InputError(f"{image.name} has no entry point: call one of its functions")
        core.set_register(_register("SP"), top)
        core.set_register(_register("LR"), core.exit | 1)
        limit = self._symbol(_STACK_LIMITS)
        limits = (self._static_end() if limit is None or not limit < top else limit, top)
        return self._execute(entry, limits, buffers, max_instructions, profile, call=False)

    def _execute(
        self,
        entry: int,
        stack: tuple[int, int],
        buffers: Mapping[str, tuple[int, int]] | None,
        budget: int,
        profile: bool,
        call: bool,
    ) -> Run:
        from memaopt.board.buffers import STACK, BufferMap

        image, core = self._loaded()
        limit, top = stack
        names = BufferMap(self.mcu)
        names.add_image(image)
        names.add(STACK, limit, top - limit)
        names.add_all(buffers or {})
        stop, seconds = core.run(entry, names, limit, budget, self._trap_divide)
        halted = stop.reason in (layout.STOP_HALT, layout.STOP_BREAKPOINT)
        if stop.reason and (call or not halted):
            raise self._fault(stop, budget)
        memories = names.by_memory(core.counts)
        cycles = core.lane("cycles", layout.REAL)
        return Run(
            function=image.function_at(entry),
            r0=core.register(_register("R0")),
            s0=_single(core.register(_register("S0"))),
            instructions=core.counter("instructions"),
            skipped=core.counter("skips"),
            cycles=cycles,
            ideal_cycles=core.lane("cycles", layout.IDEAL),
            fetch_stalls=core.lane("fetching", layout.REAL),
            data_stalls=core.lane("waiting", layout.REAL),
            stack_bytes=top - core.counter("stack_low"),
            buffers=names.by_buffer(core.counts),
            memories=memories,
            energy=energy(self.mcu, cycles, memories),
            profile=make_profile(image, *core.decoded(), core.disassemble) if profile else None,
            seconds=seconds,
        )

    def _loaded(self) -> tuple[Image, "Core"]:
        if self._image is None or self._core is None:
            raise InputError("no program on the board: load one first")
        return self._image, self._core

    def _address(self, where: str | int) -> int:
        if isinstance(where, int):
            return where
        image = self._loaded()[0]
        if where not in image.symbols:
            raise InputError(f"{image.name} has no symbol {where!r}")
        return image.symbols[where]

    def _symbol(self, names: tuple[str, ...]) -> int | None:
        symbols = self._loaded()[0].symbols
        return next((symbols[name] for name in names if name in symbols), None)

    def _static_end(self) -> int:
        """The first address of the SRAM that the program's data leave free."""
        sram = self.mcu.sram
        homes = [(sram.base, sram.base, sram.end)]
        homes += [(sram.base + a.offset, a.base, a.end) for a in self.mcu.aliases if a.memory == sram.name]
        ends = [sram.base]
        for segment in self._loaded()[0].segments:
            for home, base, limit in homes:
                start = home + segment.address - base
                # An alias may reach beyond an SRAM that was given a smaller size.
                if base <= segment.address < limit and start < sram.end:
                    ends.append(start + segment.size)
        return max(ends)

    def _stack(self) -> tuple[int, int]:
        """Top and limit of the stack for a call: the end of the SRAM, or the program's own if it has one there."""
        top, static = self.mcu.sram.end & ~7, self._static_end()
        wanted = self._stack_bytes
        own = self._symbol(_STACK_TOPS)
        if top - static < _LEAST_STACK and wanted is None and own is not None:
            limit = self._symbol(_STACK_LIMITS)
            return own & ~7, limit if limit is not None and limit < own else own - _LEAST_STACK
        size = min(_STACK_BYTES, top - static) if wanted is None else wanted
        if not _LEAST_STACK <= size <= top - static:
            raise InputError(
                f"{self._loaded()[0].name}: static data leave {max(top - static, 0)} bytes of SRAM, "
                f"the stack needs {max(size, _LEAST_STACK)}"
            )
        return top, top - size + 7 & ~7  # rounded up: below it are static data

    def _pass(self, args: tuple[int | float, ...], top: int) -> None:
        core = self._loaded()[1]
        integers = [a for a in args if not isinstance(a, float)]
        floats = [a for a in args if isinstance(a, float)]
        if len(floats) > 16:
            raise InputError("a call takes at most 16 floats")
        if any(not -(1 << 31) <= a < 1 << 32 for a in integers):
            raise InputError("an argument does not fit 32 bits")
        for n, value in enumerate(floats):
            core.set_register(_register(f"S{n}"), int.from_bytes(struct.pack("<f", value), "little"))
        for n, value in enumerate(integers[:4]):
            core.set_register(_register(f"R{n}"), value & 0xFFFFFFFF)
        rest = b"".join(struct.pack("<I", a & 0xFFFFFFFF) for a in integers[4:])
        sp = top - len(rest) & ~7
        core.write(sp, rest)
        core.set_register(_register("SP"), sp)
        core.set_register(_register("LR"), core.exit | 1)

    def _fault(self, stop: "Stop", budget: int) -> FaultError:
        where = f"{stop.access:#010x}"
        what = {
            layout.FAULT_UNMAPPED: f"access to {where}, outside every memory of {self.mcu.name}",
            layout.FAULT_READ_ONLY: f"write to {where}, in read-only memory",
            layout.FAULT_UNALIGNED: f"unaligned access to {where} by an instruction that needs a multiple of 4",
            layout.FAULT_UNDEFINED: "undefined instruction",
            layout.FAULT_STACK: f"stack overflow: SP is {where}",
            layout.FAULT_DIVIDE: "division by zero",
            layout.FAULT_FETCH: f"jump to {where}, where there is no code",
            layout.FAULT_SUPERVISOR: "supervisor call: the board has no exception handlers",
            layout.BUDGET: f"still running after {budget} instructions",
            layout.STOP_BREAKPOINT: "breakpoint",
            layout.STOP_HALT: "endless loop: a branch to itself",
        }[stop.reason]
        function = self._loaded()[0].function_at(stop.address)
        return FaultError(f"{what}, at {stop.address:#010x} in {function}", stop.address, function)


def _require_packages() -> None:
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise MissingToolError(f"the board needs {', '.join(missing)}: pip install 'memaopt[board]'")


def _register(name: str) -> int:
    from unicorn import arm_const

    return int(getattr(arm_const, f"UC_ARM_REG_{name}"))


def _single(bits: int) -> float:
    value: Any = struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0]
    return float(value) if not math.isnan(value) else math.nan
