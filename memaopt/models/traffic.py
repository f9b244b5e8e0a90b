"""The one cost function: what a schedule moves between external memory, SRAM and registers, and what it costs.

The formulas take integers or numpy arrays alike, so that the exhaustive proof can price a whole grid at once.
With trip counts t and register-tile counts r over all blocks, loops outermost first:

* a tile of operand X is moved each time the nest arrives at one that is not the one held, so X is moved
  ``visits(X)`` times (:mod:`memaopt.models.walks`): the trip count of the loop that does not index X, if that loop lies
  outside one that cuts X's tiles and runs more than once, else 1; an operand that has no tile, because it stays in
  registers, as often as that loop runs;
* between SRAM and registers the stationary operand is read once for each block-level trip of the loop that
  does not index it, and the others once for each of its register tiles;
* a partial sum that leaves its level is ``ACCUMULATOR_BYTES`` wide, a final result has its own width.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from memaopt.errors import InfeasibleError
from memaopt.kernels.gemm.families import CYCLE, Cost, Cycles, GemmFamily, RegisterTile, Shape
from memaopt.kernels.schedule import BLOCK_LEVEL, IN_BLOCKS, ORDERS, REGISTER_LEVEL, Schedule, Space
from memaopt.machines.memory import Memory
from memaopt.models.kernel_waits import waits_of_a_tile
from memaopt.models.waits import timing
from memaopt.models.walks import BlockWalk, Flags, Ints, choices, tile_elements, visits, walk, walk_of
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, OPERANDS, REVISITED_BY, Dim, Gemm, Operand


class Counts(NamedTuple):
    """What determines the traffic of a schedule: for each loop, trips over blocks (t) and register tiles (r)."""

    tm: Ints
    tk: Ints
    tn: Ints
    rm: Ints
    rk: Ints
    rn: Ints

    @property
    def trips(self) -> dict[Dim, Ints]:
        """Trip counts of the block loops by loop name."""
        return {"m": self.tm, "k": self.tk, "n": self.tn}

    @property
    def register_tiles(self) -> dict[Dim, Ints]:
        """Register tiles along each loop, summed over its blocks, by loop name."""
        return {"m": self.rm, "k": self.rk, "n": self.rn}


def ceil_div(a: Ints, b: Ints) -> Ints:
    """The smallest integer not below a / b."""
    return -(-a // b)


def tiles_over_blocks(size: int, block: Ints, tile: int) -> Ints:
    """Register tiles along a loop of ``size``, cut into blocks first and each block into tiles of ``tile``."""
    trips = ceil_div(size, block)
    return (trips - 1) * ceil_div(block, tile) + ceil_div(size - (trips - 1) * block, tile)


def counts(problem: Gemm, mc: Ints, kc: Ints, nc: Ints, tile: RegisterTile) -> Counts:
    """The trip counts and register-tile counts of blocks MC x KC x NC computed with ``tile``."""
    m, k, n = problem.m, problem.k, problem.n
    return Counts(
        ceil_div(m, mc),
        ceil_div(k, kc),
        ceil_div(n, nc),
        tiles_over_blocks(m, mc, tile.mr),
        tiles_over_blocks(k, kc, tile.kr),
        tiles_over_blocks(n, nc, tile.nr),
    )


def passes(family: GemmFamily, c: Counts) -> Ints:
    """How often each element of C leaves the registers: once for each part of the reduction done apart."""
    return c.tk if family.stationary == "C" else c.rk


def external_bytes_of(space: Space, operand: Operand, path: BlockWalk, c: Counts) -> Ints:
    """Bytes of ``operand`` moved between the memory it lives in and SRAM or the registers; 0 if it is not staged."""
    problem, times = space.problem, visits(path, c.trips, operand)
    if operand not in space.staged:
        return 0 * times
    if operand == "C":
        return problem.elements("C") * (problem.width + 2 * ACCUMULATOR_BYTES * (times - 1))
    return problem.bytes_of(operand) * times


def external_bytes(space: Space, path: BlockWalk, c: Counts) -> Ints:
    """Bytes moved between external memory and SRAM, or straight to and from the registers."""
    total: Ints = 0
    for operand in OPERANDS:
        total = total + external_bytes_of(space, operand, path, c)
    return total


def register_bytes(problem: Gemm, family: GemmFamily, c: Counts) -> Ints:
    """Bytes moved between SRAM and registers by the kernels, parameters of output channels included, what they keep on
    the stack not (:func:`memaopt.models.accesses.promise`): its time is part of :func:`kernel_time`.
    """

    def times(operand: Operand) -> Ints:
        loop = REVISITED_BY[operand]
        return c.trips[loop] if family.stationary == operand else c.register_tiles[loop]

    c_element = problem.width + 2 * ACCUMULATOR_BYTES * (times("C") - 1)
    return (
        problem.bytes_of("A") * times("A")
        + problem.bytes_of("B") * times("B")
        + problem.elements("C") * c_element
        + problem.m * problem.channel_bytes * c.rn
    )


def footprint(space: Space, path: BlockWalk, mc: Ints, kc: Ints, nc: Ints, accumulating: Flags) -> Ints:
    """Bytes of SRAM for the tiles.

    ``accumulating``: partial sums leave the registers, so a tile of C has 4-byte elements, and a narrower C that lives
    in SRAM has such a tile beside it.
    """
    problem, block = space.problem, {"m": mc, "k": kc, "n": nc}
    width, total = problem.width, 0 * mc * kc * nc
    for operand in OPERANDS:
        slot: Ints = width
        if operand == "C":
            slot = width + (ACCUMULATOR_BYTES - width) * accumulating
        if operand in space.staged:
            tile = tile_elements(problem, path, operand, block)  # type: ignore[arg-type]
            total = total + space.copies * slot * tile * (1 - path.direct[operand])
        elif operand == "C" and width < ACCUMULATOR_BYTES:
            tile = tile_elements(problem, path, operand, block)  # type: ignore[arg-type]
            total = total + ACCUMULATOR_BYTES * accumulating * tile
    return total


def may_be_direct(family: GemmFamily, c: Counts, operand: Operand) -> Flags:
    """Whether ``operand`` may do without a tile: it stays in registers, or is a C whose sums never leave them."""
    return family.stationary == operand or (operand == "C" and passes(family, c) == 1)


def kernel_shape(problem: Gemm) -> Shape:
    """The shape that the families' cost data ask for, with the strides of operands that are not in tiles."""
    return Shape(problem.k, problem.row("A") * problem.width, problem.row("B") * problem.width)


