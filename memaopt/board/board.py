"""The virtual board: load a program, run it from reset or call its functions, read what they did."""

import math
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from memaopt.access import Access
from memaopt.board import layout
from memaopt.board.build import Build
from memaopt.board.cores.cortex_m4 import Timing
from memaopt.board.elf import Program, Segment, read_elf
from memaopt.board.profile import profile as make_profile
from memaopt.board.results import Run
from memaopt.board.semihosting import HostInput
from memaopt.board.vectors import Vectors, find_vectors
from memaopt.errors import FaultError, InputError, MissingToolError
from memaopt.machines.energy import energy
from memaopt.machines.mcu import Mcu

if TYPE_CHECKING:
    from memaopt.board.core import Stop, VirtualCore
    from memaopt.board.results import End

BUDGET = 2_000_000_000
_STACK_BYTES = 16 << 10
_LEAST_STACK = 64
# What common linker scripts call the ends of the stack (newlib, CMSIS, STM32CubeIDE).
_STACK_TOPS = ("__StackTop", "_estack", "__stack", "__initial_sp")
_STACK_LIMITS = ("__StackLimit", "__stack_limit", "_sstack")
_NEEDED = ("unicorn", "capstone")
_NOWHERE = 0xFFFF_FFFF  # LR after reset
# How a run may end; whatever else stops it is a fault.
_ENDS: dict[int, "End"] = {
    layout.RUNNING: "return",
    layout.STOP_EXIT: "exit",
    layout.STOP_UNTIL: "until",
    layout.STOP_HALT: "loop",
    layout.STOP_SLEEP: "sleep",
    layout.STOP_BREAKPOINT: "breakpoint",
}


