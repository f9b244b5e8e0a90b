"""Which schedules a machine can run, and what is to say where there are none."""

from collections.abc import Iterator, Sequence

from memaopt.errors import InfeasibleError
from memaopt.inputs import any_of
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import BLOCK_LEVEL, REGISTER_LEVEL, Schedule, Space
from memaopt.models.traffic import counts, footprint, may_be_direct, passes, schedule_counts
from memaopt.models.walks import choices, kept_by, visits, walk, walk_of
from memaopt.problems.gemm import DIMS, OPERANDS
from memaopt.spelling import either


def why_infeasible(space: Space, schedule: Schedule) -> str | None:
    """Why the schedule is outside the space, or None if it is inside."""
    problem = space.problem
    for d in DIMS:
        if schedule.block[d] > problem.sizes[d]:
            return f"{d}c = {schedule.block[d]} is larger than {d.upper()} = {problem.sizes[d]}"
    if (schedule.streamed, schedule.code) != (space.streamed, space.code):
        return f"operands streamed and place of the code differ from {space.streamed} and {space.code}"
    if schedule.buffering != space.buffering:
        return f"buffering is {schedule.buffering}, not {space.buffering}"
    if (schedule.family, schedule.tile) not in space.kernels:
        return _why_no_kernel(space, schedule)
    if schedule.turning and (why := _why_not_turning(space, schedule)) is not None:
        return why
    c, path = schedule_counts(space, schedule), walk_of(space, schedule)
    for x, level in schedule.levels.items():
        if x not in space.staged and level != BLOCK_LEVEL:
            return f"{x} is not staged, and has no hold level {level}"
        if level == REGISTER_LEVEL and not may_be_direct(schedule.family, c, x):
            return f"{x} without a tile does not stay in the registers of {schedule.kernel}"
    if visits(path, c.trips, "C") > 1 and not space.may_spill:
        return f"partial sums leave SRAM, and {problem.placement.c} has no room for them"
    accumulating = passes(schedule.family, c) > 1
    need = footprint(space, path, schedule.mc, schedule.kc, schedule.nc, accumulating)
    if need > space.capacity:
        return f"its tiles need {need:,} bytes of SRAM, and {space.capacity:,} are left for them"
    return None


def _why_no_kernel(space: Space, schedule: Schedule) -> str:
    """Why no kernel of the space has the family and tile of the schedule."""
    family, tile = schedule.family, schedule.tile
    if family.dtype != space.problem.dtype:
        return f"{family.name} is a kernel of {family.dtype}, not of {space.problem.dtype}"
    if tile.mr not in family.mr or tile.kr not in family.kr or tile.nr not in family.nr:
        return f"{family.name} has no tile {tile}: MR is {_of(family.mr)}, KR {_of(family.kr)}, NR {_of(family.nr)}"
    return f"no kernel {family.name} {tile} fits the registers"


def _of(values: Sequence[int]) -> str:
    """The values that a template can unroll to."""
    return f"{values[0]} to {values[-1]}" if isinstance(values, range) else any_of([str(value) for value in values])


def _why_not_turning(space: Space, schedule: Schedule) -> str | None:
    """Why the middle loop of the schedule cannot run there and back, None if it can."""
    outer, inner, innermost = schedule.order
    kept, runs = kept_by(schedule.order), {d: schedule.block[d] < space.problem.sizes[d] for d in DIMS}
    if not space.may_turn:
        return "loops run there and back under objective bytes with single buffering alone"
    if not (runs[outer] and runs[inner]) or runs[innermost]:
        return f"loop {inner} runs there and back where {outer} and {inner} run more than once and {innermost} once"
    if kept == "C" or kept not in space.staged or schedule.levels[kept] != BLOCK_LEVEL:
        return f"loop {inner} runs there and back for a block of A or B that is staged, and {kept} has none"
    return None


def check_feasible(space: Space) -> None:
    """Raise InfeasibleError, with the least SRAM that would do, if no schedule fits."""
    problem, machine = space.problem, space.machine
    if not space.kernels and not machine.core.has_fpu:
        raise InfeasibleError(f"no {problem.dtype} kernel runs on a {machine.core.title}: choose q15 or s8")
    if not space.kernels:
        raise InfeasibleError(
            f"no {problem.dtype} kernel fits the {machine.core.core_registers} core and "
            f"{machine.core.fpu_registers} FPU registers of {machine.name}"
        )
    if all(need > space.capacity for need in _tile_needs(space)):
        raise beyond_sram(space, least_tiles(space))


def least_tiles(space: Space) -> int:
    """The fewest bytes of SRAM that the tiles of a nest take."""
    return min(_tile_needs(space))


def _tile_needs(space: Space) -> Iterator[int]:
    """What tiles of the smallest blocks take, by the operand that stays in registers; the least is among them."""
    sizes, family_of = {1, space.problem.k}, {family.stationary: family for family, _ in space.kernels}
    widest = {x: max(tile.kr for family, tile in space.kernels if family.stationary == x) for x in family_of}
    for x, family in family_of.items():
        for kc in sizes:
            yield least_of(space, family, RegisterTile(1, widest[x], 1), (1, kc, 1))


def least_of(space: Space, family: GemmFamily, tile: RegisterTile, block: tuple[int, int, int]) -> int:
    """The fewest bytes of SRAM that tiles of this block take, whatever the walk."""
    c = counts(space.problem, *block, tile)
    needs = [
        int(footprint(space, path, *block, passes(family, c) > 1))
        for path in (walk(space, *each) for each in choices(space, family.stationary))
        if (space.may_spill or visits(path, c.trips, "C") == 1)
        and all(may_be_direct(family, c, x) for x in OPERANDS if path.direct[x])
    ]
    return min(needs)


def beyond_sram(space: Space, least: int) -> InfeasibleError:
    """What is to say where the ``least`` bytes that a schedule takes are more than the capacity."""
    problem, machine = space.problem, space.machine
    need, have = machine.sram.size - space.capacity + least, machine.sram.size
    more = either("--sram", f"machine.with_sizes(sram={need})")
    return InfeasibleError(
        f"gemm {problem.name} {problem.dtype} does not fit the SRAM of {machine.name}: the least that would "
        f"do is {need:,} bytes and there are {have:,}; give more with {more} or place operands elsewhere"
    )
