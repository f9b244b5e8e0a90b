"""The depthwise kernel of three or five taps in a line: its steps, cost and text. See line.py for how it works."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.depthwise.direct_kernel import Phase
from memaopt.kernels.depthwise.line_form import NONE, LineCode, LineForm, LinePointer, LineRegisters, LineRun, way_of
from memaopt.kernels.executed import words_of
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render

_WEIGHTS = 2  # the first register of weights


class _Product(NamedTuple):
    """An instruction by a pair of the pool (its number) and a word of weights."""

    name: str
    pair: int
    weight: int


@dataclass(frozen=True)
class LineKernel:
    """Lines of ``taps`` taps over NHWC bytes, ``lines`` of them for a channel, whose input and output begin ``x_step``
    and ``y_step`` bytes apart; ``channel``: bytes of input to the next channel, 0 where all read the same one.

    ``unroll`` outputs in a turn of a loop, or 0. ``added``: the rounding has an addend; what negative accumulators add
    to it is the upper half of a word of weights.
    """

    taps: int
    phases: tuple[Phase, ...]
    lines: int
    x: int
    x_step: int
    y_step: int
    channel: int
    unroll: int
    zero_point: int
    output: Output
    added: bool

    @property
    def name(self) -> str:
        return short_name("depthwise_line", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        phases = ", ".join(
            f"{p.column.outputs} outputs of {p.column.rows} inputs, {p.column.above} before, from {p.x} to {p.y}"
            for p in self.phases
        )
        column = self.phases[0].column
        rounding = f"{self.output.slug}{' with an addend' if self.added else ''}"
        return (
            f"{self.taps} taps, stride {column.stride}, {phases}, inputs {column.pitch} and outputs "
            f"{column.out_pitch} bytes apart, {self.lines} lines {self.x_step} and {self.y_step} bytes apart from "
            f"{self.x}, channels {self.channel} apart, zero point {self.zero_point}, {self.unroll} outputs a turn, "
            f"rounding {rounding}"
        )

    @property
    def way(self) -> LineForm:
        return way_of(self.taps, self.phases[0].column.stride, self.output)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The taps in words of weights; that of a half without is what negative accumulators add, if anything."""
        pairs = self.way.pairs(self.taps)
        return [*pairs, (NONE, NONE)] if self.output.by_sign and NONE not in pairs[-1] else pairs

    @property
    def words(self) -> int:
        """Parameters of a channel: weights, multiplier, the addend if there is one, initial accumulator."""
        return len(self.pairs) + 2 + int(self.added)

    @property
    def registers(self) -> LineRegisters:
        names = iter([*(f"r{i}" for i in range(_WEIGHTS, 13)), "lr"])

        def take(count: int) -> list[str]:
            return [next(names) for _ in range(count)]

        weights, m, c, start, acc = take(len(self.pairs)), next(names), take(self.added), next(names), next(names)
        pool, free = take(self.way.pool(self.taps)), self.way is not LineForm.EACH
        return LineRegisters(weights, m, "".join(c), start, acc, pool, take(self.way.ahead(self.taps) if free else 0))

    @cached_property
    def code(self) -> tuple[LineCode, ...]:
        """That of each phase."""
        return tuple(_Writer(self, phase).line() for phase in self.phases)

    @property
    def moves(self) -> list[tuple[int, int]]:
        """What the pointers move on by before each phase; then to the next line."""
        x, y, made = 0, 0, list[tuple[int, int]]()
        for phase, line in zip(self.phases, self.code, strict=True):
            made.append((phase.x - x, phase.y - y))
            x, y = phase.x + line.x_total, phase.y + line.y_total
        return [*made, (self.x_step - x, self.y_step - y)]

    #: The parameters of a channel.
    constants = tuple(Constants(f"r{number}", "[sp, #8]") for number in range(6, 10))

    def call(self, channels: float) -> Call:
        """A call for so many channels."""
        trips = [float(self.lines)] if self.lines > 1 else []
        trips += [float(line.turns) for line in self.code if line.turns]
        return Call(self, (channels, *trips), (float(self.words), *(0.0,) * len(trips)))

    @cached_property
    def code_bytes(self) -> int:
        return 4 * words_of(self.call(1))

    @property
    def slots(self) -> int:
        """Bytes of the stack besides the registers pushed."""
        return 28 if any(line.turns for line in self.code) else 20

    def accesses(self, channels: int) -> tuple[Access, Access, Access, Access]:
        """Input, output, parameters and stack of one call."""
        outputs = sum(phase.column.outputs for phase in self.phases)
        turns = [line.turns for line in self.code if line.turns]
        several = int(self.lines > 1)
        channel = loads(7 + self.lines * (several + sum(turns)), 4) + stores(4 + several + self.lines * len(turns), 4)
        return (
            loads(sum(line.loads for line in self.code) * self.lines * channels, 1),
            stores(outputs * self.lines * channels, 1),
            loads(self.words * channels, 4),
            saved(9) + stores(4, 4) + channel.times(channels),
        )

    @property
    def _said(self) -> str:
        """What a channel's parameters are."""
        named = [" and ".join("by sign" if tap == NONE else str(tap) for tap in dict.fromkeys(p)) for p in self.pairs]
        return f"weights (times 256) {', '.join(named)}; multiplier, {'addend, ' * self.added}initial accumulator"

    @property
    def _places(self) -> list[tuple[int, int]]:
        """Of each tap, the first word that has it, and which half."""
        halves = {tap: (i, half) for i, pair in reversed(list(enumerate(self.pairs))) for half, tap in enumerate(pair)}
        return [halves[tap] for tap in range(self.taps)]

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        column = self.phases[0].column
        return render(
            "kernels/depthwise/depthwise_line.c.j2",
            name=self.name,
            attribute=attribute,
            comment=[self.way.comment, f"Parameters of a channel: {self._said}."],
            details=self.details,
            registers=self.registers,
            pairs=self.pairs,
            places=self._places,
            phases=list(zip(self.moves, self.code, self.phases, strict=False)),
            last=self.moves[-1],
            lines=self.lines,
            x=self.x,
            x_step=self.x_step,
            y_step=self.y_step,
            channel=self.channel,
            words=self.words,
            slots=self.slots,
            zero_point=self.zero_point,
            pitch=column.pitch,
            out_pitch=column.out_pitch,
            stride=column.stride,
            taps=self.taps,
            added=self.added,
            q=self.output,
        )


