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
from memaopt.board.results import Run
from memaopt.board.timing import Timing
from memaopt.errors import FaultError, InputError, MissingToolError
from memaopt.mcus import Mcu

if TYPE_CHECKING:
    from memaopt.board.core import Core, Stop

BUDGET = 10_000_000_000
_STACK_BYTES = 16 << 10
_NEEDED = {"unicorn": "unicorn", "capstone": "capstone", "elftools": "pyelftools", "numba": "numba"}


class Board:
    """A virtual Cortex-M4 board with the memories of ``mcu``.

    ``Board(mcu).load("program.elf").call("f", 1, 2)`` runs ``f(1, 2)`` and returns a :class:`Run`. Memory
    keeps its contents between calls; counters start from zero at each. The stack takes ``stack_bytes`` at
    the end of the SRAM (16 KiB, or what static data leaves). ``timing`` overrides rules of the core.
    """

    def __init__(
        self,
        mcu: Mcu,
        *,
        timing: Timing | None = None,
        stack_bytes: int | None = None,
        trap_divide: bool = False,
    ) -> None:
        _require_packages()
        self.mcu = mcu
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
    ) -> Run:
        """Call a function by name or address with the hard-float AAPCS and run until it returns.

        Integers go to r0-r3 and then the stack, Python floats to s0-s15. ``buffers`` names address ranges
        ``(address, bytes)`` whose accesses are counted apart; they take precedence over the ELF's objects.
        Raises FaultError where the chip would fault, or after ``max_instructions``.
        """
        from memaopt.board.buffers import STACK, BufferMap

        image, core = self._loaded()
        entry = self._address(function) & ~1
        top, limit = self._stack()
        map_ = BufferMap(self.mcu)
        map_.add_image(image)
        map_.add(STACK, limit, top - limit)
        map_.add_all(buffers or {})
        self._pass(args, top)
        stop, seconds = core.run(entry, map_, limit, max_instructions, self._trap_divide)
        name = image.function_at(entry)
        if stop.reason:
            raise FaultError(self._fault(stop, max_instructions))
        return Run(
            function=name,
            r0=core.register(_register("R0")),
            s0=_single(core.register(_register("S0"))),
            instructions=core.counter("instructions"),
            skipped=core.counter("skips"),
            cycles=core.cycles(layout.REAL),
            ideal_cycles=core.cycles(layout.IDEAL),
            fetch_stalls=core.lane("fetching", layout.REAL),
            data_stalls=core.lane("waiting", layout.REAL),
            buffers=map_.by_buffer(core.counts),
            memories=map_.by_memory(core.counts),
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

    def _stack(self) -> tuple[int, int]:
        """Top and limit of the stack: the end of the SRAM, above static data."""
        sram = self.mcu.sram
        image = self._loaded()[0]
        ends = [s.address + s.size for s in image.segments if sram.base <= s.address < sram.end]
        static = max(ends, default=sram.base)
        top = sram.end & ~7
        free = top - static
        size = min(_STACK_BYTES, free) if self._stack_bytes is None else self._stack_bytes
        if not 8 <= size <= free:
            raise InputError(
                f"{image.name}: static data leave {max(free, 0)} bytes of SRAM, the stack needs {max(size, 8)}"
            )
        return top, (top - size + 7) & ~7

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

    def _fault(self, stop: "Stop", budget: int) -> str:
        what = {
            layout.FAULT_UNMAPPED: f"access to {stop.access:#010x}, outside every memory of {self.mcu.name}",
            layout.FAULT_READ_ONLY: f"write to {stop.access:#010x}, in read-only memory",
            layout.FAULT_UNALIGNED: f"unaligned access to {stop.access:#010x} by an instruction that cannot",
            layout.FAULT_UNDEFINED: "undefined instruction",
            layout.FAULT_STACK: f"stack overflow: SP is {stop.access:#010x}",
            layout.FAULT_DIVIDE: "division by zero",
            layout.BUDGET: f"still running after {budget} instructions",
        }[stop.reason]
        return f"{what}, at {stop.address:#010x} in {self._loaded()[0].function_at(stop.address)}"


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
