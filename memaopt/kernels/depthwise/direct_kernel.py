"""The depthwise kernel that reads bytes: its columns, its cost and its text. See direct.py for how it works."""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.depthwise.descent import Column, Walk, walk_of
from memaopt.kernels.depthwise.side_by_side import Side, sides
from memaopt.kernels.executed import words_of
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm, load_imm, numberless
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.problems.geometry import Window

#: Where a row's taps go, and accumulators: as many as live at a time.
_TAPS = ("r11", "r12", "lr")
_ACCUMULATORS = ("r9", "r10", "r12", "lr")
#: Registers of weights that may be left.
_SPARE = ("r3", "r4", "r5", "r6")
#: The first register of weights; three pairs and two words of those alone are the most.
_WEIGHTS, _MOST_WEIGHTS = 2, 5
#: That of initial accumulators.
_START = "r8"


class MetColumns(NamedTuple):
    """Columns of outputs whose window meets the same ``taps`` of a row, from the tap ``first`` on; ``across`` of them
    are walked at once.

    ``x`` and ``y``: where the first column's input and output begin, in bytes; ``x_step``, ``y_step``: to the next.
    """

    first: int
    taps: int
    columns: int
    x: int
    y: int
    x_step: int
    y_step: int
    across: int = 1

    @property
    def walks(self) -> int:
        """Walks down the image."""
        return self.columns // self.across

    @property
    def said(self) -> str:
        """How many are walked at once, for the names of kernels."""
        return f", {self.across} at once," if self.across > 1 else ""


class Phase(NamedTuple):
    """Every so many-th row of outputs (:func:`phases_of`), whose windows share their rows: where its input and output
    begin, in bytes, and the column."""

    x: int
    y: int
    column: Column


def phases_of(window: Window) -> int:
    """How far rows of outputs are apart whose windows share rows."""
    apart = window.dilation.height
    return apart // math.gcd(apart, window.stride.height)


