"""Words that three positions share: a 3x3 window over three channels, of pixels loaded once for all of them.

A pixel's first and third channel make one word (SXTB16); the second channels of two rows, or of two neighbouring
pixels of the last row, another (PKHBT or PKHTB, then SXTB16). Whichever positions a pixel is under, its words are the
same, though some begin at odd bytes. So three positions beside each other take 32 words at stride 2, 25 at stride 1, in
place of 42, and three below each other at stride 1 take 29: all have room in the FPU.

A pixel is loaded as a word from where it begins, or a byte *earlier*: then its address is even where the former is odd,
and nothing behind the image's last pixel is read.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.patches import unaligned
from memaopt.kernels.text.assembly import add_imm

CHANNELS = 3
TAPS = 3
_POSITIONS = 3
#: Columns, of the first two rows, that have registers at once: two pixels each, and the word of both.
_AT_ONCE = 4


class Pixel(NamedTuple):
    """One under the windows, from the first one's first."""

    row: int
    column: int


#: A word of the second channels of one pixel or two; where there is one, the other half is anything.
_Second = tuple[Pixel, Pixel | None]
_Word = Pixel | _Second


class _Batch(NamedTuple):
    """Pixels that are loaded together, those of them that give words of their first and third channel, and words of
    second ones."""

    pixels: tuple[Pixel, ...]
    outer: tuple[Pixel, ...]
    second: tuple[_Second, ...]


class SharedCopy(NamedTuple):
    """What makes a tile's words, from r12, which moves on to the next tile and goes back to memory; the loads of the
    input, and the cycles that unaligned ones take more than the text says."""

    assembly: str
    source: Access
    waits: float


