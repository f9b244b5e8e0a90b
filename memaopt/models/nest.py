"""What the templates need to know of a schedule: strides, the kernels that occur, and where tiles are moved."""

from dataclasses import dataclass

from memaopt.kernels.gemm.families import GemmFamily
from memaopt.kernels.gemm.kernel import RegisterKernel, Stretch, Strides, segments
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models.traffic import passes, schedule_counts
from memaopt.models.turning import lengths
from memaopt.models.walks import visits, walk_of
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, INDEXED_BY, OPERANDS, Dim, Gemm, Operand


@dataclass(frozen=True)
class BlockFunction:
    """One block function: a length of the reduction and its phase, split into segments of register tiles."""

    kc: int
    first: bool
    last: bool
    segments: tuple[Stretch, ...]

    @property
    def name(self) -> str:
        """The function's name in C."""
        phase = {(True, True): "", (True, False): "_first", (False, False): "_middle", (False, True): "_last"}
        return f"block_{self.kc}{phase[self.first, self.last]}"


@dataclass(frozen=True)
class NestLoop:
    """One block loop of the emitted nest; loops that run once are left out of it. ``kept``: the operand whose tile
    stays where the loop turns, None if it does not turn.
    """

    dim: Dim
    trips: int
    block: int
    size: int
    kept: Operand | None = None


@dataclass(frozen=True)
class Nest:
    """Everything that the templates print."""

    space: Space
    schedule: Schedule
    strides: Strides
    loops: tuple[NestLoop, ...]
    tiled: frozenset[Operand]
    extent: dict[Operand, dict[Dim, int]]
    depth: dict[Operand, int]
    moves: dict[Operand, int]
    blocks: tuple[BlockFunction, ...]
    kernels: tuple[RegisterKernel, ...]
    m_rests: tuple[int, ...]
    n_rests: tuple[int, ...]
    accumulating: bool
    spilling: bool

    @property
    def problem(self) -> Gemm:
        """The problem, its placement decided."""
        return self.space.problem

    @property
    def family(self) -> GemmFamily:
        """The kernel family."""
        return self.schedule.family

    @property
    def full_m(self) -> bool:
        """Whether any register tile has all MR rows."""
        return self.schedule.mc >= self.schedule.mr

    @property
    def full_n(self) -> bool:
        """Whether any register tile has all NR columns."""
        return self.schedule.nc >= self.schedule.nr

    @property
    def separate_accumulators(self) -> bool:
        """C lives in SRAM, but its partial sums, wider than its elements, need a buffer beside it."""
        return self.accumulating and "C" not in self.space.staged and self.problem.width < ACCUMULATOR_BYTES

    @property
    def packed_results(self) -> bool:
        """Final results are left in the low bytes of 4-byte slots and narrowed on their way out."""
        return "C" in self.tiled and self.accumulating and self.problem.width < ACCUMULATOR_BYTES

    def runs(self, d: Dim) -> bool:
        """Whether loop ``d`` is in the nest."""
        return any(loop.dim == d for loop in self.loops)

    def cuts(self, operand: Operand, d: Dim) -> bool:
        """Whether loop ``d`` moves on from tile to tile of the operand."""
        return self.runs(d) and self.extent[operand][d] < self.problem.sizes[d]


def nest_of(space: Space, schedule: Schedule) -> Nest:
    """The nest of a feasible schedule."""
    problem, counts = space.problem, schedule_counts(space, schedule)
    path, tiled = walk_of(space, schedule), space.tiled(schedule)
    kept: dict[Dim, Operand] = {d: x for x, d in path.turns}
    accumulating = bool(passes(schedule.family, counts) > 1)
    spilling = bool(visits(path, counts.trips, "C") > 1)
    loops = tuple(
        NestLoop(d, int(counts.trips[d]), schedule.block[d], problem.sizes[d], kept.get(d))
        for d in schedule.order
        if counts.trips[d] > 1
    )
    extent: dict[Operand, dict[Dim, int]] = {
        x: {d: schedule.block[d] if path.blocked[x, d] else problem.sizes[d] for d in INDEXED_BY[x]} for x in OPERANDS
    }
    depth: dict[Operand, int] = {}
    moves: dict[Operand, int] = {}
    for operand in sorted(tiled):
        cutting = [
            i + 1 for i, loop in enumerate(loops) if extent[operand].get(loop.dim, loop.size) < problem.sizes[loop.dim]
        ]
        depth[operand] = max(cutting, default=0)
        moves[operand] = 1
        for loop in loops[: depth[operand]]:
            moves[operand] *= loop.trips
    blocks = _blocks(problem, schedule, int(counts.tk))
    m_rests, n_rests = (_rests(problem.sizes[d], schedule.block[d], getattr(schedule, f"{d}r")) for d in ("m", "n"))
    return Nest(
        space,
        schedule,
        _strides(space, extent, tiled, accumulating),
        loops,
        tiled,
        extent,
        depth,
        moves,
        blocks,
        _kernels(schedule, blocks, m_rests, n_rests),
        m_rests,
        n_rests,
        accumulating,
        spilling,
    )


