"""What ``invoke`` takes beside its layers, when inputs and outputs lie in the arena already and nobody observes it.

Cycles are the least squares of what five networks of 1 to 10 layers take on the board without wait states beyond their
layers (34, 42, 53, 73 and 100 cycles for 1, 2, 3, 6 and 10 layers, GCC 12.2 at -O3), sizes are those of the code that
runs.
"""

from collections.abc import Iterable

from memaopt.kernels.around import Compiled, piece
from memaopt.models.fetching import FlashTiming
from memaopt.models.waits import waiting

ENTRY = Compiled(60, 28)  # and exit, with the checks of arena and arguments
CALL = Compiled(20, 7)  # of a layer, with its arguments and the callback that there is not


def call_cycles(batch: int) -> int:
    """Of the calls of a layer, without wait states."""
    return round(CALL.cycles * batch)


def cycles(batches: Iterable[int]) -> int:
    """Of everything beside the layers, which are called so many times each, without wait states."""
    return round(ENTRY.cycles) + sum(map(call_cycles, batches))


def stall_cycles(machine: FlashTiming) -> int:
    """What the entry waits; a layer's call waits with it."""
    return round(waiting((piece(ENTRY),), machine))
