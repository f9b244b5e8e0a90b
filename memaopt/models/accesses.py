"""The accesses a schedule promises: for each named buffer, how many loads and stores the emitted C makes, and bytes.

``traffic`` prices bytes; here the same walk is told access by access, vector by vector, so that the figures can be
held against what a binary does. Blocks come in at most two sizes along a loop and register tiles in at most two
along a block, so the sums run over those shapes and never over the tiles.

========================== ===========================================================================
buffer                     what it is
========================== ===========================================================================
``A``, ``B``, ``C``        the operand in the memory where it lives
``C_partial``              4-byte partial sums of a staged C of narrower elements, in C's memory
``a_tile``, ``b_tile``     SRAM tiles of staged operands
``c_tile``                 the SRAM tile of a staged C, or the 4-byte accumulators of a C that lives in SRAM
``channels``               s8: bias, multiplier, left and right shift of each output channel
``stack``                  what kernels and copies in assembly do there: saved registers, arguments, what is kept
========================== ===========================================================================
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from memaopt.access import Access
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.gemm.kernel import RegisterKernel, rounds, segments, stack_by_depth, stack_of_copy
from memaopt.kernels.schedule import Schedule, Space
from memaopt.kernels.stack import of_call
from memaopt.models.nest import Nest, nest_of
from memaopt.models.traffic import passes, schedule_counts
from memaopt.models.turning import lengths, turns_at_far, turns_at_near
from memaopt.models.walks import visits, walk_of
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, Dim, Gemm

#: s8: words of a channel's parameters read when its accumulator starts (bias), and when it is finished.
CHANNEL_WORDS_FIRST, CHANNEL_WORDS_LAST = 1, 3


class Tally:
    """Sums accesses by buffer."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def load(self, buffer: str, accesses: int, moved: int) -> None:
        """Add loads of ``moved`` bytes in all."""
        count = self._counts[buffer]
        count[0] += accesses
        count[1] += moved

    def store(self, buffer: str, accesses: int, moved: int) -> None:
        """Add stores of ``moved`` bytes in all."""
        count = self._counts[buffer]
        count[2] += accesses
        count[3] += moved

    def add(self, buffer: str, access: Access) -> None:
        """Add accesses of both kinds."""
        self.load(buffer, access.loads, access.load_bytes)
        self.store(buffer, access.stores, access.store_bytes)

    def result(self) -> dict[str, Access]:
        """The buffers that were accessed, in alphabetical order."""
        return {
            name: Access(loads=loads, load_bytes=load_bytes, stores=stores, store_bytes=store_bytes)
            for name, (loads, load_bytes, stores, store_bytes) in sorted(self._counts.items())
            if loads or stores
        }


class Buffers(NamedTuple):
    """The buffer that each access of a kernel goes to, and how wide C is in its tile."""

    a: str
    b: str
    final: str
    partial: str
    spilled: str
    accumulating: bool


class _Block(NamedTuple):
    """Blocks of one length along a loop: how many, and whether they are the first or last of the loop."""

    length: int
    times: int
    first: bool
    last: bool


def buffers_of(space: Space, schedule: Schedule) -> Buffers:
    """Which buffer each of the kernel's accesses goes to, and whether partial sums leave the registers."""
    tiled, wide = space.tiled(schedule), space.problem.width == ACCUMULATOR_BYTES
    spilled = "C" if wide else "C_partial"
    beside = "C" in tiled or ("C" not in space.staged and not wide)
    return Buffers(
        a="a_tile" if "A" in tiled else "A",
        b="b_tile" if "B" in tiled else "B",
        final="c_tile" if "C" in tiled else "C",
        partial="c_tile" if beside else spilled,
        spilled=spilled,
        accumulating=bool(passes(schedule.family, schedule_counts(space, schedule)) > 1),
    )


def promise(space: Space, schedule: Schedule) -> dict[str, Access]:
    """What the emitted C does to each buffer, access for access; buffers that do not exist are left out.

    The schedule must be one of ``space`` (see :func:`memaopt.models.feasibility.why_infeasible`).
    """
    tally, nest = Tally(), nest_of(space, schedule)
    _stage(tally, space, schedule)
    where, tile = buffers_of(space, schedule), schedule.tile
    for m, k, n in _kinds(space.problem, schedule):
        _kernel(tally, space.problem, schedule.family, tile, where, (m, k, n))
        tally.add("stack", _kernels_stack(nest, (m, k, n)).times(m.times * k.times * n.times))
    return tally.result()


