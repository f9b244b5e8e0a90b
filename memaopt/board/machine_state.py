"""What a core starts from, of a machine's description: registers, flags, pages."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from unicorn.unicorn_py3.unicorn import uclib

from memaopt.alignment import align
from memaopt.board import layout
from memaopt.board.maps import PAGE
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Accelerator


def switches(accelerator: Accelerator) -> int:
    """What the register of an accelerator holds, as it is switched."""
    control, bits = accelerator.control, 0
    if control is not None:
        bits |= control.prefetch if accelerator.prefetch else 0
        bits |= control.instruction_cache if accelerator.instruction_cache else 0
        bits |= control.data_cache if accelerator.data_cache else 0
    return bits


def flags_of(mcu: Mcu) -> NDArray[Any]:
    """The table of the status flags that peripherals set."""
    rows = [
        (r.address, flag.bits, r.address if flag.status is None else flag.status, flag.shift)
        for r in mcu.registers
        for flag in r.flags
    ]
    return np.array(rows, layout.FLAG)


def tell_dma(state: NDArray[Any], mcu: Mcu) -> None:
    """What the hook has to know of a machine's DMA, if it has one, and the emulator's functions that move bytes."""
    dma = mcu.dma
    if dma is None:
        return
    for field in layout.DMA_REGISTERS:
        state[f"dma_{field}"] = getattr(dma, field)
    state["dma_most"], state["dma_begins"], state["dma_word"] = dma.most_words, dma.start_cycles, dma.word_cycles
    state["read_memory"] = ctypes.cast(uclib.uc_mem_read, ctypes.c_void_p).value
    state["write_memory"] = ctypes.cast(uclib.uc_mem_write, ctypes.c_void_p).value


def whole_pages(size: int) -> int:
    """A size rounded up to pages."""
    return align(size, PAGE)


def free_page(mcu: Mcu) -> int:
    """A page that no memory uses, for the return address of a call."""
    page = 0x1FFF_F000
    while any(m.base < page + PAGE and page < m.end for m in (*mcu.places, *mcu.areas)):
        page -= PAGE
    return page