class _Writer:
    """Writes the code of one phase."""

    def __init__(self, kernel: LineKernel, phase: Phase) -> None:
        self._kernel, self._column, self._way = kernel, phase.column, kernel.way
        self._r = kernel.registers
        self._lines: list[str] = []
        self._x, self._y = LinePointer("r0", self._lines), LinePointer("r1", self._lines)
        self._loads = 0
        self._taps = kernel.taps
        self._needed = (self._column.outputs - 1) * self._column.stride + self._taps

    def line(self) -> LineCode:
        """All of it."""
        turns, unroll = self._turns(), self._kernel.unroll
        self._prologue()
        before, length, turn = self._piece(), 0, LineRun((), 0)
        if turns:
            x, y = self._x.base, self._y.base
            self._outputs(range(unroll))
            length, step = unroll * self._column.stride * self._column.pitch, unroll * self._column.out_pitch
            self._x.move(length - (self._x.base - x))
            self._y.move(step - (self._y.base - y))
            turn = self._piece()
            self._x.base, self._y.base = x + turns * length, y + turns * step
        self._outputs(range(turns * unroll, self._column.outputs))
        return LineCode(before, turn, turns, turns * length, self._piece(), self._x.base, self._y.base)

    def _turns(self) -> int:
        """Turns in which all inputs that are fetched are in the image, and wanted."""
        if not self._kernel.unroll:
            return 0
        count, end = 0, min(self._column.above + self._column.rows, self._needed)
        while True:
            outputs = range(count * self._kernel.unroll, (count + 1) * self._kernel.unroll)
            if outputs.stop > self._column.outputs:
                return count
            fetched = [t for o in outputs for chunk in self._next(o) for t, _ in self._inputs(chunk)]
            if max(fetched) >= end:
                return count
            count += 1

    def _piece(self) -> LineRun:
        made = LineRun(tuple(line for text in self._lines for line in text.split("\n  ")), self._loads)
        self._lines.clear()
        self._loads = 0
        return made

    def _inputs(self, chunk: int) -> list[tuple[int, str]]:
        """The inputs of a word, or of what is one with the input before it, and where they go first."""
        if self._way is LineForm.EACH:
            return [(chunk, self._pair(chunk))]
        return [(2 * chunk, self._pair(chunk)), (2 * chunk + 1, self._r.free[chunk % len(self._r.free)])]

    def _pair(self, number: int) -> str:
        return self._r.pool[number % len(self._r.pool)]

    def _next(self, output: int) -> range:
        """What is fetched once an output is made: it takes the place of what no other one needs."""
        times, rest = divmod(output + 1, self._way.outputs(self._taps))
        first, ahead = len(self._r.pool) + (times - 1) * self._way.ahead(self._taps), self._way.ahead(self._taps)
        return range(first, first if rest else first + ahead)

    def _inside(self, t: int) -> bool:
        return 0 <= t - self._column.above < self._column.rows

    def _fetch(self, chunk: int) -> None:
        inputs = [(t, register) for t, register in self._inputs(chunk) if t < self._needed]
        if not any(self._inside(t) for t, _ in inputs):
            # Both halves are the zero point, one of which does for an input alone.
            inputs = inputs[:1]
        for t, register in inputs:
            if self._inside(t):
                self._lines.append(f"ldrsb {register}, {self._x.at((t - self._column.above) * self._column.pitch)}")
                self._loads += 1
            else:
                value = self._kernel.zero_point
                negative, half = value < 0, ~value if value < 0 else value
                self._lines.append(f"{'mvn' if negative else 'mov'} {register}, #{half * 0x10001}")

    def _pack(self, chunk: int) -> None:
        each = self._way is LineForm.EACH
        number, (t, high) = (chunk - 1 if each else chunk), self._inputs(chunk)[-1]
        # A pair is the first of an output or, two further on, the second.
        wanted = any(0 <= o < self._column.outputs for o in (number, number - 2)) if each else t < self._needed
        if number >= 0 and wanted and (self._inside(t - 1) or self._inside(t)):
            low = self._pair(number)
            self._lines.append(f"pkhbt {low}, {low}, {high}, lsl #16")

    def _prologue(self) -> None:
        chunks, each = range(len(self._r.pool)), self._way is LineForm.EACH
        at_once = len(chunks) if each else self._way.ahead(self._taps)
        for first in range(0, len(chunks), at_once):
            for chunk in chunks[first : first + at_once]:
                self._fetch(chunk)
            for chunk in chunks[first : first + at_once]:
                self._pack(chunk)

    def _products(self, o: int) -> list[_Product]:
        half = self._taps // 2
        if self._way is LineForm.TWO and o % 2:
            odd = [_Product("smlad", o // 2 + 1 + i, half + i) for i in range(half)]
            return [_Product("smlatb", o // 2, 0), *odd]
        first, step = (o // 2, 1) if self._way is LineForm.TWO else (o, 2 if self._way is LineForm.EACH else 1)
        pairs = [_Product("smlad", first + step * i, i) for i in range(half)]
        # The last tap is the second one of the last pair in a line of two outputs.
        last = ("smlabt", 2 * half - 1) if self._way is LineForm.TWO else ("smlabb", half)
        return [*pairs, _Product(last[0], first + step * half, last[1])]

    def _outputs(self, which: range) -> None:
        for o in which:
            r, acc = self._r, self._r.acc
            products = self._products(o)
            for number, product in enumerate(products):
                start = acc if number else r.start
                by = r.weights[product.weight]
                self._lines.append(f"{product.name} {acc}, {self._pair(product.pair)}, {by}, {start}")
            chunks, place = self._next(o), o * self._column.out_pitch
            wanted = [t for chunk in chunks for t, _ in self._inputs(chunk)]
            ahead = [t for t in wanted if self._inside(t) and t < self._needed]
            # Pointers move on before they are used: an address waits for the instruction right before it.
            if ahead:
                self._x.reach((ahead[0] - self._column.above) * self._column.pitch)
            self._y.reach(place)
            self._lines += self._rounded(r.free[0] if self._way is LineForm.TWO else self._pair(products[0].pair))
            for chunk in chunks:
                self._fetch(chunk)
            self._lines += self._kernel.output.saturated(acc)
            self._lines.append(f"strb {acc}, {self._y.at(place)}")
            for chunk in chunks:
                self._pack(chunk)

    def _rounded(self, spare: str) -> list[str]:
        r, acc = self._r, self._r.acc
        if self._kernel.output.by_sign:
            last = r.weights[-1]
            return [
                f"asr {spare}, {acc}, #31",
                f"smlabt {spare}, {spare}, {last}, {r.c}",
                f"smmla {acc}, {acc}, {r.m}, {spare}",
            ]
        if self._kernel.output.cleared:
            return [self._kernel.output.cleared_addend(spare, r.c, acc), f"smmla {acc}, {acc}, {r.m}, {spare}"]
        return [f"smmla {acc}, {acc}, {r.m}, {r.c}" if r.c else f"smmul {acc}, {acc}, {r.m}"]
