"""Chained weights in a byte each, as they cross from a memory outside the chip, and what makes words of them again.

Kernels of chained rows read three words of weights for two inputs of four channels (F0, F1 and F2 of
:mod:`memaopt.kernels.chained_rows.chains`). Two say the same: H0 = F0 and H1 = F2 + 128 in each halfword, of which
``expand_chains`` makes F1 as the packed kernels do. So a byte a weight crosses, and scratch holds what kernels read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node, Straight, compiled

_STARTS, _WIDE, _NARROW, _FOUR = 3, 3, 2, 4


class Packing(NamedTuple):
    """An array of ``records``: three words of starts, ``pairs`` times three words of weights, a word, and ``fours``
    times four words."""

    records: int
    pairs: int
    fours: int

    @property
    def record_words(self) -> int:
        """Of a record as kernels read it."""
        return _STARTS + _WIDE * self.pairs + 1 + _FOUR * self.fours

    @property
    def packed_words(self) -> int:
        """Of one as it crosses."""
        return self.record_words - self.pairs

    @property
    def saved(self) -> int:
        """Words that all of them are shorter by."""
        return self.records * self.pairs

    def packed(self, values: Int64Array) -> Int64Array:
        """The array as it crosses, [records, packed words]."""
        wide = np.asarray(values, np.int64).reshape(self.records, self.record_words)
        end = _STARTS + _WIDE * self.pairs
        chains = wide[:, _STARTS:end].reshape(self.records, self.pairs, _WIDE)
        last = chains[..., 2]
        high = ((last >> 16) + 128 & 0xFFFF) << 16 | ((last & 0xFFFF) + 128 & 0xFFFF)
        narrow = np.stack([chains[..., 0], wrap_int32(high)], axis=-1).reshape(self.records, -1)
        return np.concatenate([wide[:, :_STARTS], narrow, wide[:, end:]], axis=1)

    def code(self) -> tuple[Node, ...]:
        """A call of expand_chains, instruction by instruction (docs/timing.md); it loads packed words in order."""
        record: tuple[Node, ...] = (
            Straight((5.0, 4.0), (_STARTS, 0)),
            Loop((Straight((4.0, 5.0, 4.0), (_NARROW, 0, 0)),), self.pairs, 0.0, 1.0),
            Straight((2.0, 2.0), (1, 0)),
        )
        if self.fours:
            record += (Loop((Straight((5.0, 5.0, 3.0), (_FOUR, 0, 0)),), self.fours, 0.0, 1.0),)
        entry = compiled(40, 14), compiled(12, 12)
        return (around.piece(around.CALL), *entry, Loop((*record, Straight((3.0,), (0,))), self.records))
