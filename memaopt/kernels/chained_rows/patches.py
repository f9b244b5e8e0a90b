"""Patches as halfwords: how a kernel of chained rows copies the bytes under a window into its tile on the stack.

Each run's whole words come first, a word of bytes as two of halfwords in the order of SXTB16: bytes 0 and 2, then 1
and 3. Then come the bytes that all the runs have left over, in pairs. A last one without a partner meets a weight of 0.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.patches import Patch, unaligned
from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.thumb import REACH

#: Registers that a copy may use for data; a word of bytes takes two.
_DATA = [f"r{i}" for i in range(1, 11)]


class HalfwordRuns(NamedTuple):
    """``number`` runs of ``size`` contiguous bytes, run i at ``i / taps * pitch + i % taps * step``."""

    number: int
    taps: int
    size: int
    pitch: int
    step: int

    @property
    def whole(self) -> int:
        """Bytes of a run in whole words."""
        return self.size // 4 * 4

    @property
    def rest(self) -> int:
        """Bytes that a run has left over."""
        return self.size % 4

    @property
    def pairs(self) -> int:
        """Words of halfwords."""
        return -(-self.number * self.size // 2)

    def offset(self, run: int) -> int:
        """Where a run begins."""
        return run // self.taps * self.pitch + run % self.taps * self.step

    def order(self) -> Int64Array:
        """Which of the patch's bytes, run after run, each halfword of the tile is; -1 is none."""
        run, at = np.arange(self.number)[:, None] * self.size, np.arange(self.whole)
        whole = run + at // 4 * 4 + np.array([0, 2, 1, 3])[at % 4]
        rest = run + self.whole + np.arange(self.rest)
        none = np.full(2 * self.pairs - self.number * self.size, -1)
        ordered: Int64Array = np.concatenate([whole.ravel(), rest.ravel(), none])
        return ordered


def runs_of(patch: Patch) -> HalfwordRuns:
    """The runs of a patch; one where they follow on each other."""
    if len(patch.runs()) == 1:
        return HalfwordRuns(1, 1, patch.bytes, 0, 0)
    return HalfwordRuns(patch.rows * patch.taps, patch.taps, patch.run, patch.pitch, patch.step)


class Widening(NamedTuple):
    """The copy of one patch into the tile, from r12 to lr, which it leaves behind it, or to registers of the FPU.
    ``waits``: cycles that unaligned loads take more than the text says.
    """

    assembly: str
    source: Access
    tile: Access
    waits: float


