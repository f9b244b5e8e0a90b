"""The code around the kernels, for pricing how it waits: copies by helpers and what drives a patch kernel.

Sizes and cycles are those of GCC 12.2 at -O3, by the median of 60 layers (`arm-none-eabi-nm -S`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels.code import Call, Literal, Loop, Node, Small, Straight, TableLoads, compiled


class Compiled(NamedTuple):
    """A stretch of C as GCC 12.2 makes it at -O3: its bytes, and its cycles at zero wait states."""

    size: int
    cycles: float


class Frame(NamedTuple):
    """The most that the C of a layer takes around its kernels: bytes of code, and of stack with helpers that it calls.

    As GCC 12.2 makes them at -O3 of 1,900 plans; `tests/kernels/test_frames.py` measures them again.
    """

    code: int
    stack: int


#: Of tiles of positions: straight, for each group, and with strips of padded rows.
_TILES, _GROUPS, _STRIPS = Frame(48, 136), Frame(96, 136), Frame(624, 176)
#: Of rows of weights, one after the other.
ROWS_FRAME = Frame(80, 72)


def tiles_frame(strips: bool, groups: int = 1) -> Frame:
    """Of a kernel that run_tiles drives."""
    return _STRIPS if strips else _GROUPS if groups > 1 else _TILES


ENTRY = Compiled(40, 24)  # of a layer, and its exit
ROW = Compiled(44, 14)  # a turn of a loop over rows of a strip, around each copy
CALL = Compiled(20, 8)  # with its arguments
TILES = Compiled(60, 18)  # a call of a patch kernel without run_tiles
#: Cycles of entry and exit of a layer that calls nothing: one loop over its elements.
LEAF_CYCLES = 10
GROUP = Compiled(12, 7)  # a turn of the loop over groups, around the call of run_tiles
#: Of run_tiles: its entry and its exit; a turn of its loop up to the kernel's call, which ends behind it, and of those
#: cycles what each position but three has less.
_RUNS, _RAN, _TURN, _TURNED = Compiled(36, 30), Compiled(8, 14), Compiled(116, 60), Compiled(40, 23)
_POSITION = 11
#: Cycles of run_tiles for each group but the first.
GROUP_CYCLES = GROUP.cycles + CALL.cycles + _RUNS.cycles + _RAN.cycles


#: Cycles that a word at an address of each remainder modulo 4 costs more (`board/cores/cortex_m4.py`).
UNALIGNED = (0, 2, 1, 2)


def unaligned_words(places: Int64Array) -> int:
    """Cycles that one word at each of these places costs more than at multiples of 4."""
    return int(np.array(UNALIGNED)[places % 4].sum())


class RowCopy(NamedTuple):
    """Cycles of a helper that copies rows, its call included, fitted to counts of layers (GCC 12.2 -O3)."""

    row: int
    word: float
    byte: int = 0  # that words leave over

    def cycles(self, words: int, rest: int = 0) -> float:
        """Of a row of words and the bytes left over."""
        return self.word * words + self.byte * rest + self.row


ROW_OF_WORDS, ROW_FLIPPED, ROW_OF_BYTES = RowCopy(32, 2.6), RowCopy(45, 3.6), RowCopy(20, 7.5, 6)
#: Cycles of fill_words for a word, fitted likewise.
FILLED_WORD = 1.8


def _words(*cycles: float) -> Straight:
    """Words that take so many cycles each, as far as their last instructions go."""
    return Straight(tuple(map(float, cycles)), (0,) * len(cycles))


def _stretch(words: int, cycles: float) -> Straight:
    return Straight((cycles / words,) * words, (0,) * words)


#: Of a word by itself, and of four apart, a cycle more than their instructions have: an allowance, not counted.
_ALLOWED = 1
#: Of a helper between its two loops: two instructions, the second of which is a branch past the second loop.
_BETWEEN = _words(2)


class _Helper(NamedTuple):
    """A helper of two loops (text/include/copy.h): its bytes, the items of a turn of the first, a turn of it and one of
    the second by the instructions (docs/timing.md), and what lies before and behind them, the entry and the exit.

    Those of helpers that save registers are their mean together, 15 to 25 by the instructions.
    """

    name: str
    size: int
    by: int
    turn: Straight
    each: Straight
    entry: Straight
    exit: Straight

    def call(self, count: float, constants: tuple[Straight, Straight] | None = None) -> Call:
        """A call for so many items; both loops as they read ``constants``, if they do."""
        turns, rest = divmod(count, self.by)
        whole, single = constants or (self.turn, self.each)
        body = (self.entry, Loop((whole,), turns), _BETWEEN, Loop((single,), rest), self.exit)
        return Call(Small(self.name, self.size, body))


#: Registers are saved, and restored: a word each, and a word more with instructions of 16 bits.
_SAVED, _RESTORED = _stretch(2, 8), _stretch(2, 10)
_FEW_SAVED, _FEW_RESTORED = _stretch(3, 10), _stretch(1, 8)
# Loaded, changed if at all, counted, stored, and back.
_WORDS = _Helper("copy_words", 42, 8, _words(9, 1, 9 + 2), _stretch(3, 2 + 1 + 1 + 2 + _ALLOWED), _SAVED, _RESTORED)
_FLIPPED = _Helper(
    "copy_words_flipped",
    78,
    8,
    _stretch(11, 9 + 8 + 1 + 9 + 2),
    _stretch(4, 2 + 1 + 1 + 1 + 2 + _ALLOWED),
    _SAVED,
    _RESTORED,
)
#: It saves no registers. What is stored lies in two words, of which the second has the branch.
_BYTE = _words(2, 1, 1 + 2)
_BYTES = _Helper("copy_bytes", 34, 4, _BYTE, _BYTE, _stretch(1, 2), _stretch(1, 3))
# Stored, counted, and back; those apart move on by an instruction of its own.
_FILL = _Helper("fill_words", 34, 4, _words(5 + 1, 2), _stretch(2, 1 + 1 + 2 + _ALLOWED), _FEW_SAVED, _FEW_RESTORED)
_CLEAR = _Helper(
    "clear_words_apart",
    48,
    4,
    _stretch(5, 4 + 1 + 1 + 2 + _ALLOWED),
    _stretch(2, 1 + 1 + 1 + 2 + _ALLOWED),
    _FEW_SAVED,
    _FEW_RESTORED,
)
#: The loops of copies as they read constants, the same cycles: by words, of them whole
#: turns in a row, and by bytes.
_CONSTANT_WORDS = Straight((9.0, 10.0, 2.0), (8, 0, 0)), Straight((2.0, 3.0, 2.0), (1, 0, 0))
_CONSTANT_EIGHT = Straight((8.0, 9.0, 4.0), (8, 0, 0))
_CONSTANT_BYTES = _BYTE._replace(loads=(1, 0, 0)), _BYTE._replace(loads=(1, 0, 0), step=0.25)


def copy_words(words: float, constants: bool = False) -> Call:
    """A call of copy_words in RAM, or of constants."""
    return _WORDS.call(words, _CONSTANT_WORDS if constants else None)


def copy_flipped(words: float) -> Call:
    """A call of copy_words_flipped."""
    return _FLIPPED.call(words)


def copy_bytes(count: float, constants: bool = False) -> Call:
    """A call of copy_bytes, which saves no registers, in RAM, or of constants."""
    return _BYTES.call(count, _CONSTANT_BYTES if constants else None)


def fill_words(words: float) -> Call:
    """A call of fill_words."""
    return _FILL.call(words)


def spread_bytes(count: float, times: float) -> Call:
    """A call of spread_bytes: its entry and exit, a byte loaded, stored so many times, and on to the next."""
    each = (_stretch(3, 2 + 1 + 1), Loop((_stretch(4, 1 + 1 + 1 + 2),), times, left=1), _stretch(3, 1 + 1 + 2))
    return Call(Small("spread_bytes", 56, (_stretch(5, 6 + 3 + 6 + 3), Loop(each, count, left=1))))


def clear_apart(words: float) -> Call:
    """A call of clear_words_apart."""
    return _CLEAR.call(words)


def run_cycles(positions: int) -> float:
    """Cycles of run_tiles around each call of a kernel that computes tiles of so many positions."""
    return _TURN.cycles + _TURNED.cycles - _POSITION * (3 - positions)


def run_tiles(runs: float, kernel: Call, positions: int) -> tuple[Node, ...]:
    """A call of run_tiles, which calls a patch kernel of tiles of so many positions ``runs`` times."""
    before = _TURN._replace(cycles=run_cycles(positions) - _TURNED.cycles)
    turn = (piece(before), kernel._replace(by_pointer=True), piece(_TURNED))
    return piece(CALL), Call(Small("run_tiles", 208, (piece(_RUNS), Loop(turn, runs), piece(_RAN))))


def copy_constants(words: int) -> tuple[Node, ...]:
    """copy_words of constants: each word is read from where they lie."""
    return (compiled(*CALL), Loop((_CONSTANT_EIGHT,), words / _WORDS.by))


def entry() -> tuple[Node, ...]:
    """A layer's entry and exit; the address of its constants lies behind its code."""
    return piece(ENTRY), Literal()


def piece(one: Compiled) -> Straight:
    """Its code."""
    return compiled(one.size, one.cycles)


def each(count: float, *element: Compiled) -> Loop:
    """A compiled loop over elements, of one stretch or of several."""
    return Loop(tuple(map(piece, element)), count)


def each_looked_up(count: float, size: int, before: Compiled, behind: Compiled, among: float = 0) -> Loop:
    """A compiled loop over elements, in whose midst one of a table of ``size`` bytes is loaded; ``among``: loads of it
    in the whole layer, if others than these."""
    return Loop((piece(before), TableLoads(size, 1, among or count), piece(behind)), count)
