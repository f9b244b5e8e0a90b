"""Registers that mean something to the board: DWT's cycle counter, the FPU's switch, flags that hardware sets.

Peripherals and the private peripheral bus are host memory that the emulator reads and writes. The hook runs before an
instruction, so what a store changed is looked at when the next instruction begins, and the cycle counter is put in
place before a load reads it. Arm ARM DDI 0403, B3.2 (CPACR), C1.6 (DEMCR) and C1.8 (DWT).
"""

# Numba compiles these functions; to mypy they are untyped.
# mypy: ignore-errors

import numpy as np
from numba import carray, njit

from memaopt.board.layout import FLAG, IDEAL, REAL
from memaopt.board.memories import memory_at
from memaopt.board.native import pointer

_PERIPHERALS, _PERIPHERALS_END = np.uint64(0x4000_0000), np.uint64(0x6000_0000)
_PRIVATE, _PRIVATE_END = np.uint64(0xE000_0000), np.uint64(0xE010_0000)
_WORD = ~np.uint64(3)
# Words of the private peripheral bus.
_CYCCNT, _CTRL, _DEMCR, _CPACR = 0x1004 // 4, 0x1000 // 4, 0xEDFC // 4, 0xED88 // 4
_CYCCNT_ADDRESS = np.uint64(0xE000_1004)
_MASK = np.int64(0xFFFF_FFFF)


@njit
def _private(s):
    return carray(pointer(s.private), (1 << 18,), np.uint32)


@njit
def _now(s):
    return s.lanes[REAL if s.waits else IDEAL].cycles


@njit
def _count(s):
    """Bring the cycle counter up to now."""
    now = _now(s)
    if s.counting:
        s.counter = (s.counter + now - s.counted_from) & _MASK
    s.counted_from = now


@njit
def note_access(s, address, end, store):
    """An instruction is about to access the bytes from ``address`` up to ``end``."""
    if not (_PERIPHERALS <= address < _PERIPHERALS_END or _PRIVATE <= address < _PRIVATE_END):
        return
    if store:
        s.touched = address & _WORD
        s.touched_end = end
    elif address < _CYCCNT_ADDRESS + np.uint64(4) and end > _CYCCNT_ADDRESS:
        _count(s)
        _private(s)[_CYCCNT] = np.uint32(s.counter)


@njit
def _switch(s, private):
    s.counting = (private[_DEMCR] >> 24) & private[_CTRL] & 1
    s.fpu_off = not s.has_fpu or (private[_CPACR] >> 20) & 0xF != 0xF


@njit
def _touched(s, register):
    return s.touched <= register < s.touched_end


@njit
def see_stores(s):
    """Do what the registers stand for that the last instruction wrote."""
    if s.touched >= _PRIVATE:
        _count(s)
        private = _private(s)
        if _touched(s, _CYCCNT_ADDRESS):
            s.counter = np.int64(private[_CYCCNT])
        _switch(s, private)
    else:
        words = carray(pointer(s.peripherals), (1 << 27,), np.uint32)
        flags = carray(pointer(s.flag_table), (1 << 16,), FLAG)
        for n in range(s.flag_count):
            flag = flags[n]
            if _touched(s, flag.register):
                _follow(words, flag)
        for n in range(s.memory_count):
            memory = memory_at(s, n)
            if memory.control != 0 and _touched(s, memory.control):
                value = np.uint64(words[(memory.control - _PERIPHERALS) >> np.uint64(2)])
                memory.prefetch = value & memory.prefetch_bit != 0
                _cache(memory.instructions, value & memory.instructions_bit)
                _cache(memory.data, value & memory.data_bit)
    s.touched_end = np.uint64(0)


@njit
def _follow(words, flag):
    value = np.uint64(words[(flag.register - _PERIPHERALS) >> np.uint64(2)]) & flag.bits
    status = (flag.status - _PERIPHERALS) >> np.uint64(2)
    shift = np.uint64(abs(flag.shift))
    if flag.shift < 0:
        words[status] = np.uint32((np.uint64(words[status]) & ~(flag.bits >> shift)) | (value >> shift))
    else:
        words[status] = np.uint32((np.uint64(words[status]) & ~(flag.bits << shift)) | (value << shift))


@njit
def _cache(cache, on):
    """Switch a cache: what it holds stays in it."""
    cache.lines = cache.most if on else 0
