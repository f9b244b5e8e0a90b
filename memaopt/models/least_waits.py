"""What a layer waits at least, in closed form: which kernels are hopeless is seen without executing them.

A loop that is longer than the instruction cache finds nothing of itself there when it begins again, since the line
that was not used for longest goes. So all of it is read in each turn, which takes no less time than these reads do.
"""

from __future__ import annotations

from collections.abc import Iterable

from memaopt.access import Access
from memaopt.kernels.turns import Turns
from memaopt.models.fetching import FlashTiming

#: The share that is claimed of what is found: what is read ahead is hidden behind other code too. And of what constants
#: would wait if none of them were held.
_CODE, _AHEAD, _CONSTANTS = 0.5, 0.25, 0.0625


def least_fetching(code: Iterable[Turns], machine: FlashTiming) -> float:
    """Cycles that code waits at least, through an accelerator."""
    if not machine.read:
        return 0.0
    capacity, waited = machine.instruction_lines * machine.line, 0.0
    for turns in code:
        waits = turns.words / machine.read * (machine.first + 1) - turns.cycles
        for size, trips in turns.around:
            waits *= trips if size > capacity else min(trips, 1)
        waited += max(waits, 0.0)
    return waited * (_AHEAD if machine.prefetch else _CODE)


def least_loading(constants: Access, size: int, machine: FlashTiming) -> float:
    """Cycles that loads of constants of ``size`` bytes wait at least: what a cache may hold whole is not counted."""
    if size <= 4 * machine.data_lines * machine.line:
        return 0.0
    reads = constants.load_bytes / (4 * machine.read) if machine.read else constants.loads
    return _CONSTANTS * reads * machine.first
