"""What the kernels of a nest spend, wait for and copy, in 1/CYCLE of a cycle, from the families' cost data.

As in :mod:`memaopt.models.traffic` the formulas take integers or numpy arrays alike.
"""

from functools import lru_cache
from typing import NamedTuple

from memaopt.kernels.around import UNALIGNED
from memaopt.kernels.gemm.families import CYCLE, Cost, Cycles, GemmFamily, RegisterTile, Shape
from memaopt.kernels.schedule import IN_BLOCKS, ORDERS, Space
from memaopt.machines.memory import Memory
from memaopt.models.kernel_waits import waits_of_a_tile
from memaopt.models.traffic import Counts, counts, footprint, passes
from memaopt.models.waits import timing
from memaopt.models.walks import Ints, walk
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, Gemm, Operand


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


def unaligned_shares(space: Space, family: GemmFamily) -> tuple[int, int]:
    """What one reading of A, and one of B, costs beyond aligned words, in 1/CYCLE of a cycle.

    Rows need not be whole words, be they of an operand or of its tile, which is taken to hold them whole.
    """
    problem = space.problem
    if family.stationary != "C" or problem.width == ACCUMULATOR_BYTES:
        return 0, 0

    def share(operand: Operand, row: int, vector: int) -> int:
        cycles = sum(UNALIGNED[i * row * problem.width % 4] for i in range(4))
        return CYCLE * cycles * (problem.elements(operand) // vector) // 4

    return share("A", problem.row("A"), family.a_vector), share("B", problem.row("B"), family.b_vector)


def stall_per_byte(memory: Memory) -> int:
    """What a byte of data read in order from ``memory`` stalls the core, in 1/CYCLE of a cycle.

    Behind an accelerator that keeps data a read of the array delivers ``read_bytes`` at once (RM0432 and RM0090, flash
    memory); behind another each load, of a word, waits for its own.
    """
    if memory.accelerator is not None:
        return CYCLE * memory.first // (memory.accelerator.read_bytes if memory.accelerator.load_lines else 4)
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
    return lines > accelerator.load_lines


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


class _Copy(NamedTuple):
    """Core cycles to copy a word within zero-wait-state memory: an estimate, an instruction a cycle.

    The loop of copy_rows takes 14 for four words by its instructions (docs/timing.md), half a cycle a word more.
    """

    load: int = 1
    store: int = 1
    loop: int = 1  # a share of it

    @property
    def word(self) -> int:
        return self.load + self.store + self.loop


_COPY = _Copy()


def staging_cycles(space: Space) -> dict[Operand, int]:
    """What staging a byte of each operand takes, in 1/CYCLE of a cycle."""
    homes = {x: space.machine.memory(space.problem.placement.of(x)) for x in OPERANDS}
    return {x: CYCLE * _COPY.word // 4 + stall_per_byte(home) for x, home in homes.items()}


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


def waited_time(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts, waiting: bool = True) -> Ints:
    """What the kernels spend with the machine's wait states in its setting, in 1/CYCLE of a cycle.

    Without ``waiting`` for code in flash: what it takes at least.
    """
    busy = kernel_time(space, family, tile, c) * (1 + fetch_cycles(space))
    return busy + stall_time(space, family, tile, c, waiting)