@lru_cache(maxsize=4096)
def _cost(family: GemmFamily, tile: RegisterTile, shape: Shape) -> Cost:
    return family.cost(tile, shape)


def steps_left_over(problem: Gemm, family: GemmFamily, tile: RegisterTile) -> int:
    """The k that whole steps of KR leave over: done one by one if C is stationary, else in a shorter step."""
    return problem.k % tile.kr if family.stationary == "C" else 0


def kernel_time(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts) -> Ints:
    """What the kernels spend at zero wait states by the family's cost data, edges included, in 1/CYCLE of a cycle."""
    problem = space.problem
    m, n = problem.m, problem.n
    cost, left_over = _cost(family, tile, kernel_shape(problem)), steps_left_over(problem, family, tile)

    def over_tiles(rate: Cycles, times: Ints) -> Ints:
        mn, per_m, per_n, one = rate
        return times * (mn * m * n + per_m * m * c.rn + per_n * n * c.rm + one * c.rm * c.rn)

    total: Ints = over_tiles(cost.step, c.rk - int(left_over > 0)) + over_tiles(cost.tail, left_over)
    total = total + over_tiles(cost.ends, passes(family, c)) + over_tiles(cost.once, 1)
    if family.stationary == "B":
        return total + c.rk * c.tm * (cost.call.n * n + cost.call.one * c.rn)
    calls: Ints = c.rk * c.tn if family.stationary == "A" else c.tk * (c.tn + int(n % tile.nr > 0))
    a_unaligned, b_unaligned = unaligned_shares(space, family)
    each: Ints = cost.call.m * m + cost.call.one * c.rm
    unaligned: Ints = a_unaligned * c.rn + b_unaligned * c.rm
    called: Ints = calls * each
    return total + called + unaligned


