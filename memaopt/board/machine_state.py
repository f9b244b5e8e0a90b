"""What a core starts from, of a machine's description: registers, flags, pages."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def whole_pages(size: int) -> int:
    """A size rounded up to pages."""
    return align(size, PAGE)


def free_page(mcu: Mcu) -> int:
    """A page that no memory uses, for the return address of a call."""
    page = 0x1FFF_F000
    while any(m.base < page + PAGE and page < m.end for m in (*mcu.places, *mcu.areas)):
        page -= PAGE
    return page
