"""What the kernel of taps in a line is made of: the ways in which a line goes, registers, straight code."""

import math
from enum import StrEnum
from typing import NamedTuple

from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.thumb import REACH

#: Taps of a line: as many as registers hold.
LEAST_TAPS, MOST_TAPS = 3, 5
#: The tap of half a word that is no weight.
NONE = -1


class LineForm(StrEnum):
    """How a line goes: each pair of neighbours is made; every other one, for two outputs by weights of either place;
    or every other one, which is what an output in two needs."""

    EACH = "each"
    TWO = "two"
    STRIDED = "strided"

    def pairs(self, taps: int) -> list[tuple[int, int]]:
        """Weights by words: two taps each, or one and ``NONE``."""
        even, odd = [(k, k + 1) for k in range(0, taps - 1, 2)], [(k, k + 1) for k in range(1, taps, 2)]
        return [*even, *odd] if self is LineForm.TWO else [*even, (taps - 1, NONE)]

    def ahead(self, taps: int) -> int:
        """Words of inputs that are loaded at once: two where registers allow."""
        return 2 if taps < MOST_TAPS else 1

    def pool(self, taps: int) -> int:
        """Registers of pairs: what an output or two need, and what is loaded with it."""
        return taps if self is LineForm.EACH else taps // 2 + self.ahead(taps)

    def outputs(self, taps: int) -> int:
        """Outputs from one time of loading to the next."""
        return self.ahead(taps) * (2 if self is LineForm.TWO else 1)

    def period(self, taps: int) -> int:
        """Outputs after which the registers are the same."""
        return self.pool(taps) // math.gcd(self.pool(taps), self.ahead(taps)) * self.outputs(taps)

    @property
    def comment(self) -> str:
        """For the head of the kernel."""
        return _COMMENTS[self]


_COMMENTS = {
    LineForm.EACH: "Two neighbouring inputs are a word, each one of two words.",
    LineForm.TWO: "Two inputs are a word, which two outputs share, by weights of either place.",
    LineForm.STRIDED: "Two inputs are a word.",
}


def way_of(taps: int, stride: int, output: Output) -> LineForm:
    """Five taps leave no register for two outputs' weights and what negative accumulators add."""
    if stride > 1:
        return LineForm.STRIDED
    return LineForm.EACH if output.by_sign and taps == MOST_TAPS else LineForm.TWO


class LineRegisters(NamedTuple):
    """Weights, multiplier, addend (if any), initial accumulator, accumulator, words of inputs, and free ones, for
    inputs that become half of such a word."""

    weights: list[str]
    m: str
    c: str
    start: str
    acc: str
    pool: list[str]
    free: list[str]


class LinePointer:
    """A register that addresses bytes at ``base`` of a line, and moves on where an offset does not reach."""

    def __init__(self, register: str, lines: list[str]) -> None:
        self.register, self.base, self._lines = register, 0, lines

    def reach(self, place: int) -> None:
        """Move on, if need be."""
        if not 0 <= place - self.base <= REACH:
            self.move(place - self.base)

    def move(self, by: int) -> None:
        if by:
            self._lines.append(add_imm(self.register, self.register, by, ""))
        self.base += by

    def at(self, place: int) -> str:
        self.reach(place)
        return f"[{self.register}, #{place - self.base}]"


class LineRun(NamedTuple):
    """Straight code, and how many inputs it loads."""

    lines: tuple[str, ...]
    loads: int


class LineCode(NamedTuple):
    """A phase's code: straight, ``turns`` of a loop which ends ``length`` bytes of input later, straight; pointers move
    on by the totals in all."""

    before: LineRun
    turn: LineRun
    turns: int
    length: int
    after: LineRun
    x_total: int
    y_total: int

    @property
    def loads(self) -> int:
        """Inputs, as executed."""
        return self.before.loads + self.turns * self.turn.loads + self.after.loads