def kernel_cycles(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts) -> Ints:
    """:func:`kernel_time` in whole cycles."""
    return kernel_time(space, family, tile, c) // CYCLE


#: Cycles that LDR takes beyond its own at byte offsets 0 to 3 from a word (docs/timing.md).
UNALIGNED_CYCLES = (0, 2, 1, 2)


def unaligned_shares(space: Space, family: GemmFamily) -> tuple[int, int]:
    """What one reading of A, and one of B, costs beyond aligned words, in 1/CYCLE of a cycle.

    Rows need not be whole words, be they of an operand or of its tile, which is taken to hold them whole.
    """
    problem = space.problem
    if family.stationary != "C" or problem.width == ACCUMULATOR_BYTES:
        return 0, 0

    def share(operand: Operand, row: int, vector: int) -> int:
        cycles = sum(UNALIGNED_CYCLES[i * row * problem.width % 4] for i in range(4))
        return CYCLE * cycles * (problem.elements(operand) // vector) // 4

    return share("A", problem.row("A"), family.a_vector), share("B", problem.row("B"), family.b_vector)


def stall_per_byte(memory: Memory) -> int:
    """What a byte of data read in order from ``memory`` stalls the core, in 1/CYCLE of a cycle.

    Behind an accelerator a read of the array delivers ``read_bytes`` at once (RM0432 and RM0090, flash memory).
    """
    if memory.accelerator is not None:
        return CYCLE * memory.first // memory.accelerator.read_bytes
    return CYCLE * memory.next // 4


def rereads(space: Space, family: GemmFamily, tile: RegisterTile) -> bool:
    """Whether a streamed A is read from its memory again for each tile of columns.

    Not if the kernel keeps it in registers, nor if the rows that it goes over again and again (MR of them, or all if
    B stays in registers) stay in the accelerator's data cache, with the channels' parameters; each may begin within a
    line.
    """
    accelerator = space.machine.memory(space.problem.placement.a).accelerator
    if family.stationary == "A":
        return False
    if accelerator is None:
        return True
    rows = space.problem.m if family.stationary == "B" else tile.mr
    wanted = (rows * space.problem.k * space.problem.width, rows * space.problem.channel_bytes)
    lines = sum(-(-size // accelerator.line_bytes) + 1 for size in wanted if size)
    return lines > accelerator.data_lines


def fetch_cycles(space: Space) -> int:
    """Cycles beyond one for each word fetched where the code runs: RAM on the system bus has some (Arm DDI 0439)."""
    if space.code == "flash":
        return 0
    return next(place.fetch for place in space.machine.places if place.name == space.machine.code_ram)


def _data_stalls(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts) -> Ints:
    """What streamed operands wait."""
    if "A" not in space.streamed:
        return 0 * c.rn
    home = space.machine.memory(space.problem.placement.a)
    times = c.rn if rereads(space, family, tile) else c.tn
    return stall_per_byte(home) * space.problem.bytes_of("A") * times


def stall_time(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts, waiting: bool = True) -> Ints:
    """What wait states add to the kernels: streamed operands, and code in flash unless it is not ``waiting``."""
    total = _data_stalls(space, family, tile, c)
    if not waiting:
        return total
    return total + code_waits(space, family, tile) * c.rm * c.rn * passes(family, c)


def code_waits(space: Space, family: GemmFamily, tile: RegisterTile) -> int:
    """What the code of one register tile waits for flash, in 1/CYCLE of a cycle.

    Under ``cycles`` and ``energy`` only kernels that could be chosen have a price: one that takes longer without
    waiting than another with it has none.
    """
    if space.code == "ram" or space.machine.memory("flash").first == 0:
        return 0
    priced = space.code_waits
    if space.objective != "bytes" and not priced:
        _price_code(space, priced)
    key = (family.name, tile)
    if key not in priced:
        priced[key] = waits_of_a_tile(space.problem, family, tile, timing(space.machine))
    return priced[key]


def _price_code(space: Space, priced: dict[tuple[str, RegisterTile], int]) -> None:
    """Price the kernels, those first that take the least time without waiting."""
    problem, machine = space.problem, timing(space.machine)
    m, k, n = problem.m, problem.k, problem.n
    plain = walk(space, ORDERS[0], IN_BLOCKS)
    staged, direct, once = staging_cycles(space), direct_cycles(space), {x: problem.bytes_of(x) for x in space.staged}
    cheapest = sum(min(staged[x], direct[x]) * size for x, size in once.items())
    dearest = sum(staged[x] * size for x, size in once.items())
    entries = []
    for i, (family, tile) in enumerate(space.kernels):
        c = counts(problem, m, k, n, tile)
        entries.append((int(kernel_time(space, family, tile, c) + _data_stalls(space, family, tile, c)), i, c))
    best: int | None = None
    for least, i, c in sorted(entries):
        family, tile = space.kernels[i]
        if best is not None and least + cheapest > best:
            priced[family.name, tile] = 0
            continue
        wait = waits_of_a_tile(problem, family, tile, machine)
        priced[family.name, tile] = wait
        times = int(passes(family, c))
        # Only a block that fits shows what is possible; in one, what crosses does so once.
        if int(footprint(space, plain, m, k, n, times > 1)) <= space.capacity:
            whole = least + wait * int(c.rm) * int(c.rn) * times + dearest
            best = whole if best is None else min(best, whole)


class UnitPrices(NamedTuple):
    """Integer prices, in 1/CYCLE of a cycle or of a picojoule: of a unit of kernel cost, and of a byte that crosses,
    through a tile or straight to or from registers.
    """

    unit: int
    staged_byte: dict[Operand, int]
    direct_byte: dict[Operand, int]


#: Core cycles to copy a word within zero-wait-state memory: a load, a store and a share of the loop.
COPY_CYCLES_PER_WORD = 3


def staging_cycles(space: Space) -> dict[Operand, int]:
    """What staging a byte of each operand takes, in 1/CYCLE of a cycle."""
    homes = {x: space.machine.memory(space.problem.placement.of(x)) for x in OPERANDS}
    return {x: CYCLE * COPY_CYCLES_PER_WORD // 4 + stall_per_byte(home) for x, home in homes.items()}


def direct_cycles(space: Space) -> dict[Operand, int]:
    """What a byte waits that moves straight between an operand's memory and registers, in 1/CYCLE of a cycle.

    Words of A and B and single elements of C, none of them next to the one before.
    """

    def wait(operand: Operand) -> int:
        home = space.machine.memory(space.problem.placement.of(operand))
        if home.accelerator is not None:
            return stall_per_byte(home)
        return CYCLE * home.first // (space.problem.width if operand == "C" else 4)

    return {x: wait(x) for x in OPERANDS}


def time_unit(space: Space) -> int:
    """The price of 1/CYCLE of a cycle: itself, or the picojoules that a cycle takes."""
    return round(space.machine.power_mw * 1e9 / space.machine.clock_hz) if space.objective == "energy" else 1


def prices(space: Space) -> UnitPrices:
    """What the machine's figures make of the traffic under the objective ``cycles`` or ``energy``."""
    unit, staged, direct = time_unit(space), staging_cycles(space), direct_cycles(space)
    if space.objective == "cycles":
        return UnitPrices(unit, staged, direct)
    homes = {x: space.machine.memory(space.problem.placement.of(x)) for x in OPERANDS}
    energy = {x: CYCLE * round(home.energy_pj_per_byte) for x, home in homes.items()}
    return UnitPrices(
        unit,
        {x: unit * staged[x] + energy[x] for x in OPERANDS},
        {x: unit * direct[x] + energy[x] for x in OPERANDS},
    )


def _crossing(space: Space, rates: UnitPrices, path: BlockWalk, c: Counts) -> Ints:
    """What the external bytes cost at these prices."""
    total: Ints = 0
    for x in OPERANDS:
        rate = rates.staged_byte[x] + path.direct[x] * (rates.direct_byte[x] - rates.staged_byte[x])
        total = total + rate * external_bytes_of(space, x, path, c)
    return total


def staging_cost(space: Space, path: BlockWalk, c: Counts) -> Ints:
    """The objective's part that the blocks alone decide: external bytes, or what they cost."""
    return external_bytes(space, path, c) if space.objective == "bytes" else _crossing(space, prices(space), path, c)


def kernel_cost(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts) -> Ints:
    """The objective's part that the kernel decides: register bytes, or what its cycles cost."""
    if space.objective == "bytes":
        return register_bytes(space.problem, family, c)
    return time_unit(space) * waited_time(space, family, tile, c)


def waited_time(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts, waiting: bool = True) -> Ints:
    """What the kernels spend with the machine's wait states in its setting, in 1/CYCLE of a cycle.

    Without ``waiting`` for code in flash: what it takes at least.
    """
    busy = kernel_time(space, family, tile, c) * (1 + fetch_cycles(space))
    return busy + stall_time(space, family, tile, c, waiting)


def called_time(
    space: Space, family: GemmFamily, tile: RegisterTile, path: BlockWalk, c: Counts, waiting: bool = True
) -> Ints:
    """What one call takes: the kernels (:func:`waited_time`), and what crosses, in 1/CYCLE of a cycle."""
    rates = UnitPrices(1, staging_cycles(space), direct_cycles(space))
    return waited_time(space, family, tile, c, waiting) + _crossing(space, rates, path, c)


def predicted_cycles(space: Space, schedule: Schedule) -> int:
    """Cycles of one call, with what is staged and the machine's wait states in its setting, as predicted."""
    c = schedule_counts(space, schedule)
    return int(called_time(space, schedule.family, schedule.tile, walk_of(space, schedule), c)) // CYCLE


def combined(space: Space, staging: Ints, kernel: Ints) -> tuple[Ints, ...]:
    """The objective's value: staging first and then the kernel under ``bytes``, else their sum."""
    return (staging, kernel) if space.objective == "bytes" else (staging + kernel,)


def price(space: Space, family: GemmFamily, tile: RegisterTile, path: BlockWalk, c: Counts) -> tuple[Ints, ...]:
    """The objective's value, lexicographic: smaller is better, the most important part first.

    ``bytes``: external bytes, then register bytes. ``cycles`` and ``energy``: one part, in 1/CYCLE of a cycle
    or picojoule; the kernels' cycles and the staged bytes at the machine's figures.
    """
    return combined(space, staging_cost(space, path, c), kernel_cost(space, family, tile, c))


def schedule_counts(space: Space, schedule: Schedule) -> Counts:
    """The trip counts and register-tile counts of one schedule."""
    return counts(space.problem, schedule.mc, schedule.kc, schedule.nc, schedule.tile)


def price_of(space: Space, schedule: Schedule) -> tuple[int, ...]:
    """The objective's value for one schedule."""
    c = schedule_counts(space, schedule)
    return tuple(int(part) for part in price(space, schedule.family, schedule.tile, walk_of(space, schedule), c))


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
        return f"no kernel {schedule.kernel} {schedule.tile} fits the registers"
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
    """What tiles of the smallest blocks take, by the operand that stays in registers; none take fewer than the least."""
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
    return InfeasibleError(
        f"gemm {problem.name} {problem.dtype} does not fit the SRAM of {machine.name}: the least that would "
        f"do is {need:,} bytes and there are {have:,}; give more with --sram or place operands elsewhere"
    )
