"""Nests of two loops of which the inner one turns: it runs forwards, then backwards, then forwards again.

Where it turns, the tile at hand of the operand that the outer loop does not index is the next one needed, so it stays.
The block that may be shorter is the last but one, so that the tiles at both ends are as large as any, unless there are
only two. What a turn keeps depends on the block itself, not on its trip count alone.
"""

import numpy as np
import numpy.typing as npt

Ints = int | npt.NDArray[np.int64]


def turns_at_far(sweeps: Ints) -> Ints:
    """How often a loop turns at its far end between so many sweeps: the first time, and then every second time."""
    return sweeps // 2


def turns_at_near(sweeps: Ints) -> Ints:
    """How often it turns at the end where it began."""
    return (sweeps - 1) // 2


def kept_length(size: int, block: Ints, trips: Ints, sweeps: Ints) -> Ints:
    """How much of a loop of ``size``, in blocks of ``block``, stays over the turns between so many ``sweeps``; 0 in one
    trip, where nothing turns.
    """
    near = block + (trips <= 2) * (size - 2 * block)
    kept: Ints = (trips > 1) * (turns_at_far(sweeps) * block + turns_at_near(sweeps) * near)
    return kept


def lengths(size: int, block: int) -> list[int]:
    """The blocks of a loop that turns, from its near to its far end: the last but one is what the others leave."""
    trips = -(-size // block)
    return [*[block] * (trips - 2), size - (trips - 1) * block, block]