def _kinds(problem: Gemm, schedule: Schedule) -> Iterator[tuple[_Block, _Block, _Block]]:
    """The blocks of the nest along m, k and n, those of one kind together."""
    blocks: dict[Dim, list[_Block]] = {d: _blocks(problem.sizes[d], schedule.block[d]) for d in DIMS}
    if not schedule.turning:
        yield from product(*(blocks[d] for d in DIMS))
        return
    outer, middle, _ = schedule.order
    swept = [each.length for each in _blocks(problem.sizes[outer], schedule.block[outer]) for _ in range(each.times)]
    there = lengths(problem.sizes[middle], schedule.block[middle])
    for sweeps, met in ((swept[::2], there), (swept[1::2], there[::-1])):
        ends = [(length, i == 0, i == len(met) - 1) for i, length in enumerate(met)]
        blocks[outer] = [_Block(length, times, False, False) for length, times in Counter(sweeps).items()]
        blocks[middle] = [_Block(length, times, *end) for (length, *end), times in Counter(ends).items()]
        yield from product(*(blocks[d] for d in DIMS))


def _blocks(size: int, block: int) -> list[_Block]:
    """The first block of a loop, those in the middle, and the last, which may be shorter."""
    trips = -(-size // block)
    if trips == 1:
        return [_Block(size, 1, True, True)]
    middle = [_Block(block, trips - 2, False, False)] if trips > 2 else []
    return [_Block(block, 1, True, False), *middle, _Block(size - (trips - 1) * block, 1, False, True)]


def _arriving(size: int, block: int, sweeps: int) -> list[_Block]:
    """The blocks of a loop that turns, each as often as its tile arrives: at an end fewer times than the sweeps."""
    near, *between, far = lengths(size, block)
    found = Counter({length: sweeps * times for length, times in Counter(between).items()})
    found[near] += sweeps - int(turns_at_near(sweeps))
    found[far] += sweeps - int(turns_at_far(sweeps))
    return [_Block(length, times, False, False) for length, times in found.items()]


def _vectors(length: int, vector: int) -> int:
    """Accesses to ``length`` elements in a row: whole vectors, then single elements."""
    return length // vector + length % vector


def _vectors_over_tiles(length: int, tile: int, vector: int) -> int:
    """Accesses to ``length`` elements in a row, cut into tiles first."""
    return length // tile * _vectors(tile, vector) + _vectors(length % tile, vector)


def _kernel(
    tally: Tally,
    problem: Gemm,
    family: GemmFamily,
    tile: RegisterTile,
    where: Buffers,
    block: tuple[_Block, _Block, _Block],
) -> None:
    """The register kernel on all blocks of these lengths."""
    (m, k, n), width = block, problem.width
    times = m.times * k.times * n.times
    mr_tiles, kr_tiles, nr_tiles = (-(-d.length // t) for d, t in zip(block, tile, strict=True))
    c_stays = family.stationary == "C"

    # What is stationary is read once; what streams is read once for each register tile of the loop it lacks.
    a_times = 1 if family.stationary == "A" else nr_tiles
    b_times = 1 if family.stationary == "B" else mr_tiles
    steps = k.length if c_stays else tile.kr
    a_row = _vectors_over_tiles(k.length, steps, family.a_vector)
    if family.b_along == "k":
        b_all = n.length * _vectors_over_tiles(k.length, steps, family.b_vector)
    else:
        b_all = k.length * _vectors_over_tiles(n.length, tile.nr, family.b_vector)
    tally.load(where.a, times * a_times * m.length * a_row, times * a_times * m.length * k.length * width)
    tally.load(where.b, times * b_times * b_all, times * b_times * k.length * n.length * width)

    elements = times * m.length * n.length
    passing = 1 if c_stays else kr_tiles
    loads, partial_stores = elements * (passing - k.first), elements * (passing - k.last)
    tally.load(where.partial, loads, ACCUMULATOR_BYTES * loads)
    tally.store(where.partial, partial_stores, ACCUMULATOR_BYTES * partial_stores)
    tally.store(where.final, elements * k.last, width * elements * k.last)

    if problem.channel_bytes:
        words = CHANNEL_WORDS_FIRST * k.first + CHANNEL_WORDS_LAST * k.last
        tally.load("channels", times * m.length * nr_tiles * words, 4 * times * m.length * nr_tiles * words)


def kernel_stack(nest: Nest, kernel: RegisterKernel, turns: int) -> Access:
    """What a call of a kernel that goes over ``turns`` tiles, rows or columns does to the stack."""
    tile, fpu = nest.schedule.tile, nest.space.machine.core.has_fpu
    depths = stack_by_depth(nest.problem, nest.family, tile, kernel, nest.strides, fpu)
    return of_call(depths, turns, rounds(nest.family, tile.kr, kernel))


def _cut(length: int, tile: int) -> list[tuple[int, int]]:
    """The tiles of a length and how many there are of each: whole ones, and the one left over."""
    return [(size, times) for size, times in ((tile, length // tile), (length % tile, 1)) if size and times]


def _kernels_stack(nest: Nest, block: tuple[_Block, _Block, _Block]) -> Access:
    """What the register kernels do to the stack in one block: a call goes over a row of tiles (C), or over the rows or
    columns that stream past.
    """
    (m, k, n), family, tile = block, nest.family, nest.schedule.tile
    rows = [(1, 1)] if family.stationary == "B" else _cut(m.length, tile.mr)
    columns = [(1, 1)] if family.stationary == "A" else _cut(n.length, tile.nr)
    found = Access()
    for part in segments(family, tile.kr, k.length, k.first, k.last):
        for mr, down in rows:
            for nr, across in columns:
                kernel = RegisterKernel(mr, part.steps, nr, part.first, part.last)
                calls, turns = {"A": (down, n.length), "B": (across, m.length), "C": (down, across)}[family.stationary]
                found += kernel_stack(nest, kernel, turns).times(part.count * calls)
    return found


def run_accesses(length: int) -> int:
    """Accesses that copy ``length`` bytes in a row: words, then a halfword, then a byte."""
    return length // 4 + length % 4 // 2 + length % 2


def _tile_accesses(rows: int, row_bytes: int, whole_row_bytes: int) -> int:
    """Accesses that copy a tile one way; rows that are whole follow one another and make one run."""
    return run_accesses(rows * row_bytes) if row_bytes == whole_row_bytes else rows * run_accesses(row_bytes)


def _stage(tally: Tally, space: Space, schedule: Schedule) -> None:
    """The copies between the memories in which operands live and their SRAM tiles."""
    problem, c, path = space.problem, schedule_counts(space, schedule), walk_of(space, schedule)
    width, sizes = problem.width, problem.sizes
    where = buffers_of(space, schedule)
    narrow = where.accumulating and width < ACCUMULATOR_BYTES
    for operand in space.tiled(schedule):
        along, across = problem.stored(operand)
        moved = int(visits(path, c.trips, operand))
        home, tile = operand, f"{operand.lower()}_tile"
        extent = {d: schedule.block[d] if path.blocked[operand, d] else sizes[d] for d in (along, across)}
        parts = {d: _blocks(sizes[d], extent[d]) for d in (along, across)}
        for x, d in path.turns:
            if x == operand:
                parts[d], moved = _arriving(sizes[d], extent[d], moved), 1
        for row in parts[along]:
            for column in parts[across]:
                tiles, elements = row.times * column.times, row.length * column.length
                accesses = _tile_accesses(row.length, column.length * width, sizes[across] * width)
                if operand == "C":
                    accesses = elements if narrow else accesses
                    tally.load(tile, tiles * accesses, tiles * elements * width)
                    tally.store(home, tiles * accesses, tiles * elements * width)
                    tally.add("stack", stack_of_copy("narrow_rows" if narrow else "copy_rows", width).times(tiles))
                    tally.add("stack", stack_of_copy("copy_rows", width).times(2 * tiles * (moved - 1)))
                    words = tiles * elements * (moved - 1)
                    for source, target in ((tile, where.spilled), (where.spilled, tile)):
                        tally.load(source, words, ACCUMULATOR_BYTES * words)
                        tally.store(target, words, ACCUMULATOR_BYTES * words)
                else:
                    tally.load(home, tiles * moved * accesses, tiles * moved * elements * width)
                    tally.store(tile, tiles * moved * accesses, tiles * moved * elements * width)
                    tally.add("stack", stack_of_copy("copy_rows", width).times(tiles * moved))
