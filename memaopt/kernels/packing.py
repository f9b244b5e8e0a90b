"""Constants of kernels in fewer words, as they cross from a memory outside the chip, and what expands them in scratch.

Kernels of chained rows read three words of weights for two inputs of four channels (F0, F1 and F2 of
:mod:`memaopt.kernels.chained_rows.chains`). Two say the same: H0 = F0 and H1 = F2 + 128 in each halfword, of which
``expand_chains`` makes F1 as the packed kernels do. The walk of 3x3 depthwise layers reads weights times 256 in
halfwords, for columns that begin a word and for those that do not; a word a row has them all (``expand_taps``).

Between the weights kernels read what a channel takes besides: its start, in which its bias is, and the factors of its
rounding. *Apart*, only weights cross: what channels take is an array of its own, which stays on the chip.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from memaopt.fixedpoint import Int64Array, wrap_int32
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import Loop, Node, Straight, compiled

_STARTS, _WIDE, _NARROW, _FOUR = 3, 3, 2, 4
_ROWS, _OF_SET, _KEPT = 3, 5, 2
#: The entry and exit of expand_taps, a channel, and each set of its columns, as GCC 12.2 makes them at -O3.
_ENTRY, _CHANNEL, _SET = Compiled(24, 20), Compiled(40, 22), Compiled(72, 32)
#: Of expand_taps_apart.
_ENTRY_APART, _CHANNEL_APART = Compiled(28, 23), Compiled(50, 27)


class _Chains(NamedTuple):
    """Of expand_chains, words of code with their cycles, by the instructions (docs/timing.md).

    Entry and exit are three cycles more than theirs; the branch over what has no fours is in none.
    """

    entry: Compiled = Compiled(40, 14)
    exit: Compiled = Compiled(12, 12)
    entry_apart: Compiled = Compiled(44, 17)
    exit_apart: Compiled = Compiled(12, 13)
    starts: tuple[float, ...] = (4 + 1.0, 4.0)  # three words loaded, pairs set up, stored
    pair: tuple[float, ...] = (4.0, 5.0, 4.0)  # two words loaded (3), counted, three widened, stored (4), and back (2)
    pair_left: float = 1.0  # the last branch is not taken
    word: tuple[float, ...] = (2.0, 1 + 1.0)  # loaded, fours set up, stored
    four: tuple[float, ...] = (5.0, 5.0, 1 + 2.0)  # four words loaded, stored; counted, and back
    four_left: float = 1.0
    record: float = 1 + 2.0  # counted, and back


_CHAINS = _Chains()


class Packing(Protocol):
    """How an array of constants crosses in fewer words than kernels read."""

    @property
    def words(self) -> int:
        """As kernels read it."""
        ...

    @property
    def apart(self) -> bool:
        """Whether what channels take besides weights is an array of its own."""
        ...

    def parted(self) -> Packing:
        """The same with what channels take apart."""
        ...

    @property
    def packed_words(self) -> int:
        """As it crosses."""
        ...

    @property
    def channel_words(self) -> int:
        """Of what stays on the chip; 0 unless that is apart."""
        ...

    def packed(self, values: Int64Array) -> Int64Array:
        """The array as it crosses."""
        ...

    def beside(self, values: Int64Array) -> Int64Array:
        """What stays, if that is apart."""
        ...

    def code(self) -> tuple[Node, ...]:
        """What expands it; it loads packed words in order."""
        ...

    def call(self, to: str, source: str, channels: str) -> str:
        """The C statement for that; ``channels`` is what stays, if that is apart."""
        ...

    def __hash__(self) -> int: ...


class ChainPacking(NamedTuple):
    """An array of ``records``: three words of starts, ``pairs`` times three words of weights, a word, and ``fours``
    times four words. Weights take a byte each."""

    records: int
    pairs: int
    fours: int
    apart: bool = False

    def parted(self) -> ChainPacking:
        return self._replace(apart=True)

    @property
    def record_words(self) -> int:
        """Of a record as kernels read it."""
        return _STARTS + _WIDE * self.pairs + 1 + _FOUR * self.fours

    @property
    def words(self) -> int:
        return self.records * self.record_words

    @property
    def packed_words(self) -> int:
        return self.words - self.records * self.pairs - self.channel_words

    @property
    def channel_words(self) -> int:
        return self.records * (_STARTS + 1 + _FOUR * self.fours) if self.apart else 0

    def beside(self, values: Int64Array) -> Int64Array:
        """[records, words of what its channels take]."""
        wide, end = self._records(values)
        return np.concatenate([wide[:, :_STARTS], wide[:, end:]], axis=1)

    def _records(self, values: Int64Array) -> tuple[Int64Array, int]:
        """[records, words of one], and where the weights of one end."""
        wide = np.asarray(values, np.int64).reshape(self.records, self.record_words)
        return wide, _STARTS + _WIDE * self.pairs

    def packed(self, values: Int64Array) -> Int64Array:
        """[records, packed words of one]."""
        wide, end = self._records(values)
        chains = wide[:, _STARTS:end].reshape(self.records, self.pairs, _WIDE)
        last = chains[..., 2]
        high = ((last >> 16) + 128 & 0xFFFF) << 16 | ((last & 0xFFFF) + 128 & 0xFFFF)
        narrow = np.stack([chains[..., 0], wrap_int32(high)], axis=-1).reshape(self.records, -1)
        return narrow if self.apart else np.concatenate([wide[:, :_STARTS], narrow, wide[:, end:]], axis=1)

    def code(self) -> tuple[Node, ...]:
        of, here = _CHAINS, int(not self.apart)
        record: tuple[Node, ...] = (
            Straight(of.starts, (here * _STARTS, 0)),
            Loop((Straight(of.pair, (_NARROW, 0, 0)),), self.pairs, 0.0, of.pair_left),
            Straight(of.word, (here, 0)),
        )
        if self.fours:
            record += (Loop((Straight(of.four, (here * _FOUR, 0, 0)),), self.fours, 0.0, of.four_left),)
        entry, leave = (of.entry_apart, of.exit_apart) if self.apart else (of.entry, of.exit)
        ends = around.piece(entry), around.piece(leave)
        return (around.piece(around.CALL), *ends, Loop((*record, Straight((of.record,), (0,))), self.records))

    def call(self, to: str, source: str, channels: str) -> str:
        return self.statement(to, source, channels, self.records)

    def statement(self, to: str, source: str, channels: str, records: int | str) -> str:
        """The C statement that expands so many records."""
        sources = f"{source}, {channels}" if self.apart else source
        return f"expand_chains{'_apart' * self.apart}({to}, {sources}, {records}, {self.pairs}, {self.fours});"


class TapPacking(NamedTuple):
    """Parameters of a walk's ``channels``: the weights of its first ``sets`` of columns (one or two, the first ``odd``
    or not), two words behind those of the first. Of a channel five words cross, three of them weights."""

    channels: int
    odd: int
    sets: int
    apart: bool = False

    def parted(self) -> TapPacking:
        return self._replace(apart=True)

    @property
    def words(self) -> int:
        return self.channels * (_OF_SET * self.sets + _KEPT)

    @property
    def packed_words(self) -> int:
        return self.channels * (_ROWS + _KEPT) - self.channel_words

    @property
    def channel_words(self) -> int:
        return self.channels * _KEPT if self.apart else 0

    def beside(self, values: Int64Array) -> Int64Array:
        """[channels, words of what one takes]."""
        return np.asarray(values, np.int64).reshape(self.channels, -1)[:, _OF_SET : _OF_SET + _KEPT]

    def packed(self, values: Int64Array) -> Int64Array:
        """[channels, words of one]: of a row's weights bytes w1, w0, w2, w1."""
        wide = np.asarray(values, np.int64).reshape(self.channels, -1)
        # The upper bytes of halfwords.
        halves = np.stack([wide[:, :_OF_SET] >> 8, wide[:, :_OF_SET] >> 24], axis=-1) & 0xFF
        first, second, alone = halves[:, :_ROWS, 0], halves[:, :_ROWS, 1], halves[:, _ROWS:].reshape(-1, 4)[:, :_ROWS]
        w0, w1, w2 = (alone, first, second) if self.odd else (first, second, alone)
        rows = wrap_int32(w1 | w0 << 8 | w2 << 16 | w1 << 24)
        return rows if self.apart else np.concatenate([rows, self.beside(values)], axis=1)

    def code(self) -> tuple[Node, ...]:
        entry, one = (_ENTRY_APART, _CHANNEL_APART) if self.apart else (_ENTRY, _CHANNEL)
        channel = compiled(*one, _ROWS + _KEPT * (not self.apart)), Loop((around.piece(_SET),), self.sets)
        return (around.piece(around.CALL), around.piece(entry), Loop(channel, self.channels))

    def call(self, to: str, source: str, channels: str) -> str:
        sources = f"{source}, {channels}" if self.apart else source
        return f"expand_taps{'_apart' * self.apart}({to}, {sources}, {self.channels}, {self.odd}, {self.sets});"
