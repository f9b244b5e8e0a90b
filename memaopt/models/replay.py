"""A simulator that knows no formula: it walks the loop nest, moves a tile when it is not the one held, and counts.

It is what :func:`memaopt.models.accesses.promise` is held against. Every copy is made row by row and access by
access, every kernel call tile by tile, every tile step by step; a shape seen before is looked up instead of run again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from memaopt.access import Access
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.gemm.kernel import RegisterKernel, stack_of_copy
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models.accesses import kernel_stack
from memaopt.models.nest import Nest, nest_of
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, INDEXED_BY, OPERANDS, Dim, Gemm, Operand

#: (buffer, "load" or "store", bytes of the access) and how often it was made.
_Events = Counter[tuple[str, str, int]]


class Replay(NamedTuple):
    """What happened: accesses by buffer, tiles moved by operand (both ways), SRAM the tiles took, in bytes, and the
    bytes that kernels moved, those to and from the stack among them.
    """

    accesses: dict[str, Access]
    moves: dict[Operand, int]
    tile_bytes: int
    register_bytes: int


class _Span(NamedTuple):
    """A block's or tile's extent along a loop, and whether it is at the loop's start or end."""

    start: int
    length: int
    first: bool
    last: bool


def replay(space: Space, schedule: Schedule) -> dict[str, Access]:
    """The accesses to each buffer, counted one by one."""
    return simulate(space, schedule).accesses


def simulate(space: Space, schedule: Schedule) -> Replay:
    """Walk the whole loop nest of ``schedule``."""
    problem, tiled = space.problem, space.tiled(schedule)
    spans = {d: list(_spans(problem.sizes[d], schedule.block[d])) for d in schedule.order}
    outer, middle, inner = schedule.order
    if schedule.turning:
        spans[middle] = _turning_spans(problem.sizes[middle], schedule.block[middle])
    there = list(zip(spans[middle], spans[middle], strict=True))
    back = [(each, each._replace(first=each.last, last=each.first)) for each in reversed(spans[middle])]
    sweeps = (there, back if schedule.turning else there)
    whole = {d: next(_spans(size, size)) for d, size in problem.sizes.items()}
    cut = {x: set(schedule.order[: min(level, len(DIMS))]) for x, level in schedule.levels.items()}
    if "C" not in space.staged:
        cut["C"] = set(schedule.order[: schedule.order.index("k")])  # its sums are kept until they are done
    calls: Counter[tuple[_Span, _Span, _Span]] = Counter()
    copies: Counter[tuple[Operand, str, int, int]] = Counter()
    moves: Counter[Operand] = Counter()
    held: dict[Operand, tuple[_Span, _Span]] = {}
    largest: Counter[Operand] = Counter()
    begun: set[tuple[_Span, _Span]] = set()

    def leave(tile: tuple[_Span, _Span], done: bool) -> None:
        if "C" in tiled:
            copies["C", "final" if done else "out", tile[0].length, tile[1].length] += 1
            moves["C"] += 1

    done = False
    for sweep, i in enumerate(spans[outer]):
        for j, as_met in sweeps[sweep % 2]:
            for l in spans[inner]:  # noqa: E741
                at: dict[Dim, _Span] = {outer: i, middle: j, inner: l}
                for operand in OPERANDS:
                    first, second = (at[d] if d in cut[operand] else whole[d] for d in INDEXED_BY[operand])
                    tile = (first, second)
                    if held.get(operand) == tile:
                        continue
                    largest[operand] = max(largest[operand], first.length * second.length)
                    if operand == "C":
                        if "C" in held:
                            leave(held["C"], done)
                        if tile in begun and "C" in tiled:
                            copies["C", "in", tile[0].length, tile[1].length] += 1
                            moves["C"] += 1
                        begun.add(tile)
                    elif operand in tiled:
                        copies[operand, "in", tile[0].length, tile[1].length] += 1
                        moves[operand] += 1
                    held[operand] = tile
                at[middle] = as_met
                calls[at["m"], at["k"], at["n"]] += 1
                done = at["k"].last
    leave(held["C"], done)
    return _counted(space, schedule, calls, copies, moves, largest)


