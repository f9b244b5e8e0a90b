"""The walk of a depthwise kernel down one column of a plane or an image: which rows feed which outputs, as straight
code and a loop. At three kernel rows two accumulators are enough: an output is finished before the next but one starts.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.text.assembly import add_imm, numberless
from memaopt.kernels.text.thumb import REACH, encodable


class Tap(NamedTuple):
    """Kernel row ``ky`` into accumulator ``acc``; ``y``: the offset at which the finished output is stored, after
    which the output's pointer moves on by ``y_advance``. ``met``: the kernel rows that the output has in all.
    """

    ky: int
    acc: int
    first: bool
    y: int | None
    met: tuple[int, ...]
    y_advance: int = 0


class Step(NamedTuple):
    """One input row: its offset, its taps, and what the pointers move on by afterwards."""

    x: int
    taps: tuple[Tap, ...]
    x_advance: int = 0
    y_advance: int = 0

    @property
    def early(self) -> bool:
        """Whether the rows' pointer moves right after the loads: in one instruction, which needs no register."""
        return self.x_advance > 0 and (self.x_advance <= REACH or encodable(self.x_advance))


class Walk(NamedTuple):
    """Straight rows, ``turns`` of a loop, straight rows; pointers move on by the totals in all."""

    before: tuple[Step, ...]
    turn: tuple[Step, ...]
    turns: int
    after: tuple[Step, ...]
    x_total: int
    y_total: int

    @property
    def rows(self) -> int:
        """Rows of a column, as executed."""
        return len(self.before) + len(self.turn) * self.turns + len(self.after)

    @property
    def code(self) -> tuple[Step, ...]:
        """Every row, as written."""
        return self.before + self.turn + self.after

    @property
    def form(self) -> tuple[object, ...]:
        """What decides which instructions there are: all but where rows and outputs lie."""
        return len(self.before), len(self.turn), tuple([_form(step) for step in self.code])


