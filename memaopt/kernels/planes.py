"""Planes: channels of an image apart, as int16 values x - zero point with zeros around them, for depthwise kernels.

A plane's rows are ``pitch`` bytes apart and start ``left`` (even) columns before the image, so that columns 0 and 1,
2 and 3, ... share words. Planes of a group of channels follow each other, ``bytes`` apart, in scratch memory.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import words_of
from memaopt.kernels.plan import Format
from memaopt.kernels.text.assembly import add_imm, load_imm
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH


class Plane(NamedTuple):
    """``rows`` of ``pitch`` bytes, of which ``above`` come before the image's first row."""

    rows: int
    pitch: int
    left: int
    above: int

    @property
    def bytes(self) -> int:
        return self.rows * self.pitch


class _Cycles(NamedTuple):
    """Of gathering so many channels at once, instruction by instruction (docs/timing.md)."""

    pack: int  # two columns repacked
    call: int = 26  # nine registers pushed and popped, planes and constants set up
    row: int = 3  # counted, and back
    plane: int = 1  # moves on; a store into it
    pair: int = 2 + 1  # two words
    waits: int = 1  # a load right after a store
    turn: int = 3  # counted, and back
    odd: int = 4  # one word, the input moves on, no second column


_CYCLES = {4: _Cycles(6), 2: _Cycles(3), 1: _Cycles(2)}


@dataclass(frozen=True)
class PlaneGather:
    """The kernel that fills the planes of ``channels`` (1, 2 or 4) neighbouring channels from NHWC bytes: of ``width``
    columns of the image's ``image`` (0: that are all) which are ``apart`` columns from each other."""

    channels: int
    depth: int
    width: int
    zero_point: int
    plane: Plane
    input_format: Format = Format.S8
    apart: int = 1
    image: int = 0

    @property
    def column(self) -> int:
        """Bytes of the image from a column to the next one."""
        return self.apart * self.depth

    @property
    def left_over(self) -> int:
        """Bytes of the image from behind a row's last column to the next row's first."""
        return (self.image - self.width * self.apart) * self.depth if self.image else 0

    @property
    def name(self) -> str:
        raw = "_raw" if self.input_format is Format.RAW else ""
        zero = f"{self.zero_point}".replace("-", "m")
        plane = f"{self.plane.rows}x{self.plane.pitch // 2}"
        planes = f"z{zero}_to_{plane}_{self.plane.left}"
        return f"gather_{self.channels}_of_{self.depth}_w{self.width}_{planes}{raw}{self._columns}"

    @property
    def _columns(self) -> str:
        """For the name, where columns are left out."""
        return f"_by_{self.apart}_of_{self.image}" if self.image else ""

    @property
    def _moved(self) -> int:
        """Instructions that move the input to the next row."""
        return len(add_imm("r0", "r0", self.left_over, "r12").splitlines())

    @property
    def _alone(self) -> int:
        """Instructions that move the input by the last column, where their number is odd."""
        return self.width % 2 * len(add_imm("r0", "r0", self.column, "r12").splitlines())

    @property
    def ahead(self) -> bool:
        """Whether two columns are loaded before those before them are stored, in registers that bytes stored as value +
        128 have a constant in."""
        return self.input_format is not Format.RAW and self.unroll > 1

    def pair(self, number: int) -> tuple[str, str]:
        """Registers of two columns, the ``number``-th of a turn."""
        return ("r8", "r12") if self.ahead and number % 2 else ("r6", "r7")

    @property
    def _near(self) -> bool:
        """Whether offsets reach all columns of a turn."""
        return (2 * self.unroll - 1) * self.column <= REACH

    def place(self, column: int) -> int:
        """Where the input has a column of a turn."""
        return (column if self._near else column % 2) * self.column

    def moves_on(self, number: int) -> int:
        """Bytes that the input moves on after the ``number``-th two columns of a turn."""
        if not self._near:
            return 2 * self.column
        return 2 * self.unroll * self.column if number == self.unroll - 1 else 0

    @property
    def _moves(self) -> int:
        """Instructions that move it on in a turn."""
        moves = [self.moves_on(number) for number in range(self.unroll)]
        return sum(len(add_imm("r0", "r0", move, "").splitlines()) for move in moves if move)

    @property
    def _constants(self) -> int:
        """Instructions that load the second constant, which bytes stored as value + 128 need."""
        if self.input_format is not Format.RAW:
            return 0
        return len(load_imm("r8", (-self.zero_point - 128) % 65536 * 65537).splitlines())

    @property
    def unroll(self) -> int:
        """Pairs of columns in a turn of the loop."""
        pairs = self.width // 2
        return next((u for u in (4, 3, 2, 5, 7) if pairs % u == 0 and pairs), 1)

    def cycles(self, rows: int) -> int:
        """One call for ``rows`` rows."""
        pairs, odd = divmod(self.width, 2)
        c, stored = _CYCLES[self.channels], self.channels * _CYCLES[self.channels].plane
        waits = 0 if self.ahead else (self.unroll - 1) * c.waits
        row = pairs // self.unroll * (self.unroll * (c.pair + c.pack + stored) + waits + self._moves + c.turn)
        row += odd * (c.odd - 1 + c.pack + stored) + self._alone + c.row + stored + self._moved
        return c.call + self._constants + rows * row

    @property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * words_of(self.call(1))

    def accesses(self, rows: int) -> tuple[Access, Access]:
        """Of the input and of the planes, for one call."""
        words = -(-self.width // 2)
        odd = self.width % 2
        planes = stores((words - odd) * self.channels, 4) + stores(odd * self.channels, 2)
        return loads(self.width * rows, self.channels), planes.times(rows)

    constants: ClassVar[tuple[Constants, ...]] = ()

    def call(self, rows: float) -> Call:
        """A call for so many rows."""
        turns = (float(self.width // 2 // self.unroll),) if self.width > 1 else ()
        return Call(self, (rows, *turns))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/gather_planes.c.j2",
            name=self.name,
            attribute=attribute,
            g=self,
            plane=self.plane,
            pairs=self.width // 2,
            raw=self.input_format is Format.RAW,
            skip=self.plane.pitch - 2 * (self.width + self.width % 2),
        )


def groups(channels: int, most: int) -> list[tuple[int, int]]:
    """(group size, number of groups): as many groups of ``most`` channels as there are, then smaller ones."""
    split = []
    for size in (4, 2, 1):
        if size <= most and channels >= size:
            split.append((size, channels // size))
            channels %= size
    return split
