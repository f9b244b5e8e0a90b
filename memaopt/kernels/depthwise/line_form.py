"""What the kernel of five taps in a line is made of: the ways in which a line goes, registers, straight code."""

from enum import StrEnum
from typing import NamedTuple

from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.thumb import REACH


class LineForm(StrEnum):
    """How a line goes: each pair of neighbours is made; every other one, for two outputs by weights of either place;
    or every other one, which is what an output in two needs."""

    EACH = "each"
    TWO = "two"
    STRIDED = "strided"

    @property
    def weights(self) -> int:
        """Words of weights: (0, 1), (2, 3) and (4, none), or (0, 1), (2, 3), (1, 2) and (3, 4)."""
        return 4 if self is LineForm.TWO else 3

    @property
    def pool(self) -> int:
        """Registers of pairs."""
        return 5 if self is LineForm.EACH else 3

    @property
    def period(self) -> int:
        """Outputs after which the registers are the same."""
        return {LineForm.EACH: 5, LineForm.TWO: 6, LineForm.STRIDED: 3}[self]

    @property
    def comment(self) -> list[str]:
        """For the head of the kernel."""
        return _COMMENTS[self]


_COMMENTS = {
    LineForm.EACH: [
        "Two neighbouring inputs are a word, each one of two words: an output is two of them and an input alone.",
        "Parameters of a channel: weights (times 256) 0 and 1, 2 and 3, 4 and minus what negative accumulators add to",
        "the addend; multiplier, addend, initial accumulator.",
    ],
    LineForm.TWO: [
        "Two inputs are a word, which two outputs share: of one they are weights 0 and 1, 2 and 3, 4, of the next 0, 1",
        "and 2, 3 and 4. Parameters of a channel: weights (times 256) 0 and 1, 2 and 3, 1 and 2, 3 and 4, multiplier,",
        "an addend if there is one, initial accumulator.",
    ],
    LineForm.STRIDED: [
        "Two inputs are a word; an output is two of them and an input alone. Parameters of a channel: weights (times",
        "256) 0 and 1, 2 and 3, 4 and minus what negative accumulators add to the addend; multiplier, an addend if",
        "there is one, initial accumulator.",
    ],
}


class LineRegisters(NamedTuple):
    """Weights, multiplier, addend (if any), initial accumulator, accumulator, words of inputs, a free one (if any)."""

    weights: list[str]
    m: str
    c: str
    start: str
    acc: str
    pool: list[str]
    free: str


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