class Column(NamedTuple):
    """A column: ``rows`` rows ``pitch`` bytes apart, ``above`` of padding left out before them; the outputs are
    ``out_pitch`` bytes apart. Each row is read up to ``span`` bytes from where it begins, and written to ``out_span``.
    """

    rows: int
    above: int
    stride: int
    outputs: int
    pitch: int
    out_pitch: int
    kernel_rows: int = 3
    span: int = 4
    out_span: int = 0

    @property
    def live(self) -> int:
        """Accumulators that are in use at a time."""
        return max(-(-(self.kernel_rows - 1) // self.stride), 1)


class _Fed(NamedTuple):
    """An output to which a row contributes by kernel row ``ky``."""

    ky: int
    output: int
    first: bool
    last: bool
    met: tuple[int, ...]


_Row = tuple[_Fed, ...]


def _rows(column: Column) -> list[_Row] | None:
    """What each row feeds, or None if an output has no row at all."""
    feeding: dict[int, list[tuple[int, int]]] = {o: [] for o in range(column.outputs)}
    taps: list[list[tuple[int, int]]] = []
    for i in range(column.rows):
        of_row = []
        for ky in range(column.kernel_rows - 1, -1, -1):
            o, rest = divmod(i + column.above - ky, column.stride)
            if rest == 0 and 0 <= o < column.outputs:
                of_row.append((ky, o))
                feeding[o].append((i, ky))
        taps.append(of_row)
    if not all(feeding.values()):
        return None
    return [
        tuple(
            _Fed(ky, o, i == feeding[o][0][0], i == feeding[o][-1][0], tuple(ky for _, ky in feeding[o]))
            for ky, o in of_row
        )
        for i, of_row in enumerate(taps)
    ]


def _form(step: Step) -> tuple[object, ...]:
    """What decides which instructions a row takes."""
    taps = [(tap.ky, tap.acc, tap.first, tap.y is None, tap.met, _move(tap.y_advance, "")) for tap in step.taps]
    return *taps, step.early, _move(step.x_advance, "" if step.early else "r11"), _move(step.y_advance, "r11")


def _move(advance: int, scratch: str) -> str:
    return numberless(add_imm("r0", "r0", advance, scratch)) if advance else ""


@lru_cache(maxsize=1024)
def walk_of(column: Column, unroll: int) -> Walk | None:
    """The walk with at most ``unroll`` outputs in a turn of its loop; 0 for straight code only.

    None if some output has no row, or if rows lie too far apart.
    """
    rows = _rows(column)
    if rows is None or max(column.pitch, column.out_pitch) >= 1 << 20:
        return None
    if _far(column) and not all(rows):
        return None
    live = column.live
    period = max(unroll // live * live, live) * column.stride if unroll else 0
    start, turns = (0, 0) if period == 0 else _steady(rows, period, column.stride * live)

    end = start + turns * period
    per_turn = (period * column.pitch, period // column.stride * column.out_pitch) if turns else (0, 0)
    before = _place(column, rows, range(start), 0, 0, None)
    if before is None:
        return None
    turn = _place(column, rows, range(start, start + period), before.x, before.y, per_turn) if turns else _NO_STEPS
    if turn is None:
        return None
    x, y = before.x + turns * per_turn[0], before.y + turns * per_turn[1]
    after = _place(column, rows, range(end, column.rows), x, y, None)
    if after is None:
        return None
    return Walk(tuple(before.steps), tuple(turn.steps), turns, tuple(after.steps), after.x, after.y)


def _steady(rows: Sequence[_Row], period: int, repeat: int) -> tuple[int, int]:
    """Where the rows start to repeat, and how many whole periods they then go on; at least 2, else none."""

    def shape(i: int) -> tuple[tuple[object, ...], ...]:
        return tuple((fed.ky, fed.first, fed.last, fed.met) for fed in rows[i])

    best = (0, 0)
    for start in range(min(len(rows), 2 * repeat + 2)):
        length = 0
        while start + length < len(rows) and shape(start + length) == shape(start + length % repeat):
            length += 1
        if length // period > best[1]:
            best = (start, length // period)
    return best if best[1] >= 2 else (0, 0)


def _far(column: Column) -> bool:
    """Whether rows lie so far apart that the pointer moves on after each."""
    return 2 * column.pitch > REACH


class _Placed(NamedTuple):
    """Steps, and where the pointers are behind them."""

    steps: list[Step]
    x: int
    y: int


_NO_STEPS = _Placed([], 0, 0)


def _place(
    column: Column,
    rows: Sequence[_Row],
    which: range,
    x_base: int,
    y_base: int,
    total: tuple[int, int] | None,
) -> _Placed | None:
    """Steps with offsets from pointers at ``x_base`` and ``y_base``, moved on where an offset would not reach, at the
    end for the row that comes next.

    ``total``: by how much they must have moved at the end. None if the first row is out of reach.
    """
    x0, y0 = x_base, y_base
    # Outputs far apart: the pointer moves on after each, so their offsets are all 0.
    far = 2 * column.out_pitch + column.out_span > REACH
    far_rows = _far(column)
    steps: list[Step] = []

    def moves(i: int) -> tuple[int, int]:
        """What the pointers move on by before a row, 0 where its offsets reach."""
        outputs = [fed.output * column.out_pitch for fed in rows[i] if fed.last]
        x = (far_rows and steps) or i * column.pitch + column.span - x_base > REACH
        y = outputs and not far and max(outputs) + column.out_span - y_base > REACH
        return i * column.pitch - x_base if x else 0, outputs[0] - y_base if y else 0

    for i in which:
        if not rows[i]:
            continue
        if moves(i) != (0, 0):
            if not steps:
                return None
            ahead, beyond = moves(i)
            steps[-1] = steps[-1]._replace(x_advance=ahead, y_advance=beyond)
            x_base, y_base = x_base + ahead, y_base + beyond
        taps = []
        for ky, o, first, last, met in rows[i]:
            move = column.out_pitch if last and far else 0
            y = o * column.out_pitch - y_base if last else None
            taps.append(Tap(ky, o % column.live, first, y, met, move))
            y_base += move
        steps.append(Step(i * column.pitch - x_base, tuple(taps)))
    if far_rows and steps:
        steps[-1] = steps[-1]._replace(x_advance=column.pitch)
        x_base = which.stop * column.pitch
    if total is not None:
        x_move, y_move = x0 + total[0] - x_base, y0 + total[1] - y_base
        steps[-1] = steps[-1]._replace(x_advance=steps[-1].x_advance + x_move, y_advance=y_move)
        x_base, y_base = x0 + total[0], y0 + total[1]
    elif steps and not far_rows and (coming := [i for i in range(which.stop, len(rows)) if rows[i]]):
        ahead, beyond = moves(coming[0])
        steps[-1] = steps[-1]._replace(x_advance=ahead, y_advance=beyond)
        x_base, y_base = x_base + ahead, y_base + beyond
    return _Placed(steps, x_base, y_base)