class Board:
    """A virtual board with the core and the memories of ``mcu``.

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
        if timing is not None:
            mcu.core.require_timing("a change of timing rules")
        self._timing = timing or Timing()
        self._stack_bytes = stack_bytes
        self._trap_divide = trap_divide
        self._image: Program | None = None
        self._core: VirtualCore | None = None

    def load(self, program: str | Path | bytes | Build | Program) -> Self:
        """Put an ELF file on the board (or its bytes, a :class:`Build`, or what :func:`read_elf` read)."""
        from memaopt.board.core import VirtualCore

        if isinstance(program, Build):
            program = program.elf
        image = program if isinstance(program, Program) else read_elf(program)
        self._check_places(image)
        core = VirtualCore(self.mcu, self._timing)
        for s in image.segments:
            # Start-up code may copy data from where flash holds them; without start-up code they are in place.
            for address in {s.load_address, s.address}:
                core.write(address, bytes(s.data))
        self._image, self._core = image, core
        return self

    @property
    def vectors(self) -> Vectors | None:
        """The program's vector table; None if it has none, and can only be called or started at its entry point."""
        return find_vectors(self._loaded()[0], self.mcu)

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

    def register(self, name: str) -> int:
        """A core register, such as LR, as the last run left it."""
        return self._loaded()[1].register(_register(name.upper()))

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

    def reset(
        self,
        *,
        until: str | int | None = None,
        buffers: Mapping[str, tuple[int, int]] | None = None,
        max_instructions: int = BUDGET,
        profile: bool = False,
        given: HostInput | None = None,
    ) -> Run:
        """Run the program as after power-up, from the reset handler in its vector table, until it ends.

        It ends by a semihosting exit, before the instruction at ``until`` (a symbol or an address), in a branch to
        itself, in a WFI or WFE that nothing follows but its repetition, or at a breakpoint; ``Run.ended`` says which.
        RAM holds nothing that the program did not put there (what a debugger would load into RAM is there); flash
        keeps what was written to it. Without a vector table the program starts at its entry point, with the stack at
        the end of the SRAM. There are no interrupts; peripherals keep what is written to them, and the machine's file
        says which flags follow (docs/board.md). ``given``: what it is given by semihosting.
        """
        from memaopt.board.core import VirtualCore

        image, before = self._loaded()
        vectors = self.vectors
        if vectors is None and not image.entry:
            raise InputError(f"{image.name} has no vector table and no entry point: call one of its functions")
        entry, top = (image.entry & ~1, self.mcu.sram.end) if vectors is None else (vectors.reset, vectors.stack)
        self._core = core = VirtualCore(self.mcu, self._timing)
        core.power_up()
        core.give(given)
        for m in self.mcu.memories:
            if not m.writable:
                core.write(m.base, before.read(m.base, m.size))
        for s in image.segments:
            if any(m.writable and m.base <= s.load_address < m.end for m in self.mcu.memories):
                core.write(s.load_address, bytes(s.data))
        core.start(top, _NOWHERE)
        stop = None if until is None else self._address(until) & ~1
        limits = (self._floor(top), top)
        return self._execute(entry, limits, buffers, max_instructions, profile, call=False, until=stop)

    def _execute(
        self,
        entry: int,
        stack: tuple[int, int],
        buffers: Mapping[str, tuple[int, int]] | None,
        budget: int,
        profile: bool,
        call: bool,
        until: int | None = None,
    ) -> Run:
        from memaopt.board.buffers import STACK, BufferMap

        if profile:
            self.mcu.core.require_timing("a profile")
        image, core = self._loaded()
        limit, top = stack
        names = BufferMap(self.mcu)
        names.add_image(image)
        names.add(STACK, limit, top - limit)
        names.add_all(buffers or {})
        stop, seconds = core.run(entry, names, stack, budget, self._trap_divide, until)
        ended = _ENDS.get(stop.reason)
        if stop.reason == layout.STOP_SLEEP and not core.sleeps_for_ever(stop.address):
            ended = None
        if ended is None or (call and ended not in ("return", "exit")):
            raise self._fault(stop, budget)
        memories = names.by_memory(core.counts)
        timed = self.mcu.core.is_timed
        cycles = core.lane("cycles", layout.REAL)
        return Run(
            function=image.function_at(entry),
            ended=ended,
            ended_at=stop.address if stop.reason else core.exit,
            exit_code=stop.access if ended == "exit" else None,
            output=core.output,
            r0=core.register(_register("R0")),
            s0=_single(core.register(_register("S0"))),
            instructions=core.counter("instructions"),
            skipped=core.counter("skips"),
            cycles=cycles if timed else None,
            ideal_cycles=core.lane("cycles", layout.IDEAL) if timed else None,
            fetch_stalls=core.lane("fetching", layout.REAL) if timed else None,
            data_stalls=core.lane("waiting", layout.REAL) if timed else None,
            stack_bytes=core.stack_bytes,
            buffers=names.by_buffer(core.counts),
            stack_by_function=_by_function(image, *core.stack_accesses()),
            memories=memories,
            dma_bytes=core.counter("dma_bytes"),
            energy=energy(self.mcu, cycles, memories) if timed else None,
            profile=make_profile(image, *core.decoded(), core.disassemble) if profile else None,
            seconds=seconds,
        )

    def _loaded(self) -> tuple[Program, "VirtualCore"]:
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

    def _check_places(self, image: Program) -> None:
        """Refuse what does not fit the machine, or lies on other bytes of the program under another address."""
        homes = []
        for s in image.segments:
            if len(s.data):
                self._home(image, s.load_address, len(s.data))
            homes += [(self._home(image, start, size), size, start) for start, size in _without_rooms(image, s)]
        for (low, size, one), (high, _, other) in pairwise(sorted(homes)):
            if low + size > high:
                raise InputError(f"{image.name}: what is at {one:#010x} and at {other:#010x} are the same bytes of RAM")

    def _home(self, image: Program, address: int, size: int) -> int:
        """The address of a range in its memory, whatever alias it is given by. Raises InputError if it is in none."""
        for m in self.mcu.memories:
            if m.base <= address and address + size <= m.end:
                return address
        for a in self.mcu.aliases:
            if a.base <= address and address + size <= a.end:
                return self.mcu.memory(a.memory).base + a.offset + address - a.base
        raise InputError(f"{image.name}: {size} bytes at {address:#010x} do not fit a memory of {self.mcu.name}")

    def _floor(self, top: int) -> int:
        """Where the stack that grows down from ``top`` must end: at a symbol for it, or at the next object or code."""
        memory = next((p for p in self.mcu.places if p.base < top <= p.end), self.mcu.sram)
        limit = self._symbol(_STACK_LIMITS)
        if limit is not None and memory.base <= limit < top:
            return limit
        image = self._loaded()[0]
        for o in image.objects:
            if o.address < top <= o.address + o.size:
                return o.address
        ends = [o.address + o.size for o in image.objects]
        ends += [s.address + len(s.data) for s in image.segments]
        return max([memory.base, *(end for end in ends if memory.base < end < top)])

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
        core.start(sp, core.exit | 1)

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
            layout.FAULT_FPU: "floating point while the FPU is off: CPACR does not enable it"
            if self.mcu.core.has_fpu
            else f"floating point: a {self.mcu.core.title} has none",
            layout.FAULT_COPROCESSOR: f"coprocessor instruction: a {self.mcu.core.title} has none",
            layout.FAULT_BLOCK: "WFE, YIELD or a semihosting request inside an IT block, which the board cannot follow",
            layout.FAULT_HOST: f"the program {stop.refused}",
            layout.FAULT_DMA_EARLY: f"access to {where}, which DMA fills and nobody has waited for",
            layout.FAULT_DMA_BUSY: "DMA: its channel is written while nobody has waited for its last transfer",
            layout.FAULT_DMA_KIND: "DMA: no transfer of words between memories as the machine's file has it",
            layout.BUDGET: f"still running after {budget} instructions",
            layout.STOP_BREAKPOINT: "breakpoint",
            layout.STOP_HALT: "endless loop: a branch to itself",
            layout.STOP_SLEEP: "waits for an interrupt or an event: the board has none",
        }[stop.reason]
        function = self._loaded()[0].function_at(stop.address)
        return FaultError(f"{what}, at {stop.address:#010x} in {function}", stop.address, function)


