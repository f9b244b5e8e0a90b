"""The planes that depthwise kernels read, and the walk over them: sizes, cost and text; see depthwise.py."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.depthwise.descent import Column, Step, Walk, walk_of
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.packing import TapPacking
from memaopt.kernels.plan import saved
from memaopt.kernels.planes import Plane
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm, load_imm, numberless
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.problems.layers import Depthwise


class ColumnSet(NamedTuple):
    """Columns whose first tap is at equal places of their words: bytes of plane and output, and their steps."""

    odd: bool
    columns: int
    x: int
    y: int
    x_step: int
    y_step: int


class ColumnSegment(NamedTuple):
    """Part of a plane's row: every ``apart``-th column of the image from the column ``first`` on, ``width`` of them,
    from the plane's column ``at`` on. ``image``: its columns, if a row of planes is none of its rows."""

    first: int
    width: int
    at: int
    apart: int
    image: int = 0


class Geometry(NamedTuple):
    """Planes of ``band`` rows of outputs (all of them if it equals their number), their columns, and what of the image
    is where in a row."""

    plane: Plane
    sets: tuple[ColumnSet, ...]
    band: int
    segments: tuple[ColumnSegment, ...]


def geometry(layer: Depthwise, band: int, zero_rows: bool, phased: bool = False) -> Geometry:
    """``band`` rows of outputs at a time; without ``zero_rows`` (and with one band) planes hold the image alone.

    ``phased``: columns as far apart as the taps of a dilated window are neighbours, so that no word has a hole. Where
    output o reads the columns s o + d k, those that read the same ones are d / gcd(s, d) apart, and columns that no
    output reads are nowhere.
    """
    window, output = layer.window, layer.output
    apart, stride = window.dilation.width if phased else 1, window.stride.width
    span = window.kernel.width if phased else window.extent.width
    count = apart // math.gcd(apart, stride)
    step, at = stride * count // apart, 0
    sets, segments = list[ColumnSet](), list[ColumnSegment]()
    for phase in range(min(count, output.width)):
        start = phase * stride - window.padding.left
        first, before = start % apart, -(start // apart)
        left, width = align(max(before, 0), 2), max(-(-(layer.shape.width - first) // apart), 0)
        begin, outputs = left - before, -(-(output.width - phase) // count)
        for number in range(1 if step % 2 == 0 else 2):
            columns = outputs if step % 2 == 0 else (outputs - number + 1) // 2
            tap, skip = begin + number * step, 1 if step % 2 == 0 else 2
            if columns:
                y = (phase + number * count) * output.channels
                steps = 2 * step * skip, skip * count * output.channels
                sets.append(ColumnSet(tap % 2 == 1, columns, 2 * at + tap // 2 * 4, y, *steps))
        segments.append(ColumnSegment(first, width, at + left, apart))
        # Whole words: an odd column's taps start in the middle of one.
        at += max(align(begin + (outputs - 1) * step + span + 1, 2), align(left + width, 2))
    rows = (band - 1) * window.stride.height + window.extent.height if zero_rows else layer.shape.height
    return Geometry(Plane(rows, 2 * at, segments[0].at, 0), tuple(sets), band if zero_rows else 0, tuple(segments))


class _WalkCycles(NamedTuple):
    """Of the walk's parts, instruction by instruction (docs/timing.md)."""

    call: int = 32  # nine registers pushed and popped, SP moved twice, five words kept
    channel: int = 13  # its words are loaded, moved on, kept
    columns: int = 15  # of a set: where it reads and writes, and its weights
    column: int = 5  # the pointers move on, counted, and back
    looped: int = 1 + 5  # turns set; and the columns left are kept in memory
    turn: int = 3  # counted, and back
    step: int = 3  # a row's two words
    tap: int = 2  # two products
    byte: int = 1  # stored, beside its output stage


_WALK = _WalkCycles()


@dataclass(frozen=True)
class WalkKernel:
    """3x3 over planes; the columns' code is straight, or has a loop of ``unroll`` outputs.

    ``paired``: straight code for two columns two halfwords apart that shares a word of each row, three loads for both.
    """

    geometry: Geometry
    column: Column
    unroll: int
    output: Output
    paired: bool = False

    @property
    def name(self) -> str:
        return short_name("depthwise_walk", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        c, g = self.column, self.geometry
        loop = f", {self.unroll} outputs a turn" if self.walk.turns else ", two columns at once" if self.paired else ""
        columns = ", ".join(f"{s.columns} {'odd' if s.odd else 'even'} columns" for s in g.sets)
        return (
            f"{c.outputs} outputs of {c.rows} rows {c.pitch} bytes apart, {c.above} above, stride {c.stride}, "
            f"{columns}, outputs {c.out_pitch} and {g.sets[0].y_step} bytes apart, rounding {self.output.slug}{loop}"
        )

    @cached_property
    def walk(self) -> Walk:
        walk = walk_of(self.column, self.unroll)
        assert walk is not None
        return walk

    @property
    def form(self) -> Hashable:
        """What decides which instructions there are: where all lies does by immediates alone."""
        walk, several = self.walk, self._at_once
        sets = []
        for s in self.geometry.sets:
            x, y = several * s.x_step - walk.x_total, several * s.y_step - walk.y_total
            moves = [load_imm("lr", s.columns // several), add_imm("r1", "r1", s.y, "r12")]
            moves += [add_imm("r0", "r0", x, "r11"), add_imm("r1", "r1", y, "r11")]
            sets.append((s.odd, bool(s.x), numberless("\n".join(moves))))
        turns = numberless(load_imm("lr", walk.turns)) if walk.turns else ""
        return tuple(sets), walk.form, turns, replace(self.output, shift=0), self.paired

    words_first = 7
    words_next = 5
    #: The parameters: a channel's follow on those of the one before it.
    constants = (Constants("r12", "[sp, #8]", rewinds=False),)

    def call(self, channels: float) -> Call:
        """A call for so many channels."""
        turns = (float(self.walk.turns),) if self.walk.turns else ()
        columns = [trips for s in self.geometry.sets for trips in (s.columns / self._at_once, *turns)]
        return Call(self, (channels, *columns))

    @property
    def _at_once(self) -> int:
        """Columns."""
        return 2 if self.paired else 1

    @property
    def words(self) -> int:
        """Parameters of a channel."""
        return self.words_first + self.words_next * (len(self.geometry.sets) - 1)

    def packing(self, channels: int) -> TapPacking:
        """How the parameters of so many channels may be packed."""
        sets = self.geometry.sets
        return TapPacking(channels, int(sets[0].odd), len(sets))

    def _step_cycles(self, step: Step) -> int:
        done = sum(tap.y is not None for tap in step.taps)
        early = _instructions(step.x_advance) if step.early else 0
        moves = _instructions(step.x_advance) - early + (step.y_advance > 0)
        moves += sum(_instructions(tap.y_advance) for tap in step.taps)
        # A load right after the last store waits a cycle and is not pipelined; so does one after its pointer moved.
        late = step.x_advance and not step.early and not step.y_advance
        after = 1 if step.taps[-1].y is not None and not moves else 1 if late else 0
        made = done * (self.output.cycles + _WALK.byte)
        return _WALK.step + _WALK.tap * len(step.taps) + made + early + moves + after

    @cached_property
    def _column_cycles(self) -> int:
        walk = self.walk
        straight = sum(map(self._step_cycles, walk.before)) + sum(map(self._step_cycles, walk.after))
        turn = sum(map(self._step_cycles, walk.turn)) + _WALK.turn
        return straight + (walk.turns * turn + _WALK.looped if walk.turns else 0) + _WALK.column

    def cycles(self, channels: int) -> int:
        """One call."""
        if self.paired:
            return round(cycles_of((self.call(channels),)))
        columns = sum(s.columns * self._column_cycles + _WALK.columns for s in self.geometry.sets)
        return _WALK.call + channels * (columns + _WALK.channel)

    @cached_property
    def code_bytes(self) -> int:
        return 4 * words_of(self.call(1))

    def accesses(self, channels: int) -> tuple[Access, Access, Access]:
        """Planes, output and parameters of one call."""
        columns = sum(s.columns for s in self.geometry.sets) * channels
        return (
            loads((1 + self._at_once) * self.walk.rows * columns // self._at_once, 4),
            stores(self.column.outputs * columns, 1),
            loads(self.words * channels, 4),
        )

    def stack(self, channels: int) -> Access:
        """Of one call: its arguments lie there, what is left to do and, around a loop, the columns left."""
        sets, looped = len(self.geometry.sets), bool(self.walk.turns) or self.paired
        columns = looped * sum(s.columns for s in self.geometry.sets) // self._at_once
        channel = loads(3 * sets + columns + 5, 4) + stores((1 + looped) * sets + columns + 4, 4)
        return saved(9) + loads(1, 4) + stores(5, 4) + channel.times(channels)

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        c = self.column
        return render(
            "kernels/depthwise/depthwise_walk.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"Depthwise 3x3, stride {c.stride}: {c.outputs} rows of outputs, column by column.",
            comment=[
                "A row of a column costs two loads and two multiplies for each output that it feeds; nine weights"
                if not self.paired
                else "A row of two columns costs three loads and four multiplies for each two outputs; nine weights",
                "(times 256) are in registers. Parameters of a channel: pairs of weights, weights alone, multiplier,",
                "initial accumulator; then the weights as columns of the other parity need them.",
                f"Its number stands for: {self.details}.",
            ],
            walk=self.walk,
            paired=self.paired,
            at_once=self._at_once,
            sets=self.geometry.sets,
            plane=self.geometry.plane,
            q=self.output,
            outputs=c.outputs,
            stride=c.stride,
            above=c.above,
            out_pitch=c.out_pitch,
        )


@cache
def _instructions(advance: int) -> int:
    """Of moving a pointer on."""
    return len(add_imm("r1", "r1", advance, "").splitlines())
