"""Which labels are worth keeping: those that no other one equals or betters in everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]

#: What a label counts, column by column; the first four are sums, the last two maxima.
PRICE, FLASH, CODE, DATA, ARENA, STACK = range(6)
SUMS = 4
#: Labels that are compared with each other at a time, and those where only some are wanted.
_BLOCK, _FEW = 1024, 128


class TooMuchError(Exception):
    """There is more to compare than was allowed."""


@dataclass
class Effort:
    """Pairs of labels that may still be compared: a limit that no computer's load has a say in."""

    pairs: float = math.inf

    def spend(self, pairs: int) -> None:
        """Take some of it; TooMuchError if less is left."""
        self.pairs -= pairs
        if self.pairs < 0:
            raise TooMuchError


def undominated(
    values: Array, paid: Bits, sizes: Array, contested: Bits, most: int | None = None, effort: Effort | None = None
) -> Array:
    """The labels (by place) for which no other one is as good in everything; the first of equals stays.

    One that lacks kernels which the other has paid for may have to pay for them yet. ``most``: the first of them, and
    no more are looked for once there are more than so many. Raises TooMuchError where that takes more than ``effort``.
    """
    count = len(values)
    if count <= 1:
        return np.arange(count)
    varying: list[int] = np.nonzero((values != values[0]).any(axis=0))[0].tolist()
    kernels = np.nonzero((paid != paid[0]).any(axis=0))[0]
    if not len(kernels) and len(varying) <= 1:
        return np.array([int(values[:, varying[0]].argmin()) if varying else 0])
    if not len(kernels) and len(varying) == 2:
        order = np.lexsort((values[:, varying[1]], values[:, varying[0]]))
        second = values[order, varying[1]]
        keep = np.ones(count, bool)
        keep[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
        return np.sort(order[keep])
    bits, weights, fixed = paid[:, kernels], sizes[:, kernels], bits_of(paid, kernels, contested)
    kept = np.zeros(0, np.int64)
    size = _BLOCK if most is None else _FEW
    for start in range(0, count, size):
        block = np.arange(start, min(start + size, count))
        if effort is not None:
            effort.spend((len(kept) + len(block)) * len(block))
        if len(kept):
            beaten = _beats(values, bits, weights, fixed, varying, kept, block).any(axis=0)
            block = block[~beaten]
        beats = _beats(values, bits, weights, fixed, varying, block, block)
        np.fill_diagonal(beats, False)
        first = np.arange(len(block))[:, None] < np.arange(len(block))
        beaten = (beats & (first | ~beats.T)).any(axis=0)
        kept = np.concatenate([kept, block[~beaten]])
        if most is not None and len(kept) > most:
            break
    return kept


def bits_of(paid: Bits, kernels: npt.NDArray[np.intp], contested: Bits) -> Bits:
    """The kernels whose place is still to be agreed on."""
    return paid[:, kernels] & contested[kernels]


def _beats(values: Array, paid: Bits, sizes: Array, fixed: Bits, varying: Sequence[int], a: Array, b: Array) -> Bits:
    """For each of ``a`` and each of ``b``, whether the first is no worse in anything."""
    better = np.ones((len(a), len(b)), bool)
    for column in varying:
        left = values[a, column][:, None]
        if column in (FLASH, CODE) and sizes.shape[1]:
            better &= left + _lacking(paid, sizes[column - FLASH], a, b) <= values[b, column][None, :]
        else:
            better &= left <= values[b, column][None, :]
    for column in (FLASH, CODE):
        if column not in varying and sizes.shape[1] and sizes[column - FLASH].any():
            better &= _lacking(paid, sizes[column - FLASH], a, b) <= 0
    if fixed.any():
        better &= (fixed[a].astype(np.float64) @ (~fixed[b]).T.astype(np.float64)) == 0
    return better


def _lacking(paid: Bits, weights: Array, a: Array, b: Array) -> npt.NDArray[np.float64]:
    """For each of ``a`` and each of ``b``, the bytes of kernels that the second has paid for and the first has not.

    In floating point, which multiplies matrices fast and is exact for whole numbers of this size.
    """
    theirs, sizes = paid[b].astype(np.float64), weights.astype(np.float64)
    return (theirs @ sizes)[None, :] - (paid[a] * sizes) @ theirs.T