@lru_cache(maxsize=1024)
def widening(
    patch: Patch, aligned: bool, apart: int, held: int | None = None, advance: int = 0, back: str = ""
) -> Widening:
    """The copy of a patch. ``aligned``: every run starts at a multiple of 4 and is whole words, else positions are
    ``apart`` bytes from each other. Its words go to the FPU's registers from ``held`` on, if there is a number. Where
    the patch begins, ``advance`` bytes further, is written to the address ``back``: behind the last loads, since no
    load may follow a store at once."""
    runs = runs_of(patch)
    step = math.gcd(4, apart, patch.pitch)
    words = [runs.offset(run) + at for run in range(runs.number) for at in range(0, runs.whole, 4)]
    rest = [runs.offset(run) + runs.whole + at for run in range(runs.number) for at in range(runs.rest)]
    copy, moved = _Copy(held), 0
    if aligned:
        # Of one run the pointer itself moves on.
        base, moved = ("r12", runs.size) if runs.number == 1 else ("r0", 0)
        for run in range(runs.number):
            copy.lines.append("" if base == "r12" else add_imm("r0", "r12", runs.offset(run), "r0"))
            for part in _parts(words[: runs.whole // 4]):
                copy.lines.append(_multiple("ldm", _DATA[: 2 * len(part) : 2], base))
                copy.keep(len(part), 0)
    else:
        parts = _parts(words)
        # Bytes that are left over come with the last words, if there are registers for them.
        joined = bool(parts) and 2 * len(parts[-1]) + len(rest) <= len(_DATA)
        for part in parts:
            also = rest if joined and part is parts[-1] else []
            copy.load(part, also)
            copy.keep(len(part), len(also))
        rest = [] if joined else rest
    for first in range(0, len(rest), len(_DATA)):
        some = rest[first : first + len(_DATA)]
        copy.load([], some)
        copy.keep(0, len(some))
    if back:
        copy.lines[copy.last : copy.last] = [add_imm("r12", "r12", advance - moved, "r0"), f"str r12, {back}"]
    waits = 0.0 if aligned else float(sum(unaligned(patch.start + place, step) for place in words))
    whole = runs.number * runs.whole // 4
    source = loads(whole, 4) + loads(runs.number * runs.rest, 1)
    tile = stores(runs.pairs if held is None else 0, 4)
    return Widening("\n".join(line for line in copy.lines if line), source, tile, waits)


def _parts(places: Sequence[int]) -> list[Sequence[int]]:
    """Words in groups of which each has registers, as even as can be."""
    count = -(-len(places) // (len(_DATA) // 2))
    return [places[len(places) * i // count : len(places) * (i + 1) // count] for i in range(count)]


class _Copy:
    """The text of a copy, group after group; ``held`` is the next register of the FPU, None if words go to memory.
    ``last``: the line after the loads of the last group.
    """

    def __init__(self, held: int | None) -> None:
        self.lines: list[str] = []
        self._base, self._held = _Base(self.lines), held
        self.last = 0

    def load(self, words: Sequence[int], rest: Sequence[int]) -> None:
        """Words into every other register, bytes into those behind."""
        for register, place in zip(_DATA[::2], words, strict=False):
            self._base.load("ldr", register, place)
        for register, place in zip(_DATA[2 * len(words) :], rest, strict=False):
            self._base.load("ldrsb", register, place)

    def keep(self, words: int, rest: int) -> None:
        """Their halfwords in the tile, or in the FPU."""
        self.last = len(self.lines)
        spread, single = _DATA[: 2 * words], _DATA[2 * words : 2 * words + rest]
        for low, high in zip(spread[::2], spread[1::2], strict=True):
            self.lines += [f"sxtb16 {high}, {low}, ror #8", f"sxtb16 {low}, {low}"]
        self.lines += [f"pkhbt {r}, {r}, {after}, lsl #16" for r, after in zip(single[::2], single[1::2], strict=False)]
        made = [*spread, *single[::2]]
        if self._held is None:
            self.lines.append(_multiple("stm", made, "lr"))
        else:
            self.lines += _to_fpu(made, self._held)
            self._held += len(made)


def _to_fpu(registers: Sequence[str], first: int) -> list[str]:
    """Moves of registers to s``first`` and its followers, two at a time."""
    lines = []
    for i in range(0, len(registers), 2):
        two = registers[i : i + 2]
        lines.append(f"vmov {', '.join([*(f's{first + i + k}' for k in range(len(two))), *two])}")
    return lines


def _multiple(name: str, registers: Sequence[str], base: str) -> str:
    """A multiple load or store, which there is not of one register."""
    if len(registers) == 1:
        return f"{name[:2]}r {registers[0]}, [{base}], #4"
    return f"{name}ia {base}!, {{{', '.join(registers)}}}"


class _Base:
    """The register that a copy's single loads address from: r12, or r0 where that does not reach."""

    def __init__(self, lines: list[str]) -> None:
        self._lines, self._register, self._at = lines, "r12", 0

    def load(self, name: str, register: str, place: int) -> None:
        """A load from so many bytes behind r12."""
        if not 0 <= place - self._at <= REACH:
            self._register, self._at = ("r12", 0) if place <= REACH else ("r0", place)
            if place > REACH:
                self._lines.append(add_imm("r0", "r12", place, "r0"))
        self._lines.append(f"{name} {register}, [{self._register}, #{place - self._at}]")
