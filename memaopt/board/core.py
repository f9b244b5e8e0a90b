"""The emulated core: Unicorn with the native hook, decoding instructions when they are first met.

Peripherals and the private peripheral bus are the host's memory. The hook stops the emulator for what Python does at
once and then goes on: instructions that were never decoded, and requests to the host (semihosting).
"""

import ctypes
import struct
import time
import weakref
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import unicorn.unicorn_const as const
from numpy.typing import NDArray
from unicorn import arm_const as uc
from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib

from memaopt.board import layout
from memaopt.board.buffers import DEVICES, PERIPHERALS, PRIVATE, BufferMap
from memaopt.board.cores.cortex_m4 import Timing
from memaopt.board.decode import Decoder
from memaopt.board.machine_state import flags_of, free_page, switches, tell_dma, whole_pages
from memaopt.board.maps import PAGE, PagedMap
from memaopt.board.native import on_instruction
from memaopt.board.semihosting import HostInput, Reply, Semihosting
from memaopt.board.waits import WaitTable
from memaopt.errors import FaultError, InputError
from memaopt.machines.mcu import Mcu

_CPACR, _CYCCNT = 0xE000_ED88, 0xE000_1004
_FPU_ON = 0xF << 20
_CPUID, _FPCCR, _MVFR0, _MVFR1 = 0xE000_ED00, 0xE000_EF34, 0xE000_EF40, 0xE000_EF44
# Arm ARM DDI 0403, B3.2 and C1: what a core's own registers hold after reset, as far as they differ from 0.
_PRIVATE_RESET = {
    0xE000_1000: 0x4000_0000,  # DWT_CTRL: four comparators, a cycle counter
    0xE000_ED0C: 0xFA05_0000,  # AIRCR
    0xE000_ED14: 0x0000_0200,  # CCR: STKALIGN
    0xE000_EDF0: 0x0003_0001,  # DHCSR: a debugger is there, to which semihosting goes
}
_MODELS = {
    "cortex-m4": uc.UC_CPU_ARM_CORTEX_M4, "cortex-m7": uc.UC_CPU_ARM_CORTEX_M7, "cortex-m33": uc.UC_CPU_ARM_CORTEX_M33,
}  # fmt: skip
_WAITING = ("wfi", "wfe", "sev", "yield", "nop", "dsb", "dmb", "isb", "cpsid", "cpsie")
_AROUND_SLEEP = 16  # bytes
# For the hook, which calls them.
_READ_REGISTER = ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value
_STOP_EMULATION = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
# What RAM holds before a program wrote there.
_UNKNOWN = b"\xa5"
_MOST_ROWS = 1 << 21
# Instructions decoded at one go: more than any function needs, few enough to cost nothing where they never run.
_AHEAD = 256


class Stop(NamedTuple):
    """Why the core stopped: a ``layout`` constant, the instruction's address, the access's address or an exit code,
    and what the program asked of its host in vain."""

    reason: int
    address: int
    access: int
    refused: str = ""


