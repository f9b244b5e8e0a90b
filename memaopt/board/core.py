"""The emulated core: Unicorn with the native hook, decoding instructions when they are first met."""

import ctypes
import struct
import time
from typing import Any, NamedTuple

import capstone  # noqa: F401  (imported here so that a missing package is told at once)
import numpy as np
import unicorn.unicorn_const as const
from numpy.typing import NDArray
from unicorn import arm_const as uc
from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib

from memaopt.board import hooks
from memaopt.board.buffers import PERIPHERALS, BufferMap
from memaopt.board.decode import Decoder
from memaopt.board.maps import PAGE, PagedMap
from memaopt.board.timing import Timing
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
        self._timing = timing
        self._decoder = Decoder(timing)
        self._uc: Any = Uc(const.UC_ARCH_ARM, const.UC_MODE_THUMB | const.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(uc.UC_CPU_ARM_CORTEX_M4)
        for base, size in [(m.base, m.size) for m in mcu.memories] + list(PERIPHERALS):
            self._uc.mem_map(base & -PAGE, -(-(base % PAGE + size) // PAGE) * PAGE)
        self.exit = _free_page(mcu)
        self._uc.mem_map(self.exit, PAGE)
        self._uc.mem_write(self.exit, struct.pack("<2H", 0xBF00, 0xBF00))
        self._uc.mem_write(_CPACR, struct.pack("<I", 0xF << 20))  # the FPU is off at reset

        self._code = PagedMap(2, np.uint32)
        self.rows: NDArray[Any] = np.zeros(1024, hooks.ROW)
        self._used = 1
        self._addresses = [0]
        self._state = np.zeros(1, hooks.STATE)
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

    def forget_code(self) -> None:
        """Drop what was decoded: call it when code has been loaded or overwritten."""
        self._code = PagedMap(2, np.uint32)
        self._used = 1
        self._addresses = [0]
        self._uc.ctl_flush_tb()

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
        writable = buffers.writable
        sp = self.register(uc.UC_ARM_REG_SP)
        timing = self._timing.model_dump()
        for field in hooks.RULES:
            state[field] = timing[field]
        state["here"] = state.ctypes.data
        state["budget"] = budget
        state["exit"] = self.exit
        state["expected"] = entry
        state["stack_limit"] = stack_limit
        state["stack_low"] = sp
        state["trap_divide"] = trap_divide
        state["data_pages"] = buffers.map.pages.ctypes.data
        state["data_map"] = buffers.map.cells.ctypes.data
        state["writable"] = writable.ctypes.data
        state["counts"] = self.counts.ctypes.data
        self._point()
        pc = entry
        start = time.perf_counter()
        while True:
            error = self._emulate(pc)
            stop = Stop(*(int(state[field][0]) for field in ("stop", "stop_address", "fault_address")))
            if stop.reason == hooks.NOT_DECODED:
                state["stop"] = hooks.RUNNING
                self._decode(stop.address)
                pc = stop.address
                continue
            if error and stop.reason == hooks.RUNNING:
                # The hook foresees every fault it knows; this one only Unicorn saw.
                raise FaultError(f"the emulator stopped at {self.register(uc.UC_ARM_REG_PC):#010x}: {error}")
            return stop, time.perf_counter() - start

    def counter(self, field: str) -> int:
        """A counter of the last run: a field of :data:`hooks.STATE`."""
        return int(self._state[field][0])

    def _emulate(self, pc: int) -> str:
        try:
            self._uc.emu_start(pc | 1, self.exit + 2)
        except UcError as error:
            return str(error)
        return ""

    def _decode(self, address: int) -> None:
        """Decode from ``address`` to the next branch that is always taken, or what is decoded already."""
        while not self._code.get(address):
            try:
                code = bytes(self._uc.mem_read(address, 4))
            except UcError:
                break
            row = self._decoder.decode(code, address)
            if self._used == len(self.rows):
                if self._used >= _MOST_ROWS:
                    raise FaultError(f"more than {_MOST_ROWS} instructions were executed: the board has no room")
                self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
            self.rows[self._used] = (0, 0, *row)
            self._code.set(address, self._used)
            self._addresses.append(address)
            self._used += 1
            address += row.size
            always = row.flags & hooks.BRANCH and not row.flags & hooks.CONDITIONAL
            if always or row.flags & hooks.UNDEFINED:
                break
        self._point()

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
            ctypes.c_void_p(hooks.ON_INSTRUCTION),
            ctypes.c_void_p(self._state.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != const.UC_ERR_OK:
            raise FaultError(f"Unicorn takes no native hook (error {status}): a version from 2.1.1 on is needed")


def _free_page(mcu: Mcu) -> int:
    """A page that no memory uses, for the return address of a call."""
    page = 0x1FFF_F000
    while any(m.base < page + PAGE and page < m.end for m in mcu.memories):
        page -= PAGE
    return page