def _counted(
    space: Space,
    schedule: Schedule,
    calls: Counter[tuple[_Span, _Span, _Span]],
    copies: Counter[tuple[Operand, str, int, int]],
    moves: Counter[Operand],
    largest: Counter[Operand],
) -> Replay:
    """The accesses behind the kernel calls and tile copies of a walk."""
    problem, tiled = space.problem, space.tiled(schedule)
    kernel = _kernel_of(problem, schedule.family, schedule.tile)
    shapes: Counter[tuple[int, int, int, bool, bool]] = Counter()
    for (m, k, n), times in calls.items():
        shapes[m.length, k.length, n.length, k.first, k.last] += times
    steps: _Events = Counter()
    for shape, times in shapes.items():
        _add(steps, kernel(*shape), times)
    partial = any(buffer == "partial" for buffer, _, _ in steps)
    narrow = problem.width < ACCUMULATOR_BYTES
    names = {
        "a": "a_tile" if "A" in tiled else "A",
        "b": "b_tile" if "B" in tiled else "B",
        "final": "c_tile" if "C" in tiled else "C",
        "partial": "c_tile" if "C" in tiled or (narrow and "C" not in space.staged) else "C_partial" if narrow else "C",
        "channels": "channels",
    }
    events: _Events = Counter()
    for (buffer, what, size), times in steps.items():
        events[names[buffer], what, size] += times
    for shape, times in shapes.items():
        _add(events, _stack_of_block(nest_of(space, schedule), *shape), times)
    by_kernels = sum(size * times for (_, _, size), times in events.items())
    for (operand, what, rows, columns), times in copies.items():
        _add(events, _copied(problem, operand, what, rows, columns, partial), times)
        narrows = (operand, what, partial) == ("C", "final", True) and problem.width < ACCUMULATOR_BYTES
        copied = stack_of_copy("narrow_rows" if narrows else "copy_rows", problem.width)
        _add(events, _on_stack(copied), times)
    slots = {x: ACCUMULATOR_BYTES if x == "C" and partial else problem.width for x in OPERANDS}
    tile_bytes = sum(space.copies * largest[x] * slots[x] for x in tiled)
    if "C" not in space.staged and partial and narrow:
        tile_bytes += ACCUMULATOR_BYTES * largest["C"]
    return Replay(_by_buffer(events), {x: moves[x] for x in OPERANDS}, tile_bytes, by_kernels)


def _spans(size: int, step: int) -> Iterator[_Span]:
    for start in range(0, size, step):
        length = min(step, size - start)
        yield _Span(start, length, start == 0, start + length == size)


def _turning_spans(size: int, step: int) -> list[_Span]:
    """The blocks of a loop that turns: as many, but the one that may be shorter is the last but one."""
    found = list(_spans(size, step))
    lengths = [each.length for each in (*found[:-2], found[-1], found[0])]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return [each._replace(start=at, length=length) for each, at, length in zip(found, starts, lengths, strict=True)]


def _add(events: _Events, more: _Events, times: int) -> None:
    for event, count in more.items():
        events[event] += times * count


def _by_buffer(events: _Events) -> dict[str, Access]:
    found: dict[str, Counter[str]] = {}
    for (buffer, what, size), times in sorted(events.items()):
        fields = found.setdefault(buffer, Counter())
        fields[f"{what}s"] += times
        fields[f"{what}_bytes"] += times * size
    return {buffer: Access(**fields) for buffer, fields in found.items()}


def _copied(problem: Gemm, operand: Operand, what: str, rows: int, columns: int, partial: bool) -> _Events:
    """The accesses that copy one tile, ``rows`` x ``columns`` as INDEXED_BY names them, in, out or out for good."""
    events: _Events = Counter()
    tile, home, width = f"{operand.lower()}_tile", str(operand), problem.width

    def move(size: int) -> None:
        source, target = (home, tile) if what == "in" else (tile, home)
        events[source, "load", size] += 1
        events[target, "store", size] += 1

    if operand == "C" and (what != "final" or (partial and width < ACCUMULATOR_BYTES)):
        if what != "final" and width < ACCUMULATOR_BYTES:
            home = "C_partial"
        for _ in range(rows * columns):
            move(width if what == "final" else ACCUMULATOR_BYTES)
        return events
    if problem.stored(operand) != INDEXED_BY[operand]:
        rows, columns = columns, rows
    if columns == problem.row(operand):
        rows, columns = 1, rows * columns
    for _ in range(rows):
        left = columns * width
        while left:
            size = 4 if left >= 4 else 2 if left >= 2 else 1
            move(size)
            left -= size
    return events