@dataclass(frozen=True)
class DirectKernel:
    """Windows of up to 3x3, or 5x1, over NHWC bytes; the columns' code is straight, or has loops of ``unroll`` outputs.

    ``x_step``: bytes of input to the next channel, 0 where all channels read the same one. ``added``: the rounding has
    an addend, which is on the stack or, where one is free, in a register. ``halved``: what negative accumulators add to
    it fits 16 bits and is the upper half of a word of weights.
    """

    window: Window
    height: int
    tap_step: int
    sets: tuple[MetColumns, ...]
    phases: tuple[Phase, ...]
    unroll: int
    x_step: int
    zero_point: int
    output: Output
    added: bool
    halved: bool = False

    @property
    def name(self) -> str:
        return short_name("depthwise_direct", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        columns = ", ".join(f"{s.columns} columns{s.said} of {s.taps} taps from {s.x} to {s.y}" for s in self.sets)
        column = self.phases[0].column
        return (
            f"{self.window.describe()}, {self.height} rows {column.pitch} bytes apart, {columns}, taps {self.tap_step} "
            f"bytes apart, {column.outputs} outputs {column.out_pitch} and {self.sets[0].y_step} bytes apart, channels "
            f"{self.x_step} apart, zero point {self.zero_point}, {self.unroll} outputs a turn, rounding "
            f"{self.output.slug}{' with an addend' if self.added else ''}"
            f"{' and another among the weights' if self.halved else ''}"
        )

    @cached_property
    def walks(self) -> tuple[Walk, ...]:
        """That of each phase."""
        walks = tuple(walk_of(phase.column, self.unroll) for phase in self.phases)
        return tuple(walk for walk in walks if walk is not None)

    @cached_property
    def edges(self) -> tuple[tuple[int, ...], ...]:
        """The kernel rows of outputs that have not all of them; each has an initial accumulator of its own."""
        met = {tap.met for walk in self.walks for step in walk.code for tap in step.taps}
        return tuple(sorted(rows for rows in met if len(rows) < self.window.kernel.height))

    @property
    def form(self) -> Hashable:
        """What decides which instructions there are: where all lies does by immediates alone."""
        sets = []
        for number, one in enumerate(self.sets):
            made = self._set(number)
            moves = [add_imm("r0", "r0", one.x + self.phases[0].x, "r12"), add_imm("r1", "r1", one.y, "r12")]
            if one.walks > 1:
                x, y = one.across * one.x_step - self._moved[0], one.across * one.y_step - self._moved[1]
                moves += [load_imm("r12", one.walks), add_imm("r0", "r0", x, "r11"), add_imm("r1", "r1", y, "r11")]
            sets.append((one.taps, one.across, bool(made["offset"]), numberless("\n".join(moves))))
        phases = [
            (numberless("\n".join([add_imm("r0", "r0", x, "r11"), add_imm("r1", "r1", y, "r11")])), walk.form)
            for x, y, walk in self._phases()
        ]
        words = numberless(add_imm("r2", "r2", 4 * self.words, "r4"))
        held = self.added, self.addend_home, self.halved, self.phases[0].column.live, bool(self.x_step), self.edges
        height = self.window.kernel.height
        return tuple(sets), tuple(phases), words, held, height, replace(self.output, shift=0)

    #: The parameters of a channel; for outputs at an edge the accumulators' registers address them.
    constants = tuple(Constants(register, "[sp, #8]") for register in (*_SPARE, *_ACCUMULATORS))

    def pairs(self, taps: int) -> int:
        """Words of weights for a row's first two taps."""
        return self.window.kernel.height if taps > 1 else 0

    def alone(self, taps: int) -> int:
        """Words of weights for a row's odd tap, those of two rows in one."""
        return -(-self.window.kernel.height // 2) if taps % 2 else 0

    def weights(self, taps: int) -> int:
        """Words of weights of a set of columns, and one for negative accumulators where no half of these is free."""
        return self.pairs(taps) + self.alone(taps) + int(self.halved and not self.has_half(taps))

    def has_half(self, taps: int) -> bool:
        """Whether the upper half of the last word of weights is free."""
        return taps % 2 == 1 and self.window.kernel.height % 2 == 1

    def set_words(self, taps: int) -> int:
        """Parameters of a set of columns: weights, multiplier, initial accumulators."""
        return self.weights(taps) + 2 + len(self.edges)

    @property
    def added_words(self) -> int:
        """Addends of a channel, of all accumulators and of negative ones."""
        return int(self.added) + int(self.output.by_sign and not self.halved)

    @property
    def words(self) -> int:
        """Parameters of a channel: addends, then those of each set of columns."""
        return self.added_words + sum(self.set_words(s.taps) for s in self.sets)

    @property
    def addend_home(self) -> str:
        """The register that the addend has: an accumulator's if one is enough, that of a last word of weights, or else
        that of initial accumulators, which then lie on the stack. Empty if there is none.
        """
        if not self.added or (self.output.by_sign and not self.halved):
            return ""
        if self.across > 1:
            return self._left[0]
        if self.phases[0].column.live == 1:
            return _ACCUMULATORS[1]
        last = max(self.weights(s.taps) for s in self.sets) == _MOST_WEIGHTS or self.unroll > 0
        return (_START if self.halved else "") if last else f"r{_WEIGHTS + _MOST_WEIGHTS - 1}"

    @property
    def across(self) -> int:
        """Columns that are walked at once, at most."""
        return max(s.across for s in self.sets)

    @cached_property
    def _registers(self) -> list[str]:
        """Where several columns are walked at once: those for inputs, accumulators, addend and what a rounding by sign
        needs. The upper half of r6 counts turns."""
        last = _WEIGHTS + max(self.weights(s.taps) for s in self.sets)
        return [*_TAPS, *(f"r{r}" for r in range(last, 6 if self.unroll else 7)), *_ACCUMULATORS[1::-1]]

    @property
    def _left(self) -> list[str]:
        """Those of an addend, and of one made for the sign."""
        return self._registers[len(self._registers) - self.added - self.output.spare :] or [""]

    @property
    def _accumulators(self) -> list[str]:
        """One a column."""
        end = len(self._registers) - self.added - self.output.spare
        return self._registers[max(end - self.across, 0) : end]

    def _sides(self, one: MetColumns) -> tuple[Side, ...]:
        if self.across == 1:
            return (Side(tuple((register, at) for at, register in enumerate(_TAPS[: one.taps])), _TAPS),)
        inputs = self._registers[: len(self._registers) - self.added - self.output.spare - self.across]
        found = sides(one.taps, self.window.stride.width, inputs, self._accumulators[: one.across])
        assert found is not None
        return found

    @property
    def fits(self) -> bool:
        """Whether registers suffice for the columns that are walked at once."""
        if self.across == 1:
            return True
        inputs = self._registers[: max(len(self._registers) - self.added - self.output.spare - self.across, 0)]
        each = [(s.taps, self._accumulators[: s.across]) for s in self.sets]
        return all(sides(taps, self.window.stride.width, inputs, accs) is not None for taps, accs in each)

    @property
    def starts_kept(self) -> bool:
        """Whether initial accumulators lie on the stack."""
        return self.addend_home == _START

    def call(self, channels: float) -> Call:
        """A call for so many channels."""
        turns = tuple(float(walk.turns) for walk in self.walks if walk.turns)
        trips = [t for s in self.sets for t in ((float(s.walks),) if s.walks > 1 else ()) + turns]
        return Call(self, (channels, *trips), (float(self.words), *(0.0,) * len(trips)))

    @property
    def code_bytes(self) -> int:
        return 4 * words_of(self.call(1))

    def accesses(self, channels: int) -> tuple[Access, Access, Access, Access]:
        """Input, output, parameters and stack of one call."""
        rows = sum(walk.rows for walk in self.walks)
        outputs = sum(phase.column.outputs for phase in self.phases)
        columns = sum(s.columns for s in self.sets)
        edges = columns * sum(self._edges_of(walk) for walk in self.walks)
        several = [s.walks for s in self.sets if s.walks > 1]
        read = sum(s.walks * sum(len(side.loads) for side in self._sides(s)) for s in self.sets)
        words = sum(self.weights(s.taps) + 2 for s in self.sets)
        kept = 0 if self.addend_home else self.added_words
        words += len(self.sets) if self.addend_home else kept
        channel = loads(4 + 3 * len(self.sets) + sum(several) + edges + (kept > 0), 4)
        channel += loads(kept * outputs * columns, 4) + stores(4 + len(several) + sum(several) + kept, 4)
        if self.starts_kept:
            channel += loads(outputs * columns - edges, 4) + stores(len(self.sets), 4)
        return (
            loads(rows * read * channels, 1),
            stores(outputs * columns * channels, 1),
            loads((words + edges) * channels, 4),
            saved(9) + stores(4, 4) + channel.times(channels),
        )

    def _edges_of(self, walk: Walk) -> int:
        """Outputs of a column whose accumulators start as those of an edge."""
        straight = (*walk.before, *walk.after)
        each = [sum(t.first and t.met in self.edges for s in part for t in s.taps) for part in (straight, walk.turn)]
        return each[0] + walk.turns * each[1]

    def _set(self, number: int) -> dict[str, object]:
        """What the template writes for a set of columns."""
        one, made = self.sets[number], self._sides(self.sets[number])
        before = self.added_words + sum(self.set_words(s.taps) for s in self.sets[:number])
        pairs, alone = self.pairs(one.taps), self.alone(one.taps)
        weights = self.weights(one.taps)
        last = _WEIGHTS + weights - 1
        return {
            "set": one,
            "offset": 4 * before,
            "weights": f"r{_WEIGHTS}" + (f"-r{last}" if last > _WEIGHTS else ""),
            "pair": [f"r{_WEIGHTS + ky}" for ky in range(pairs)],
            "alone": [(f"r{_WEIGHTS + pairs + ky // 2}", "bt"[ky % 2]) for ky in range(2 * alone)],
            "edge": {met: 4 * (before + weights + 2 + number) for number, met in enumerate(self.edges)},
            "sides": made,
            "loaded": max(number for number, side in enumerate(made) if side.loads),
            "x_total": one.across * one.x_step - self._moved[0],
            "y_total": one.across * one.y_step - self._moved[1],
            "words": self.set_words(one.taps),
            "sign": f"r{last}" if self.halved else "",
            "count": weights,
        }

    @property
    def _moved(self) -> tuple[int, int]:
        """How far a column moves the pointers."""
        last, walk = self.phases[-1], self.walks[-1]
        return last.x - self.phases[0].x + walk.x_total, last.y + walk.y_total

    def _phases(self) -> Iterator[tuple[int, int, Walk]]:
        """What the pointers move on by before each phase, and its walk."""
        x, y = self.phases[0].x, 0
        for phase, walk in zip(self.phases, self.walks, strict=True):
            yield phase.x - x, phase.y - y, walk
            x, y = phase.x + walk.x_total, phase.y + walk.y_total

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        column, live = self.phases[0].column, self.phases[0].column.live
        return render(
            "kernels/depthwise/depthwise_direct.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"Depthwise {self.window.describe()}, from bytes, column by column.",
            comment=[
                "A row of a column is loaded once for all the outputs that it feeds; weights (times 256) are in",
                "registers. Parameters of a channel: addends; for each set of columns pairs of weights, weights alone,",
                "multiplier, initial accumulator, then the initial accumulators of outputs at an edge.",
                f"Its number stands for: {self.details}.",
            ],
            inputs=list(dict.fromkeys(r for s in self.sets for side in self._sides(s) for r, _ in side.loads)),
            acc=_ACCUMULATORS[:live] if self.across == 1 else self._accumulators,
            spare=self._left[-1] if self.across > 1 else "r12" if live <= 2 else "r5",
            rows=self.window.kernel.height,
            sets=[self._set(number) for number in range(len(self.sets))],
            phases=list(self._phases()),
            looped=any(walk.turns for walk in self.walks),
            tap_step=self.tap_step,
            x_step=self.x_step,
            words=self.words,
            zero_point=self.zero_point,
            height=self.height,
            window=self.window,
            pitch=column.pitch // self.window.dilation.height,
            out_pitch=column.out_pitch // phases_of(self.window),
            outputs=sum(phase.column.outputs for phase in self.phases),
            first_row=self.phases[0].x,
            added=self.added,
            home=self.addend_home,
            halved=self.halved,
            starts_kept=self.starts_kept,
            slots=20 + 4 * (int(self.starts_kept) if self.addend_home else self.added_words),
            q=self.output,
        )
