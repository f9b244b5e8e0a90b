"""The emulated core: Unicorn with the native hook, decoding instructions when they are first met."""

import ctypes
import struct
import time
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import unicorn.unicorn_const as const
from numpy.typing import NDArray
from unicorn import arm_const as uc
from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib

from memaopt.board import layout
from memaopt.board.buffers import PERIPHERALS, BufferMap
from memaopt.board.decode import Decoder
from memaopt.board.hooks import ON_INSTRUCTION
from memaopt.board.maps import PAGE, PagedMap
from memaopt.board.timing import Timing
from memaopt.board.waits import WaitTable
from memaopt.errors import FaultError, InputError
from memaopt.mcus import Mcu

_ARGUMENTS = [uc.UC_ARM_REG_R0 + n for n in range(4)]
_CPACR = 0xE000_ED88
_MOST_ROWS = 1 << 22


class Stop(NamedTuple):
    """Why the core stopped: a ``hooks`` constant, the instruction's address, the access's address."""

    reason: int
    address: int
    access: int


class Core:
    """A Cortex-M4 with the memories of ``mcu``; counters are those of the last :meth:`run`."""

    def __init__(self, mcu: Mcu, timing: Timing) -> None:
        self._mcu = mcu
        self._timing = timing
        self._decoder = Decoder(timing)
        self._uc: Any = Uc(const.UC_ARCH_ARM, const.UC_MODE_THUMB | const.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(uc.UC_CPU_ARM_CORTEX_M4)
        self.exit = _free_page(mcu)
        self._host: list[NDArray[np.uint8]] = []
        self._map()
        self._uc.mem_write(self.exit, struct.pack("<2H", 0xBF00, 0xBF00))
        self._uc.mem_write(_CPACR, struct.pack("<I", 0xF << 20))  # the FPU is off at reset

        self._code = PagedMap(2, np.uint32)
        self.rows: NDArray[Any] = np.zeros(1024, layout.ROW)
        self._used = 1
        self._addresses = [0]
        self._state = np.zeros(1, layout.STATE)
        self.counts: NDArray[np.int64] = np.zeros((1, 4), np.int64)
        self._hook()

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of memory."""
        try:
            return bytes(self._uc.mem_read(address, size))
        except UcError:
            raise InputError(f"{size} bytes at {address:#010x} cannot be read: no memory there") from None

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory, flash included."""
        try:
            self._uc.mem_write(address, data)
        except UcError:
            raise InputError(f"{len(data)} bytes at {address:#010x} cannot be written: no memory there") from None
        if self._code.pages[address // PAGE : (address + len(data)) // PAGE + 1].any():
            # Code may have changed: translate and decode it again.
            self._uc.ctl_flush_tb()
            self._code = PagedMap(2, np.uint32)
            self._used = 1
            self._addresses = [0]

    def register(self, number: int) -> int:
        """A register by Unicorn's number."""
        return int(self._uc.reg_read(number))

    def set_register(self, number: int, value: int) -> None:
        """Set a register by Unicorn's number."""
        self._uc.reg_write(number, value)

    def run(
        self, entry: int, buffers: BufferMap, stack_limit: int, budget: int, trap_divide: bool
    ) -> tuple[Stop, float]:
        """Run from ``entry`` until the program returns to :attr:`exit` or stops; also the host's seconds."""
        state = self._state
        state[:] = 0
        self.rows["executed"] = 0
        self.rows["cycles"] = 0
        self.counts = np.zeros((len(buffers), 4), np.int64)
        table = WaitTable(self._mcu, self.exit)
        writable, memory_of = buffers.writable, buffers.memory_numbers
        timing = self._timing.model_dump()
        for field in layout.RULES:
            state[field] = timing[field]
        # The first instruction is there when its time comes, as after a branch.
        lanes = state["lanes"]
        lanes["word"] = lanes["first"] = lanes["unread"] = entry >> 2
        lanes["requested"] = -timing["fetch_latency"] - 1
        state["fetch_queue"] = self._mcu.fetch_queue_words
        state["waits"] = self._mcu.has_wait_states
        state["here"] = state.ctypes.data
        state["budget"] = budget
        state["exit"] = self.exit
        state["expected"] = entry
        state["stack_limit"] = stack_limit
        state["stack_low"] = self.register(uc.UC_ARM_REG_SP)
        state["trap_divide"] = trap_divide
        state["data_pages"] = buffers.map.pages.ctypes.data
        state["data_map"] = buffers.map.cells.ctypes.data
        state["writable"] = writable.ctypes.data
        state["memory_of"] = memory_of.ctypes.data
        state["memories"] = table.records.ctypes.data
        state["counts"] = self.counts.ctypes.data
        self._point()
        # A run that stopped inside an IT block leaves its state behind.
        self.set_register(uc.UC_ARM_REG_XPSR, 1 << 24)
        pc = entry
        start = time.perf_counter()
        while True:
            error = self._emulate(pc)
            stop = Stop(*(int(state[field][0]) for field in ("stop", "stop_address", "fault_address")))
            if stop.reason == layout.NOT_DECODED and self._executable(stop.address):
                state["stop"] = layout.RUNNING
                self._decode(stop.address)
                pc = stop.address
                continue
            seconds = time.perf_counter() - start
            if stop.reason == layout.NOT_DECODED:
                return Stop(layout.FAULT_FETCH, self.counter("last_address"), stop.address), seconds
            if error and stop.reason == layout.RUNNING:
                # The hook foresees every other fault; a jump to where nothing is only Unicorn sees.
                target = self.register(uc.UC_ARM_REG_PC)
                return Stop(layout.FAULT_FETCH, self.counter("last_address"), target), seconds
            return stop, seconds

    def lane(self, field: str, lane: int) -> int:
        """A counter of one of the two clocks: a field of :data:`layout.LANE`. Without waits there is one clock."""
        return int(self._state["lanes"][field][0, lane if self._state["waits"][0] else layout.IDEAL])

    def decoded(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The addresses of the instructions decoded so far, and their rows with the last run's counters."""
        rows = self.rows[1 : self._used].copy()
        if not self._state["waits"][0]:
            rows["cycles"][:, layout.REAL] = rows["cycles"][:, layout.IDEAL]
        return np.array(self._addresses[1:], np.int64), rows

    def disassemble(self, address: int) -> str:
        """The instruction at an address as assembly text."""
        return self._decoder.text(bytes(self._uc.mem_read(address, 4)), address)

    def counter(self, field: str) -> int:
        """A counter of the last run: a field of :data:`layout.STATE`."""
        return int(self._state[field][0])

    def _map(self) -> None:
        """Give the emulator its memories; an alias and its memory share the host's bytes."""
        mcu, shared = self._mcu, {a.memory for a in self._mcu.aliases}
        for m in mcu.memories:
            if m.name not in shared:
                self._uc.mem_map(m.base & -PAGE, _pages(m.base % PAGE + m.size))
                continue
            aliases = [a for a in mcu.aliases if a.memory == m.name]
            size = _pages(max([m.size] + [a.offset + a.size for a in aliases]))
            bytes_ = np.zeros(size, np.uint8)
            self._host.append(bytes_)
            everything = const.UC_PROT_ALL
            self._uc.mem_map_ptr(m.base, _pages(m.size), everything, bytes_.ctypes.data)
            for a in aliases:
                self._uc.mem_map_ptr(a.base, _pages(a.size), everything, bytes_.ctypes.data + a.offset)
        for base, size in (*PERIPHERALS, (self.exit, PAGE)):
            self._uc.mem_map(base, size)

    def _emulate(self, pc: int) -> str:
        try:
            self._uc.emu_start(pc | 1, self.exit + 2)
        except UcError as error:
            return str(error)
        return ""

    def _decode(self, address: int) -> None:
        """Decode from ``address`` to the next branch that is always taken, or what is decoded already."""
        while not self._code.get(address):
            if not self._executable(address):
                break
            code = bytes(self._uc.mem_read(address & -2, 2))
            with suppress(UcError):
                code += bytes(self._uc.mem_read(address + 2, 2))
            row = self._decoder.decode(code, address)
            if self._used == len(self.rows):
                if self._used >= _MOST_ROWS:
                    raise FaultError(f"more than {_MOST_ROWS} instructions were executed: the board has no room")
                self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
            self.rows[self._used] = (0, (0, 0), *row)
            self._code.set(address, self._used)
            self._addresses.append(address)
            self._used += 1
            address += row.size
            always = row.flags & layout.BRANCH and not row.flags & layout.CONDITIONAL
            if always or row.flags & layout.UNDEFINED:
                break
        self._point()

    def _executable(self, address: int) -> bool:
        memories = any(m.executable and m.base <= address < m.end for m in self._mcu.memories)
        return memories or any(a.base <= address < a.end for a in self._mcu.aliases)

    def _point(self) -> None:
        """Tell the hook where the arrays are: they move when they grow."""
        self._state["rows"] = self.rows.ctypes.data
        self._state["code_pages"] = self._code.pages.ctypes.data
        self._state["code_map"] = self._code.cells.ctypes.data

    def _hook(self) -> None:
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self._uc._uch,
            ctypes.byref(handle),
            const.UC_HOOK_CODE,
            ctypes.c_void_p(ON_INSTRUCTION),
            ctypes.c_void_p(self._state.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != const.UC_ERR_OK:
            raise FaultError(f"Unicorn takes no native hook (error {status}): a version from 2.1.1 on is needed")


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _free_page(mcu: Mcu) -> int:
    """A page that no memory uses, for the return address of a call."""
    page = 0x1FFF_F000
    while any(m.base < page + PAGE and page < m.end for m in mcu.places):
        page -= PAGE
    return page