def _block_sizes(size: int, block: int) -> tuple[int, ...]:
    """The distinct lengths of the blocks of a loop: a full one, and the last if it is ragged."""
    rest = size % block
    return (block, rest) if rest and size > block else (block,)


def _rests(size: int, block: int, tile: int) -> tuple[int, ...]:
    """The ragged register tiles at the edges of the blocks of a loop, largest first."""
    return tuple(sorted({b % tile for b in _block_sizes(size, block)} - {0}, reverse=True))


def _blocks(problem: Gemm, schedule: Schedule, tk: int) -> tuple[BlockFunction, ...]:
    """The block functions needed: one if K is not cut, else one each for the first, middle and last parts."""
    last = problem.k - (tk - 1) * schedule.kc
    phases = {(schedule.kc if tk > 1 else problem.k, True, tk == 1)}
    if tk > 2:
        phases.add((schedule.kc, False, False))
    if tk > 1:
        phases.add((last, False, True))
    if tk > 1 and schedule.turning and schedule.order[1] == "k":
        phases = _turning_phases(lengths(problem.k, schedule.kc))
    ordered = sorted(phases, key=lambda p: (not p[1], p[2], -p[0]))
    family, kr = schedule.family, schedule.kr
    return tuple(BlockFunction(kc, first, last, segments(family, kr, kc, first, last)) for kc, first, last in ordered)


def _turning_phases(blocks: list[int]) -> set[tuple[int, bool, bool]]:
    """Length and phase of each block of a reduction that runs there and back."""
    middle = {(length, False, False) for length in blocks[1:-1]}
    ends = {phase for length in (blocks[0], blocks[-1]) for phase in ((length, True, False), (length, False, True))}
    return middle | ends


def _kernels(
    schedule: Schedule, blocks: tuple[BlockFunction, ...], m_rests: tuple[int, ...], n_rests: tuple[int, ...]
) -> tuple[RegisterKernel, ...]:
    """Every register kernel that some block calls."""
    mrs = [schedule.mr] if schedule.mc >= schedule.mr else []
    nrs = [schedule.nr] if schedule.nc >= schedule.nr else []
    phases = sorted({(s.steps, s.first, s.last) for block in blocks for s in block.segments}, reverse=True)
    return tuple(
        RegisterKernel(mr, steps, nr, first, last)
        for steps, first, last in phases
        for mr in (*mrs, *m_rests)
        for nr in (*nrs, *n_rests)
    )


def _strides(
    space: Space, extent: dict[Operand, dict[Dim, int]], tiled: frozenset[Operand], accumulating: bool
) -> Strides:
    """Where the kernels find the next row or column: in a tile, or where the operand lives."""
    problem, width = space.problem, space.problem.width

    def row(operand: Operand, in_tile: bool) -> int:
        along = problem.stored(operand)[1]
        return extent[operand][along] if in_tile else problem.sizes[along]

    slot = ACCUMULATOR_BYTES if accumulating and "C" in tiled else width
    row_of_c = row("C", "C" in tiled)
    row_of_sums = row("C", "C" in tiled or ("C" not in space.staged and width < ACCUMULATOR_BYTES))
    out, acc = (row_of_c * slot, slot), (row_of_sums * ACCUMULATOR_BYTES, ACCUMULATOR_BYTES)
    if problem.element.channels_minor:
        out, acc = out[::-1], acc[::-1]
    return Strides(row("A", "A" in tiled) * width, row("B", "B" in tiled) * width, *out, *acc)


__all__ = ["DIMS", "BlockFunction", "Nest", "NestLoop", "RegisterKernel", "Stretch", "Strides", "nest_of"]