class SharedWords(NamedTuple):
    """Positions ``stride`` columns from each other, or (``below``) a row, with rows ``pitch`` bytes apart. ``odd``: the
    first one begins at an odd address; ``start``: so many bytes behind a multiple of 4, the next tile ``advance``
    further."""

    stride: int
    pitch: int
    start: int
    advance: int
    below: bool = False

    @property
    def odd(self) -> bool:
        """Whether even columns lie at odd addresses, where positions are two apart: else that changes. What stands for
        a position is then the address before it, for the first column too is loaded a byte earlier."""
        return self.stride == 2 and self.start % 2 == 1

    @property
    def columns(self) -> int:
        """Under all positions."""
        return TAPS if self.below else TAPS + (_POSITIONS - 1) * self.stride

    @property
    def reach(self) -> int:
        """The largest offset of a load."""
        rows = TAPS + (_POSITIONS - 1) * self.below
        return (rows - 1) * self.pitch + CHANNELS * (self.columns - 1) + self.odd

    def early(self, column: int) -> bool:
        """Whether the pixels of a column are loaded a byte earlier."""
        if self.below:
            return False
        return (column + self.odd) % 2 == 1 if self.stride == 2 else column == self.columns - 1

    @property
    def order(self) -> Int64Array:
        """Which of a patch's bytes each halfword of a position's words is; -1 is none."""
        outer = [(9 * row + 3 * c, 9 * row + 3 * c + 2) for row in range(TAPS) for c in range(TAPS)]
        second = [(3 * c + 1, 10 + 3 * c) for c in range(TAPS)]
        last = [(22, 19), (-1, 25)] if self.odd else [(19, 22), (25, -1)]
        return np.array([*outer, *second, *last]).ravel()

    @property
    def offsets(self) -> list[int]:
        """Where each of these halfwords lies, from the address that stands for the position on; any for none."""
        return [self.odd + max(at, 0) // 9 * self.pitch + max(at, 0) % 9 for at in self.order.tolist()]

    @property
    def step(self) -> int:
        """Bytes from a position to the next one."""
        return self.pitch if self.below else CHANNELS * self.stride

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """The register of the FPU of each word, for each position."""
        return _laid(self).places

    @property
    def used(self) -> int:
        """Registers of the FPU."""
        return _laid(self).used

    def copy(self, back: str) -> SharedCopy:
        """What makes the words; the moved pointer goes to the address ``back``."""
        return _copy(self, back)

    @property
    def describe(self) -> str:
        """For the name of a kernel."""
        where = "below" if self.below else "beside"
        return f"words shared by positions {where} each other, the first {self.start} bytes behind a word"


class _Laid(NamedTuple):
    batches: tuple[_Batch, ...]
    places: tuple[tuple[int, ...], ...]
    used: int


def _beside(words: SharedWords) -> tuple[list[_Batch], list[list[_Word]]]:
    """Batches, and of each position what each of its words is, of positions beside each other."""
    last, columns, batches = TAPS - 1, words.columns, list[_Batch]()
    for first in range(0, columns, _AT_ONCE):
        some = range(first, min(first + _AT_ONCE, columns))
        pixels = tuple(Pixel(row, c) for row in range(last) for c in some)
        batches.append(_Batch(pixels, pixels, tuple((Pixel(0, c), Pixel(1, c)) for c in some)))
    pairs: list[_Second] = []
    for c in range(0, columns, words.stride):
        two = Pixel(last, c), Pixel(last, c + 1) if c + 1 < columns else None
        pairs.append(two)
    row = tuple(Pixel(last, c) for c in range(columns))
    batches.append(_Batch(row, row, tuple(pairs)))
    wanted: list[list[_Word]] = []
    for j in range(_POSITIONS):
        at = j * words.stride
        of: list[_Word] = [Pixel(i, at + c) for i in range(TAPS) for c in range(TAPS)]
        of += [(Pixel(0, at + c), Pixel(1, at + c)) for c in range(TAPS)]
        of += [next(pair for pair in pairs if pair[0] == Pixel(last, at + c)) for c in (0, TAPS - 1)]
        wanted.append(of)
    return batches, wanted


def _below() -> tuple[list[_Batch], list[list[_Word]]]:
    """The same of positions a row from each other: a batch for each column, of which the second loads pixels of the
    first once more."""
    rows, last, batches = TAPS + _POSITIONS - 1, TAPS - 1, list[_Batch]()

    def pair(row: int, column: int) -> _Second:
        return Pixel(row, column), Pixel(row + 1, column) if row + 1 < rows else None

    for c in range(TAPS):
        outer = tuple(Pixel(row, c) for row in range(rows))
        second = [pair(row, c) for row in range(_POSITIONS if c < last else rows)]
        again: tuple[Pixel, ...] = ()
        if c == 1:
            again = tuple(Pixel(j + last, 0) for j in range(_POSITIONS))
            second += [(before, Pixel(before.row, 1)) for before in again]
        batches.append(_Batch((*again, *outer), outer, tuple(second)))
    wanted: list[list[_Word]] = []
    for j in range(_POSITIONS):
        of: list[_Word] = [Pixel(j + i, c) for i in range(TAPS) for c in range(TAPS)]
        of += [pair(j, c) for c in range(TAPS)]
        of += [(Pixel(j + last, 0), Pixel(j + last, 1)), pair(j + last, last)]
        wanted.append(of)
    return batches, wanted


@lru_cache(maxsize=256)
def _laid(words: SharedWords) -> _Laid:
    batches, wanted = _below() if words.below else _beside(words)
    made: list[_Word] = []
    for batch in batches:
        made += batch.outer
        made += batch.second
    at: dict[_Word, int] = {word: number for number, word in enumerate(made)}
    assert len(at) == len(made)
    return _Laid(tuple(batches), tuple(tuple(at[word] for word in of) for of in wanted), len(made))


@lru_cache(maxsize=256)
def _copy(words: SharedWords, back: str) -> SharedCopy:
    lines, held, count, waits = list[str](), 0, 0, 0.0
    apart = math.gcd(4, words.advance, words.pitch)
    for number, batch in enumerate(_laid(words).batches):
        registers = {pixel: f"r{i}" for i, pixel in enumerate(batch.pixels)}
        for pixel, register in registers.items():
            place = pixel.row * words.pitch + CHANNELS * pixel.column - words.early(pixel.column)
            lines.append(f"ldr {register}, [r12, #{place + words.odd}]")
            waits += unaligned(words.start + place, apart)
        count += len(registers)
        if number == len(_laid(words).batches) - 1:
            lines += [add_imm("r12", "r12", words.advance, ""), f"str r12, {back}"]
        # Words of second channels in registers that are free, or in those of pixels that no longer are needed.
        free = [f"r{i}" for i in range(len(registers), 12)] + [r for p, r in registers.items() if p not in batch.outer]
        made = []
        for pair in batch.second:
            target = registers[pair[0]] if pair[0] not in batch.outer else free.pop(0)
            lines += _second(words, pair, registers, target)
            made.append(target)
        for pixel in batch.outer:
            register = registers[pixel]
            lines.append(f"sxtb16 {register}, {register}{', ror #8' if words.early(pixel.column) else ''}")
        kept = [*(registers[pixel] for pixel in batch.outer), *made]
        for i in range(0, len(kept), 2):
            two = kept[i : i + 2]
            lines.append(f"vmov {', '.join([*(f's{held + i + k}' for k in range(len(two))), *two])}")
        held += len(kept)
    return SharedCopy("\n".join(lines), loads(count, 4), waits)


def _second(words: SharedWords, pair: _Second, registers: dict[Pixel, str], target: str) -> list[str]:
    """The word of two pixels' second channels, which are byte 1 of a pixel's word, or byte 2 of one loaded earlier."""
    low, high = pair
    x, before = registers[low], words.early(low.column)
    if high is None:
        # In the upper half where the order of pairs is turned.
        turned = 24 if words.odd else 8
        turn = (turned + 8 * before) % 32
        return [f"sxtb16 {target}, {x}{f', ror #{turn}' if turn else ''}"]
    y, after = registers[high], words.early(high.column)
    if before and after:
        return [f"pkhtb {target}, {y}, {x}, asr #16", f"sxtb16 {target}, {target}"]
    if before:
        x, y = y, x
    shift = 8 if before or after else 16
    return [f"pkhbt {target}, {x}, {y}, lsl #{shift}", f"sxtb16 {target}, {target}, ror #8"]
