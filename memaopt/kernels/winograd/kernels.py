"""The kernels of Winograd's F(4x4,3x3): of the input, of the products, of the output; two tiles at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

#: Registers of an FPU: channels of which two tiles' V fit there.
FPU = 32


class _Kernel:
    """What the three share: a template, filled with the kernel's ``values``."""

    template: ClassVar[str]
    constants: ClassVar[tuple[Constants, ...]] = ()

    @property
    def name(self) -> str:
        raise NotImplementedError

    def call(self) -> Call:
        raise NotImplementedError

    def values(self) -> dict[str, object]:
        """What the template is told."""
        raise NotImplementedError

    @property
    def cycles(self) -> int:
        """One call."""
        return round(cycles_of((self.call(),)))

    @property
    def code_bytes(self) -> int:
        return 4 * words_of(self.call())

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(self.template, name=self.name, attribute=attribute, **self.values())


@dataclass(frozen=True)
class InputKernel(_Kernel):
    """V of two tiles of ``depth`` channels, from rows ``pitch`` bytes apart. ``looped``: rows and columns are loops,
    which fit an instruction cache of 1 KiB.
    """

    depth: int
    pitch: int
    looped: bool

    template = "kernels/winograd/winograd_input.c.j2"

    @property
    def name(self) -> str:
        return f"winograd_input_c{self.depth}_p{self.pitch}{'_looped' if self.looped else ''}"

    @property
    def _far(self) -> list[int]:
        """The rows of a tile that its pointer does not reach."""
        return [i for i in range(6) if i * self.pitch + 5 * self.depth > REACH]

    @property
    def accesses(self) -> tuple[Access, Access]:
        """The strip, and V, of one call."""
        groups = 2 * self.depth // 4
        return loads(36 * groups, 4), stores(72 * groups, 4)

    @property
    def stack(self) -> Access:
        """Of one call: for four channels of a tile 72 words between the passes, and where the kernel is."""
        rows = (1 + 1 + 18, 2 + 12) if self.looped else (6, 0)  # loads, stores of pointers
        four = loads(72 + 3 + rows[0], 4) + stores(72 + 3 + rows[1], 4)
        tile = loads(1, 4) + stores(3, 4) + four.times(self.depth // 4)
        return saved(9) + stores(3, 4) + tile.times(2)

    def call(self) -> Call:
        """A call: two tiles, groups of four channels; rows without and with the offset, columns."""
        return Call(self, (2, self.depth / 4, 4, 2, 6) if self.looped else (2, self.depth / 4))

    def values(self) -> dict[str, object]:
        sizes = {"depth": self.depth, "pitch": self.pitch, "far": self._far, "looped": self.looped}
        return {**sizes, "rows": list(_rows()), "columns": list(_columns())}


def _rows() -> Iterator[tuple[list[str], list[str], str, str]]:
    """Registers of a row's words, of the values that one half of their bytes are, and two temporaries: the next row's
    words take those of the values."""
    raw, others = [f"r{i}" for i in range(6)], [*(f"r{i}" for i in range(6, 13)), "lr"]
    for _ in range(6):
        yield raw, others[:6], others[6], others[7]
        raw, others = others[2:], [*raw, *others[:2]]


def _columns() -> Iterator[tuple[list[str], str, str]]:
    """Registers of a column's values and two temporaries; the next column's are those that no result is in."""
    values, others = [f"r{i}" for i in range(6)], ["r6", "r7", "r10", "r11", "r12", "lr"]
    for _ in range(12):
        t, u, *left = others
        yield values, t, u
        values, others = [*values[3:5], *left], [*values[:3], t, u, values[5]]


@dataclass(frozen=True)
class ProductKernel(_Kernel):
    """M of ``chunk`` output channels and two tiles, ``turn`` in a turn of the loop, from ``depth`` channels of V.

    ``holds``: both tiles' V of a place are held in the FPU, so that the loads are those of U: 15 cycles for eight
    products, not 16; and where products go, if a register of it is left.
    """

    depth: int
    chunk: int
    turn: int
    holds: bool = False

    template = "kernels/winograd/winograd_product.c.j2"

    @property
    def name(self) -> str:
        return f"winograd_product_c{self.depth}_to_{self.chunk}_by_{self.turn}{'_held' if self.holds else ''}"

    @property
    def saved(self) -> int:
        """Registers of the FPU that it saves, those from s16 on."""
        return (max(self.depth + self.kept - 16, 0) + 1) // 2 * 2 if self.holds else 0

    @property
    def kept(self) -> bool:
        """Whether where the products go is in the FPU too."""
        return self.holds and self.depth < FPU

    @property
    def accesses(self) -> tuple[Access, Access, Access]:
        """V, U and M of one call."""
        steps = 36 * (self.chunk // 4) * (self.depth // 2)
        return (
            loads(36 * self.depth if self.holds else 2 * steps, 4),
            loads(4 * steps, 4),
            stores(36 * 2 * self.chunk, 4),
        )

    @property
    def stack(self) -> Access:
        """Of one call: where the products go, and what is left to do."""
        turns, several = self.chunk // self.turn, self.chunk > self.turn
        place = loads(turns + several, 4) + stores(1 + several, 4) + saved(int(self.holds))  # where V is
        if not self.kept:
            place += loads(turns * self.turn // 4 + several, 4) + stores(1 + several * turns, 4)
        return saved(9 + self.saved) + stores(1 + self.holds + (not self.kept), 4) + place.times(36)

    #: U, once through.
    constants = (Constants("lr", "r1"),)

    def call(self) -> Call:
        """A call: the places, and turns of the loop where there are several."""
        several = (self.chunk / self.turn,) if self.chunk > self.turn else ()
        return Call(self, (36, *several))

    def values(self) -> dict[str, object]:
        sizes = {"depth": self.depth, "chunk": self.chunk, "turn": self.turn}
        return {**sizes, "holds": self.holds, "saved": self.saved, "kept": self.kept}


@dataclass(frozen=True)
class OutputKernel(_Kernel):
    """``chunk`` of ``outputs`` channels of 4x8 positions, from M; rows of outputs are ``out_pitch`` bytes apart.

    ``holds``: straight code that holds what lies between the passes in the FPU, so that it is no group of loads.
    """

    chunk: int
    outputs: int
    out_pitch: int
    output: Output
    looped: bool
    holds: bool = False

    template = "kernels/winograd/winograd_output.c.j2"

    @property
    def name(self) -> str:
        form = "_looped" * self.looped + "_held" * self.holds
        return f"winograd_output_{self.chunk}_of_{self.outputs}_p{self.out_pitch}_{self.output.slug}{form}"

    @property
    def words(self) -> int:
        """Parameters of a channel: bias, output stage, four corrections."""
        return 1 + self.output.words + 4

    @property
    def accesses(self) -> tuple[Access, Access, Access]:
        """M, output and parameters of one call."""
        return loads(72 * self.chunk, 4), stores(32 * self.chunk, 1), loads(2 * self.chunk * self.words, 4)

    @property
    def stack(self) -> Access:
        """Of one call: for a channel 24 words between the passes, and where the kernel is."""
        between = 0 if self.holds else 24 + 2 * self.looped
        channel = loads(between + 3, 4) + stores(between + 2, 4)
        tile = loads(3, 4) + stores(3, 4) + channel.times(self.chunk)
        return saved(9 + (8 if self.holds else 0)) + stores(4, 4) + tile.times(2)

    #: The parameters, from the start for each tile.
    constants = (Constants("r12", "[sp, #8]"),)

    def call(self) -> Call:
        """A call: two tiles, channels; columns, rows without and with corrections."""
        return Call(self, (2, self.chunk, 4, 2, 2) if self.looped else (2, self.chunk))

    def values(self) -> dict[str, object]:
        sizes = {"chunk": self.chunk, "outputs": self.outputs, "out_pitch": self.out_pitch, "looped": self.looped}
        return {**sizes, "q": self.output, "holds": self.holds, "frame": 20 if self.holds else 124}
