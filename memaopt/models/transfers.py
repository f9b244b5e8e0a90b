"""What copying by DMA costs: a transfer takes its time beside the core, which waits for what has not arrived by then.

While the core computes with one block the next one is copied, so that of n blocks, of which block i takes the core C_i
and the DMA T_i, the layer takes

    T_0 + max(C_0, T_1) + ... + max(C_(n-2), T_(n-1)) + C_(n-1)

A transfer of w words takes ``start + w word + first + (w - 1) next`` cycles: the figures of the machine's DMA, and what
each access waits at the memory that is read. That nothing else is waited for on a bus is modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from memaopt.models.fetching import Outside


def transfer_cycles(words: int, outside: Outside) -> int:
    """Cycles from the start of a transfer of so many words until all have arrived."""
    assert outside.dma is not None
    start, word = outside.dma
    return start + words * word + outside.first + (words - 1) * outside.next


def waiting_for(blocks: Sequence[int], computing: float, outside: Outside) -> float:
    """Cycles that the core waits for blocks of so many words, with all of which it computes for ``computing``: with
    each in proportion to its words."""
    total = sum(blocks)
    meanwhile = (
        max(transfer_cycles(after, outside) - computing * block / total, 0.0) for block, after in pairwise(blocks)
    )
    return transfer_cycles(blocks[0], outside) + sum(meanwhile)


def least_waiting_for(blocks: Sequence[int], computing: float, outside: Outside) -> int:
    """What :func:`waiting_for` is not below: nothing is computed before the first transfer has ended, and they come one
    after the other. With more to compute the sum of both is not below this sum either."""
    every = sum(transfer_cycles(block, outside) for block in blocks)
    return max(transfer_cycles(blocks[0], outside), int(every - computing))
