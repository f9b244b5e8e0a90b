"""What the templates need to know of a schedule: strides, the kernels that occur, and where tiles are moved."""

from dataclasses import dataclass

from memaopt.kernels.gemm.families import GemmFamily
from memaopt.kernels.gemm.kernel import RegisterKernel, Stretch, Strides, segments
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models.traffic import passes, schedule_counts, visits
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, INDEXED_BY, Dim, Gemm, Operand


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
    """One block loop of the emitted nest; loops that run once are left out of it."""

    dim: Dim
    trips: int
    block: int
    size: int


@dataclass(frozen=True)
class Nest:
    """Everything that the templates print."""

    space: Space
    schedule: Schedule
    strides: Strides
    loops: tuple[NestLoop, ...]
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
    def slot(self) -> int:
        """Bytes of one element of the tile of C."""
        return ACCUMULATOR_BYTES if self.accumulating else self.problem.width

    @property
    def separate_accumulators(self) -> bool:
        """C lives in SRAM, but its partial sums, wider than its elements, need a buffer beside it."""
        return self.accumulating and "C" not in self.space.staged and self.problem.width < ACCUMULATOR_BYTES

    @property
    def packed_results(self) -> bool:
        """Final results are left in the low bytes of 4-byte slots and narrowed on their way out."""
        return "C" in self.space.staged and self.accumulating and self.problem.width < ACCUMULATOR_BYTES


def nest_of(space: Space, schedule: Schedule) -> Nest:
    """The nest of a feasible schedule."""
    problem, counts = space.problem, schedule_counts(space, schedule)
    accumulating = bool(passes(schedule.family, counts) > 1)
    spilling = bool(visits(schedule.order, counts.trips, "C") > 1)
    loops = tuple(
        NestLoop(d, int(counts.trips[d]), schedule.block[d], problem.sizes[d])
        for d in schedule.order
        if counts.trips[d] > 1
    )
    depth: dict[Operand, int] = {}
    moves: dict[Operand, int] = {}
    for operand in sorted(space.staged):
        depth[operand] = max((i + 1 for i, loop in enumerate(loops) if loop.dim in INDEXED_BY[operand]), default=0)
        moves[operand] = 1
        for loop in loops[: depth[operand]]:
            moves[operand] *= loop.trips
    blocks = _blocks(problem, schedule, int(counts.tk))
    m_rests, n_rests = (_rests(problem.sizes[d], schedule.block[d], getattr(schedule, f"{d}r")) for d in ("m", "n"))
    return Nest(
        space,
        schedule,
        _strides(space, schedule, accumulating, spilling),
        loops,
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
    ordered = sorted(phases, key=lambda p: (not p[1], p[2]))
    family, kr = schedule.family, schedule.kr
    return tuple(BlockFunction(kc, first, last, segments(family, kr, kc, first, last)) for kc, first, last in ordered)


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


def _strides(space: Space, schedule: Schedule, accumulating: bool, spilling: bool) -> Strides:
    """Where the kernels find the next row or column, given what is staged and how operands are stored."""
    problem, staged, width = space.problem, space.staged, space.problem.width
    row_of_a = schedule.kc if "A" in staged else problem.k
    _, along_b = problem.stored("B")
    row_of_b = schedule.block[along_b] if "B" in staged else problem.sizes[along_b]
    _, along_c = problem.stored("C")
    row_of_c, slot = problem.sizes[along_c], width
    if "C" in staged:
        row_of_c, slot = schedule.block[along_c], ACCUMULATOR_BYTES if accumulating else width
    row_of_sums = row_of_c if "C" in staged or spilling or width == ACCUMULATOR_BYTES else schedule.block[along_c]
    out, acc = (row_of_c * slot, slot), (row_of_sums * ACCUMULATOR_BYTES, ACCUMULATOR_BYTES)
    if problem.element.channels_minor:
        out, acc = out[::-1], acc[::-1]
    return Strides(row_of_a * width, row_of_b * width, *out, *acc)


__all__ = ["DIMS", "BlockFunction", "Nest", "NestLoop", "RegisterKernel", "Stretch", "Strides", "nest_of"]