def _kernel_of(problem: Gemm, family: GemmFamily, tile: RegisterTile) -> Callable[[int, int, int, bool, bool], _Events]:
    """A function that runs the register kernel on a block: (mc, kc, nc, first k block?, last k block?) -> accesses."""
    run = {"C": _c_stays, "A": _a_stays, "B": _b_stays}[family.stationary]
    on_tile = cache(lambda *shape: run(problem, family, *shape))

    def on_block(mc: int, kc: int, nc: int, first: bool, last: bool) -> _Events:
        events: _Events = Counter()
        tiles: Counter[tuple[int, int, int, bool, bool]] = Counter()
        # The stationary operand is tiled along its two loops; the third loop streams past within a tile.
        for m in _spans(mc, mc if family.stationary == "B" else tile.mr):
            for k in _spans(kc, kc if family.stationary == "C" else tile.kr):
                for n in _spans(nc, nc if family.stationary == "A" else tile.nr):
                    tiles[m.length, k.length, n.length, first and k.first, last and k.last] += 1
        for shape, times in tiles.items():
            _add(events, on_tile(*shape), times)
        return events

    return on_block


def _stack_of_block(nest: Nest, mc: int, kc: int, nc: int, first: bool, last: bool) -> _Events:
    """What the kernels do to the stack on a block: one is called for all tiles of a row that are of one size (C), or
    for a tile of A or B and all that streams past.
    """
    events: _Events = Counter()
    keeps, tile = nest.family.stationary, nest.schedule.tile
    for m in [_Span(0, 1, True, True)] if keeps == "B" else _spans(mc, tile.mr):
        for k in _spans(kc, kc if keeps == "C" else tile.kr):
            sizes = Counter(n.length for n in _spans(nc, tile.nr))
            calls = (
                [(1, nc)] if keeps == "A" else [(nr, mc) for nr in sizes.elements()] if keeps == "B" else sizes.items()
            )
            for nr, turns in calls:
                kernel = RegisterKernel(m.length, k.length, nr, first and k.first, last and k.last)
                _add(events, _on_stack(kernel_stack(nest, kernel, turns)), 1)
    return events


def _on_stack(access: Access) -> _Events:
    """Accesses to the stack are of words."""
    return Counter({("stack", "load", 4): access.loads, ("stack", "store", 4): access.stores})


def _line(events: _Events, buffer: str, problem: Gemm, length: int, vector: int) -> None:
    """Load ``length`` elements in a row: a vector at a time while one is left, then one by one."""
    while length:
        step = vector if length >= vector else 1
        events[buffer, "load", step * problem.width] += 1
        length -= step


def _b_tile(events: _Events, problem: Gemm, family: GemmFamily, kr: int, nr: int) -> None:
    """Load a tile of B the way it is stored."""
    for _ in range(nr if family.b_along == "k" else kr):
        _line(events, "b", problem, kr if family.b_along == "k" else nr, family.b_vector)


def _start(events: _Events, problem: Gemm, first: bool, mr: int, nr: int) -> None:
    """Accumulators begin at zero, or at the bias, which one load brings to a row of them; or are loaded."""
    for _ in range(0 if first else mr * nr):
        events["partial", "load", ACCUMULATOR_BYTES] += 1
    for _ in range(mr if first and problem.channel_bytes else 0):
        events["channels", "load", 4] += 1


def _finish(events: _Events, problem: Gemm, last: bool, mr: int, nr: int) -> None:
    """Accumulators are stored as they are, or requantised with a row's multiplier, left and right shift first."""
    for _ in range(mr * nr):
        events["final" if last else "partial", "store", problem.width if last else ACCUMULATOR_BYTES] += 1
    for _ in range(mr if last and problem.channel_bytes else 0):
        for _parameter in ("multiplier", "left shift", "right shift"):
            events["channels", "load", 4] += 1


def _c_stays(problem: Gemm, family: GemmFamily, mr: int, kc: int, nr: int, first: bool, last: bool) -> _Events:
    events: _Events = Counter()
    _start(events, problem, first, mr, nr)
    for _ in range(mr):
        _line(events, "a", problem, kc, family.a_vector)
    _b_tile(events, problem, family, kc, nr)
    _finish(events, problem, last, mr, nr)
    return events


def _a_stays(problem: Gemm, family: GemmFamily, mr: int, kr: int, nc: int, first: bool, last: bool) -> _Events:
    events: _Events = Counter()
    for _ in range(mr):
        _line(events, "a", problem, kr, family.a_vector)
    for _ in range(nc):
        _start(events, problem, first, mr, 1)
        _b_tile(events, problem, family, kr, 1)
        _finish(events, problem, last, mr, 1)
    return events


def _b_stays(problem: Gemm, family: GemmFamily, mc: int, kr: int, nr: int, first: bool, last: bool) -> _Events:
    events: _Events = Counter()
    _b_tile(events, problem, family, kr, nr)
    for _ in range(mc):
        _start(events, problem, first, 1, nr)
        _line(events, "a", problem, kr, family.a_vector)
        _finish(events, problem, last, 1, nr)
    return events