def _by_function(image: Program, addresses: NDArray[np.int64], counts: NDArray[np.int64]) -> dict[str, Access]:
    """What the instructions at these addresses did, [n, 4], summed over those of a function."""
    found: dict[str, Access] = {}
    for address, row in zip(addresses.tolist(), counts.tolist(), strict=True):
        name = image.function_at(address)
        found[name] = found.get(name, Access()) + Access(*row)
    return found


def _without_rooms(image: Program, segment: Segment) -> list[tuple[int, int]]:
    """The ranges (address, bytes) of a segment without the sections called ``*_room``.

    A linker script keeps those bytes free of data, for what uses them under another address.
    """
    rooms = [s for s in image.sections if s.name.endswith("_room") and s.address >= segment.address + len(segment.data)]
    start, end, ranges = segment.address, segment.address + segment.size, []
    for room in sorted(rooms, key=lambda s: s.address):
        if start <= room.address and room.address + room.size <= end:
            ranges.append((start, room.address - start))
            start = room.address + room.size
    return [(at, size) for at, size in (*ranges, (start, end - start)) if size]


def _require_packages() -> None:
    missing = [package for package in _NEEDED if find_spec(package) is None]
    if missing:
        raise MissingToolError(f"the board needs {', '.join(missing)}: pip install 'memaopt[board]'")


def _register(name: str) -> int:
    from unicorn import arm_const

    return int(getattr(arm_const, f"UC_ARM_REG_{name}"))


def _single(bits: int) -> float:
    value: Any = struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0]
    return float(value) if not math.isnan(value) else math.nan
