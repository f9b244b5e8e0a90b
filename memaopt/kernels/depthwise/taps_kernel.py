"""The depthwise kernel for any window over planes: its sizes, cost and text.

Rows of a column meet its outputs in pairs of a kernel row and an output; with as many words of weights in registers as
leave room for some words of rows, each of these is loaded once for all its pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.depthwise.kernels import Geometry
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

MOST = 6  # rows of outputs at a time: then there are registers for the output stage
_TILE, _OUTPUT = 28, 4  # cycles of a tile and of its outputs besides products, for choosing how many they are


class Met(NamedTuple):
    """A row's word in ``register``, and the outputs that it feeds, each with a register of weights."""

    register: str
    row: int
    pairs: tuple[tuple[int, str], ...]


class Chunk(NamedTuple):
    """Kernel rows whose weights are in registers at a time, and the rows of the image, in groups that are loaded."""

    weights: tuple[tuple[str, int], ...]
    groups: tuple[tuple[Met, ...], ...]

    @property
    def cycles(self) -> int:
        """A group of loads takes a cycle more than there are."""
        met = sum(self.groups, ())
        return len(self.weights) + len(met) + len(self.groups) + sum(len(each.pairs) for each in met)


def registers(t: int) -> list[str]:
    """For weights and rows beside the accumulators of ``t`` outputs."""
    return [*(f"r{i}" for i in range(t, 10)), "r11", "r12"]


@lru_cache(maxsize=256)
def chunks_of(t: int, rows: int, stride: int, dilation: int) -> tuple[Chunk, ...]:
    """The fewest cycles for a word of each of so many kernel rows, split evenly."""
    pool = registers(t)
    made = []
    for count in range(-(-rows // (len(pool) - 1)), rows + 1):
        ends = [rows * i // count for i in range(count + 1)]
        made.append(tuple(_chunk(t, range(*part), stride, dilation, pool) for part in pairwise(ends)))
    return min(made, key=lambda chunks: sum(chunk.cycles for chunk in chunks))


def _chunk(t: int, kernel_rows: range, stride: int, dilation: int, pool: Sequence[str]) -> Chunk:
    weights = dict(zip(kernel_rows, pool, strict=False))
    free = pool[len(weights) :]
    fed: dict[int, list[tuple[int, str]]] = {}
    for i in range(t):
        for ky, register in weights.items():
            fed.setdefault(i * stride + ky * dilation, []).append((i, register))
    met = [Met(free[number % len(free)], row, tuple(fed[row])) for number, row in enumerate(sorted(fed))]
    groups = tuple(tuple(met[at : at + len(free)]) for at in range(0, len(met), len(free)))
    return Chunk(tuple((register, ky) for ky, register in weights.items()), groups)


def rows_at_once(most: int, band: int, rows: int, words: int, stride: int, dilation: int) -> int:
    """How many rows of outputs make the fewest cycles of a column of ``band``."""

    def cycles(t: int) -> int:
        products = words * sum(chunk.cycles for chunk in chunks_of(t, rows, stride, dilation))
        return -(-band // t) * (_TILE + _OUTPUT * t + products)

    return min(range(1, most + 1), key=cycles)


@dataclass(frozen=True)
class TapsKernel:
    """Any window over planes with their rows of zeros, ``t`` rows of outputs of a column at a time."""

    geometry: Geometry
    t: int
    rows: int
    words_a_row: int
    stride: int
    dilation: int
    out_pitch: int
    output: Output

    @property
    def name(self) -> str:
        return short_name("depthwise_taps", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        g = self.geometry
        columns = ", ".join(f"{s.columns} {'odd' if s.odd else 'even'} columns" for s in g.sets)
        if g.segments[0].apart > 1:
            columns += "".join(f" from {s.x} to {s.y}" for s in g.sets)
        return (
            f"{self.rows}x{2 * self.words_a_row} taps, dilation {self.dilation}, stride {self.stride}"
            f"x{g.sets[0].x_step // 2}, bands of {g.band}, rows {g.plane.pitch} bytes apart, {columns}, outputs "
            f"{self.t} at once, {self.out_pitch} and {g.sets[0].y_step} bytes apart, rounding {self.output.slug}"
        )

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """How a word of each kernel row meets the rows of a tile."""
        return chunks_of(self.t, self.rows, self.stride, self.dilation)

    @property
    def tiles(self) -> int:
        """Tiles of a column."""
        return -(-self.geometry.band // self.t)

    @property
    def far(self) -> bool:
        """Whether outputs of a tile lie too far apart for offsets from one pointer."""
        return (self.t - 1) * self.out_pitch > REACH

    @property
    def overlap(self) -> int:
        """Rows that the last tile computes again."""
        return self.tiles * self.t - self.geometry.band

    @property
    def words(self) -> int:
        """Parameters of a channel: initial accumulator, output stage, weights for each set of columns."""
        return 1 + self.output.words + len(self.geometry.sets) * self.rows * self.words_a_row

    def cycles(self, channels: int) -> float:
        """One call."""
        one, two = cycles_of((self.call(1),)), cycles_of((self.call(2),))
        return one + (channels - 1) * (two - one)

    #: The parameters of a channel, from the start for each tile.
    constants = (Constants("lr", "[sp, #8]"),)

    def call(self, channels: float) -> Call:
        """A call for so many channels."""
        tiles = (float(self.tiles),) if self.tiles > 1 else ()
        columns = [trips for s in self.geometry.sets for trips in (float(s.columns), *tiles)]
        return Call(self, (channels, *columns), (float(self.words), *(0.0,) * len(columns)))

    @cached_property
    def code_bytes(self) -> int:
        return 4 * words_of(self.call(1))

    def accesses(self, channels: int) -> tuple[Access, Access, Access]:
        """Planes, output and parameters of one call."""
        tiles = sum(s.columns for s in self.geometry.sets) * channels * self.tiles
        taps = self.rows * self.words_a_row
        met = self.words_a_row * sum(len(group) for chunk in self.chunks for group in chunk.groups)
        return (
            loads(met * tiles, 4),
            stores(self.t * tiles, 1),
            loads((1 + taps + self.output.words) * tiles, 4),
        )

    def stack(self, channels: int) -> Access:
        """Of one call: its arguments lie there, what is left to do and the columns left."""
        sets, columns = len(self.geometry.sets), sum(s.columns for s in self.geometry.sets)
        several = self.tiles > 1
        channel = loads(2 * sets + columns + 5, 4) + stores(2 * sets + (2 + several) * columns + 4, 4)
        channel += loads((2 + several) * self.tiles * columns, 4) + stores(2 * several * self.tiles * columns, 4)
        return saved(9) + loads(1, 4) + stores(5, 4) + channel.times(channels)

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/depthwise/depthwise_taps.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"Depthwise, {self.rows} x {self.words_a_row} words of taps, {self.t} outputs of a column at once.",
            comment=[
                "Parameters of a channel: initial accumulator, output stage, then weights (times 256) in pairs, as",
                "columns that start a word need them and, shifted by one, as the others do.",
                f"Its number stands for: {self.details}.",
            ],
            t=self.t,
            rows=self.rows,
            words=self.words_a_row,
            chunks=self.chunks,
            pool=registers(self.t),
            stride=self.stride,
            dilation=self.dilation,
            out_pitch=self.out_pitch,
            plane=self.geometry.plane,
            sets=self.geometry.sets,
            tiles=self.tiles,
            overlap=self.overlap,
            outputs=self.geometry.band,
            far=self.far,
            q=self.output,
        )