class VirtualCore:
    """The core of ``mcu`` with its memories; counters are those of the last :meth:`run`."""

    def __init__(self, mcu: Mcu, timing: Timing) -> None:
        self._mcu = mcu
        self._timing = timing
        self._decoder = Decoder(timing, fpv5=mcu.core.has_fpv5)
        self._uc: Any = Uc(const.UC_ARCH_ARM, const.UC_MODE_THUMB | const.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(_MODELS[mcu.core.emulator])
        self.exit = free_page(mcu)
        self._host: dict[int, NDArray[np.uint8]] = {}
        self._map()
        self._uc.mem_write(self.exit, struct.pack("<2H", 0xBF00, 0xBF00))
        self._reset_registers()
        self._set_word(_CPACR, _FPU_ON if mcu.core.has_fpu else 0)
        self._given: HostInput | None = None
        self._host_requests = self._host_of()

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

    @property
    def output(self) -> str:
        """What the program wrote by semihosting in the last run."""
        return self._host_requests.output

    def power_up(self) -> None:
        """As the chip is before its first instruction: RAM holds anything, the FPU is off."""
        for m in self._mcu.memories:
            if m.writable:
                self.write(m.base, _UNKNOWN * m.size)
        self._set_word(_CPACR, 0)

    def give(self, given: HostInput | None) -> None:
        """What the host has for the program in later runs."""
        self._given = given

    def register(self, number: int) -> int:
        """A register by Unicorn's number."""
        return int(self._uc.reg_read(number))

    def set_register(self, number: int, value: int) -> None:
        """Set a register by Unicorn's number."""
        self._uc.reg_write(number, value)

    def start(self, stack: int, link: int) -> None:
        """Thread mode on the main stack, no exception masked; the stack pointer and the return address."""
        for number in (uc.UC_ARM_REG_CONTROL, uc.UC_ARM_REG_PRIMASK, uc.UC_ARM_REG_FAULTMASK, uc.UC_ARM_REG_BASEPRI):
            self.set_register(number, 0)
        self.set_register(uc.UC_ARM_REG_SP, stack)
        self.set_register(uc.UC_ARM_REG_LR, link)

    def run(
        self,
        entry: int,
        buffers: BufferMap,
        stack: tuple[int, int],
        budget: int,
        trap_divide: bool,
        until: int | None = None,
    ) -> tuple[Stop, float]:
        """Run from ``entry`` until the program returns to :attr:`exit` or stops; also the host's seconds.

        ``stack`` is its limit and its top; ``until`` an address whose instruction is not executed any more.
        """
        state = self._state
        state[:] = 0
        self.rows["executed"] = 0
        self.rows["cycles"] = 0
        self.rows["stack"] = 0
        self.counts = np.zeros((len(buffers), 4), np.int64)
        table = WaitTable(self._mcu, self.exit)
        writable, memory_of = buffers.writable, buffers.memory_numbers
        timing = self._timing.model_dump()
        for field in layout.RULES:
            state[field] = timing[field]
        # The first instruction is there when its time comes, as after a branch.
        lanes = state["lanes"]
        lanes["word"] = lanes["first"] = lanes["unread"] = entry >> 2
        lanes["accessed"] = -64
        lanes["requested"] = -timing["fetch_latency"] - 1
        state["fetch_queue"] = self._mcu.fetch_queue_words
        state["waits"] = self._mcu.has_wait_states
        state["has_fpu"] = self._mcu.core.has_fpu
        state["read_register"], state["stop_emulation"] = _READ_REGISTER, _STOP_EMULATION
        state["budget"] = budget
        state["exit"], state["expected"] = self.exit, entry
        state["stack_limit"], state["stack_top"] = stack
        state["stack_low"] = self.register(uc.UC_ARM_REG_SP)
        state["until"] = 1 if until is None else until
        state["trap_divide"] = trap_divide
        state["data_pages"] = buffers.map.pages.ctypes.data
        state["data_map"] = buffers.map.cells.ctypes.data
        state["writable"] = writable.ctypes.data
        state["memory_of"] = memory_of.ctypes.data
        state["stack_buffer"] = buffers.stack
        state["memories"] = table.records.ctypes.data
        state["counts"] = self.counts.ctypes.data
        flags = flags_of(self._mcu)
        state["private_bus"] = self._host[PRIVATE[0]].ctypes.data
        state["peripherals"] = self._host[DEVICES[0]].ctypes.data
        state["flag_table"] = flags.ctypes.data
        state["flag_count"] = len(flags)
        state["memory_count"] = len(table.records)
        state["code"] = table.place(entry)
        state["banks"], state["bank_count"] = table.banks.ctypes.data, len(table.banks)
        tell_dma(state, self._mcu)
        self._host_requests = self._host_of(self._given)
        # The run begins with the registers as memory has them.
        state["touched"], state["touched_end"] = PRIVATE[0], sum(PRIVATE)
        self._point()
        # A run that stopped inside an IT block leaves its state behind.
        self.set_register(uc.UC_ARM_REG_XPSR, 1 << 24)
        pc = entry
        start = time.perf_counter()
        while True:
            self._emulate(pc)
            stop = Stop(self.counter("stop"), self.counter("stop_address"), self.counter("fault_address"))
            pc = stop.address
            if stop.reason == layout.NOT_DECODED and self._executable(pc):
                self._decode(pc)
            elif stop.reason == layout.STEP:
                pc += int(self.rows[self._code.get(pc)]["size"])
            elif stop.reason == layout.HOST_REQUEST:
                ended = self._serve(pc)
                if ended is not None:
                    return ended, self._finish(start)
                pc += 2
            else:
                return self._ended(stop), self._finish(start)
            state["stop"] = layout.RUNNING

    @property
    def stack_bytes(self) -> int:
        """The most that the stack held in the last run, its process stack's most and the main stack's together."""
        state = self._state[0]
        used = int(state["stack_top"] - state["stack_low"]) + int(state["left_top"] - state["left_low"])
        return used + int(state["left_bytes"])

    def sleeps_for_ever(self, address: int) -> bool:
        """Whether a WFI or WFE is in a loop of nothing but its like: no flag that an interrupt could have changed."""
        end = self._idle(address)
        code = bytes(self._uc.mem_read(end, 4))
        if not self.disassemble(end).startswith(("b #", "b.w #")):
            return False
        target = self._decoder.decode(code, end).offset
        return address - _AROUND_SLEEP <= target <= address and self._idle(target) == end

    def _idle(self, address: int) -> int:
        """The first instruction from ``address`` on that does more than wait."""
        last = address + 2 * _AROUND_SLEEP
        while address < last and self.disassemble(address).split(".")[0].split(" ")[0] in _WAITING:
            address += self._decoder.decode(bytes(self._uc.mem_read(address, 4)), address).size
        return address

    def lane(self, field: str, lane: int) -> int:
        """A counter of one of the two clocks: a field of :data:`layout.LANE`. Without waits there is one clock."""
        return int(self._state["lanes"][field][0, lane if self._state["waits"][0] else layout.IDEAL])

    def decoded(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The addresses of the instructions decoded so far, and their rows with the last run's counters."""
        rows = self.rows[1 : self._used].copy()
        if not self._state["waits"][0]:
            rows["cycles"][:, layout.REAL] = rows["cycles"][:, layout.IDEAL]
        return np.array(self._addresses[1:], np.int64), rows

    def stack_accesses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The addresses of the instructions that accessed the stack in the last run, and their accesses, [n, 4]."""
        counts = self.rows["stack"][1 : self._used]
        used = counts.any(axis=1)
        return np.array(self._addresses[1:], np.int64)[used], counts[used]

    def disassemble(self, address: int) -> str:
        """The instruction at an address as assembly text."""
        return self._decoder.text(bytes(self._uc.mem_read(address, 4)), address)

    def counter(self, field: str) -> int:
        """A counter of the last run: a field of :data:`layout.STATE`."""
        return int(self._state[field][0])

    def _host_of(self, given: HostInput | None = None) -> Semihosting:
        """What serves a run. It holds the core weakly, whose memories would stay until Python looks for circles."""
        core = weakref.proxy(self)
        return Semihosting(
            lambda address, size: core.read(address, size), lambda address, data: core.write(address, data), given
        )

    def _serve(self, address: int) -> Stop | None:
        """Do what the program asks of its host at ``address``; a stop if it ends there."""
        operation, argument = self.register(uc.UC_ARM_REG_R0), self.register(uc.UC_ARM_REG_R1)
        try:
            answer = self._host_requests.serve(operation, argument)
        except InputError as error:
            answer = Reply(refused=f"gives operation {operation:#x} an argument: {error}")
        if answer.refused:
            return Stop(layout.FAULT_HOST, address, argument, answer.refused)
        if answer.exit_code is not None:
            return Stop(layout.STOP_EXIT, address, answer.exit_code)
        if answer.result is not None:
            self.set_register(uc.UC_ARM_REG_R0, answer.result)
        return None

    def _ended(self, stop: Stop) -> Stop:
        """Why the emulator stopped. The hook foresees all but a jump to where nothing is, which only Unicorn sees."""
        here = self.register(uc.UC_ARM_REG_PC)
        if stop.reason == layout.NOT_DECODED:
            return Stop(layout.FAULT_FETCH, self.counter("last_address"), stop.address)
        if stop.reason == layout.RUNNING and not self.exit <= here <= self.exit + 2:
            return Stop(layout.FAULT_FETCH, self.counter("last_address"), here)
        return stop

    def _finish(self, start: float) -> float:
        """Leave the cycle counter in memory as the run left it; the host's seconds since ``start``."""
        seconds = time.perf_counter() - start
        counted = self.lane("cycles", layout.REAL) - self.counter("counted_from") if self.counter("counting") else 0
        self._set_word(_CYCCNT, (self.counter("counter") + counted) & 0xFFFF_FFFF)
        return seconds

    def _reset_registers(self) -> None:
        core = self._mcu.core
        own = {_CPUID: core.cpuid, _MVFR0: core.mvfr0, _MVFR1: core.mvfr1}
        for address, value in {**_PRIVATE_RESET, **own, _FPCCR: 0xC000_0000 if core.has_fpu else 0}.items():
            self._set_word(address, value)
        for register in self._mcu.registers:
            self._set_word(register.address, register.reset)
        for m in self._mcu.memories:
            if m.accelerator is not None and m.accelerator.control is not None:
                self._set_word(m.accelerator.control.address, switches(m.accelerator))

    def _set_word(self, address: int, value: int) -> None:
        self._uc.mem_write(address, struct.pack("<I", value))

    def _map(self) -> None:
        """Give the emulator its memories; an alias and its memory share the host's bytes."""
        mcu, shared = self._mcu, {a.memory for a in self._mcu.aliases}
        for m in mcu.memories:
            if m.name not in shared:
                self._uc.mem_map(m.base & -PAGE, whole_pages(m.base % PAGE + m.size))
                continue
            aliases = [a for a in mcu.aliases if a.memory == m.name]
            size = whole_pages(max([m.size] + [a.offset + a.size for a in aliases]))
            self._host[m.base] = bytes_ = np.zeros(size, np.uint8)
            everything = const.UC_PROT_ALL
            self._uc.mem_map_ptr(m.base, whole_pages(m.size), everything, bytes_.ctypes.data)
            for a in aliases:
                self._uc.mem_map_ptr(a.base, whole_pages(a.size), everything, bytes_.ctypes.data + a.offset)
        for base, size in (*PERIPHERALS, *((area.base, whole_pages(area.size)) for area in mcu.areas)):
            # The host gives a page when it is first written.
            self._host[base] = bytes_ = np.zeros(size, np.uint8)
            self._uc.mem_map_ptr(base, size, const.UC_PROT_READ | const.UC_PROT_WRITE, bytes_.ctypes.data)
        self._uc.mem_map(self.exit, PAGE)

    def _emulate(self, pc: int) -> None:
        with suppress(UcError):
            self._uc.emu_start(pc | 1, self.exit + 2)

    def _decode(self, address: int) -> None:
        """Decode from ``address`` to where the code does not go on, or what is decoded already; never too far."""
        block, ahead = 0, 0
        while not self._code.get(address) and self._executable(address):
            # The emulator cannot go on inside an IT block.
            if ahead >= _AHEAD and not block:
                break
            ahead += 1
            code = bytes(self._uc.mem_read(address & -2, 2))
            with suppress(UcError):
                code += bytes(self._uc.mem_read(address + 2, 2))
            row = self._decoder.decode(code, address)
            if block and row.flags & layout.STEPS:
                row = row._replace(flags=layout.IN_BLOCK)
            block = row.words if row.flags & layout.IT_BLOCK else max(block - 1, 0)
            if self._used == len(self.rows):
                if self._used >= _MOST_ROWS:
                    raise FaultError(f"more than {_MOST_ROWS} instructions were executed: the board has no room")
                self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
            self.rows[self._used] = (0, (0, 0), (0, 0, 0, 0), *row)
            self._code.set(address, self._used)
            self._addresses.append(address)
            self._used += 1
            address += row.size
            always = row.flags & layout.BRANCH and not row.flags & layout.CONDITIONAL
            if (always or row.flags & layout.STOPS) and not block:
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
            ctypes.c_void_p(on_instruction()),
            ctypes.c_void_p(self._state.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status != const.UC_ERR_OK:
            raise FaultError(f"Unicorn takes no native hook (error {status}): a version from 2.1.1 on is needed")
