"""The one cost function: what a schedule moves between external memory, SRAM and registers.

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

from typing import NamedTuple

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models.walks import BlockWalk, Flags, Ints, tile_elements, visits
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, REVISITED_BY, Dim, Gemm, Operand


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
    the stack not (:func:`memaopt.models.accesses.promise`): its time is part of
    :func:`memaopt.models.cycles.kernel_time`.
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


def schedule_counts(space: Space, schedule: Schedule) -> Counts:
    """The trip counts and register-tile counts of one schedule."""
    return counts(space.problem, schedule.mc, schedule.kc, schedule.nc, schedule.tile)
