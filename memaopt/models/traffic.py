"""The one cost function: what a schedule moves between external memory, SRAM and registers.

The formulas take integers or numpy arrays alike, so that the exhaustive proof can price a whole grid at once.
With trip counts t and register-tile counts r over all blocks, loops outermost first:

* a tile of operand X is moved each time the nest arrives at one that is not the one held, so X is moved
  ``visits(X)`` times (:mod:`memaopt.models.walks`): the trip count of the loop that does not index X, if that loop lies
  outside one that cuts X's tiles and runs more than once, else 1; an operand that has no tile, because it stays in
  registers, as often as that loop runs; where the inner one of these loops runs there and back, the tile at each turn
  stays (:mod:`memaopt.models.turning`);
* between SRAM and registers the stationary operand is read once for each block-level trip of the loop that
  does not index it, and the others once for each of its register tiles;
* a partial sum that leaves its level is ``ACCUMULATOR_BYTES`` wide, a final result has its own width;
* what kernels do to the stack is so many words for each call and each tile (:mod:`memaopt.kernels.gemm.stack_words`).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile, Unrolling
from memaopt.kernels.gemm.stack_words import Passes, StackWords
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models.turning import kept_length
from memaopt.models.walks import BlockWalk, Flags, Ints, tile_elements, visits
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, REVISITED_BY, Dim, Gemm, Operand

#: Bytes of a word on the stack.
STACK_WORD = 4


class Counts(NamedTuple):
    """What determines the traffic of a schedule: for each loop, trips over blocks (t) and register tiles (r).

    ``cn``: runs of equal register tiles along n, over its blocks: whole ones, and the one left over. ``lk``: words that
    a kernel whose loop over the reduction uses the stack moves there for one tile, over the blocks of k. ``bm``,
    ``bk``, ``bn``: the blocks themselves, on which alone depends what stays at a turn.
    """

    tm: Ints
    tk: Ints
    tn: Ints
    rm: Ints
    rk: Ints
    rn: Ints
    cn: Ints
    lk: Ints = 0
    bm: Ints = 0
    bk: Ints = 0
    bn: Ints = 0

    @property
    def trips(self) -> dict[Dim, Ints]:
        """Trip counts of the block loops by loop name."""
        return {"m": self.tm, "k": self.tk, "n": self.tn}

    @property
    def register_tiles(self) -> dict[Dim, Ints]:
        """Register tiles along each loop, summed over its blocks, by loop name."""
        return {"m": self.rm, "k": self.rk, "n": self.rn}

    @property
    def blocks(self) -> dict[Dim, Ints]:
        """MC, KC and NC by loop name."""
        return {"m": self.bm, "k": self.bk, "n": self.bn}


def ceil_div(a: Ints, b: Ints) -> Ints:
    """The smallest integer not below a / b."""
    return -(-a // b)


def tiles_over_blocks(size: int, block: Ints, tile: int) -> Ints:
    """Register tiles along a loop of ``size``, cut into blocks first and each block into tiles of ``tile``."""
    trips = ceil_div(size, block)
    return (trips - 1) * ceil_div(block, tile) + ceil_div(size - (trips - 1) * block, tile)


def runs_over_blocks(size: int, block: Ints, tile: int) -> Ints:
    """Runs of equal register tiles along a loop of ``size``, cut into blocks first: one or two in each block."""
    trips = ceil_div(size, block)
    return (trips - 1) * _runs(block, tile) + _runs(size - (trips - 1) * block, tile)


def _runs(length: Ints, tile: int) -> Ints:
    ragged: Ints = 1 * ((length > tile) & (length % tile > 0))
    return 1 + ragged


def counts(problem: Gemm, mc: Ints, kc: Ints, nc: Ints, tile: RegisterTile, looped: Unrolling | None = None) -> Counts:
    """The trip counts and register-tile counts of blocks MC x KC x NC computed with ``tile``; ``looped``: the
    unrolling of a kernel whose loop over the reduction uses the stack (:func:`looped_of`).
    """
    m, k, n = problem.m, problem.k, problem.n
    trips = ceil_div(k, kc)
    return Counts(
        ceil_div(m, mc),
        trips,
        ceil_div(n, nc),
        tiles_over_blocks(m, mc, tile.mr),
        tiles_over_blocks(k, kc, tile.kr),
        tiles_over_blocks(n, nc, tile.nr),
        runs_over_blocks(n, nc, tile.nr),
        0 * trips if looped is None else loop_words(k, tile.kr, looped)[kc],
        mc,
        kc,
        nc,
    )


def looped_of(space: Space, family: GemmFamily, tile: RegisterTile) -> Unrolling | None:
    """The unrolling of a kernel whose loop over the reduction uses the stack, None of any other."""
    return family.unrolling if words_on_stack(space, family, (tile,)).looped else None


@lru_cache(maxsize=256)
def loop_words(size: int, kr: int, unrolling: Unrolling) -> npt.NDArray[np.int64]:
    """Words that the loops over the reduction move to and from the stack for one tile, by KC from 0 to ``size``: where
    a loop ends is written once and read in each round; what needs one round has no loop.
    """
    rounds = np.array([length // kr // unrolling.steps(length // kr) for length in range(size + 1)], dtype=np.int64)
    words = (rounds > 1) * (1 + rounds)
    kc = np.maximum(np.arange(size + 1, dtype=np.int64), 1)
    before: npt.NDArray[np.int64] = -(-size // kc) - 1
    found: npt.NDArray[np.int64] = before * words[kc] + words[size - before * kc]
    return found


@lru_cache(maxsize=1024)
def _words_on_stack(family: GemmFamily, tiles: tuple[RegisterTile, ...], fpu: bool) -> StackWords:
    each = [family.stack(*tile, fpu) for tile in tiles]
    if len(each) == 1:
        return each[0]
    call, turn = (
        Passes(*(np.array(part) for part in zip(*passes, strict=True)))
        for passes in ([words.call for words in each], [words.turn for words in each])
    )
    return StackWords(call, turn, np.array([words.row for words in each]), each[0].looped)


def words_on_stack(space: Space, family: GemmFamily, tiles: Sequence[RegisterTile]) -> StackWords:
    """What kernels of a family do to the stack: of one tile, or as arrays of several."""
    return _words_on_stack(family, tuple(tiles), space.machine.core.has_fpu)


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
    return problem.bytes_of(operand) * times - problem.width * kept_elements(problem, operand, path, c)


def kept_elements(problem: Gemm, operand: Operand, path: BlockWalk, c: Counts) -> Ints:
    """Elements of ``operand`` that stay over all the turns of a loop, and need not be moved again."""
    total: Ints = 0
    for (x, d), turns in path.turns.items():
        if x == operand:
            along = kept_length(problem.sizes[d], c.blocks[d], c.trips[d], c.trips[REVISITED_BY[x]])
            total = total + turns * along * (problem.elements(x) // problem.sizes[d])
    return total


def external_bytes(space: Space, path: BlockWalk, c: Counts) -> Ints:
    """Bytes moved between external memory and SRAM, or straight to and from the registers."""
    total: Ints = 0
    for operand in OPERANDS:
        total = total + external_bytes_of(space, operand, path, c)
    return total


def register_bytes(space: Space, family: GemmFamily, tiles: Sequence[RegisterTile], c: Counts) -> Ints:
    """Bytes moved between memory and registers by the kernels of one tile, or of several with counts for each:
    operands, parameters of output channels, and what they do to the stack. What copies do is no part of it.
    """
    problem = space.problem

    def times(operand: Operand) -> Ints:
        loop = REVISITED_BY[operand]
        return c.trips[loop] if family.stationary == operand else c.register_tiles[loop]

    c_element = problem.width + 2 * ACCUMULATOR_BYTES * (times("C") - 1)
    return (
        problem.bytes_of("A") * times("A")
        + problem.bytes_of("B") * times("B")
        + problem.elements("C") * c_element
        + problem.m * problem.channel_bytes * c.rn
        + STACK_WORD * _on_stack(problem, family, words_on_stack(space, family, tiles), c)
    )


def _on_stack(problem: Gemm, family: GemmFamily, words: StackWords, c: Counts) -> Ints:
    """Words that kernels move to and from the stack: a call goes over the equal tiles of a row (C), or the columns or
    rows that stream past, in each pass.
    """
    calls, turns = {
        "C": (c.rm * c.cn, c.rm * c.rn),
        "A": (c.rm * c.tn, c.rm * problem.n),
        "B": (c.rn * c.tm, c.rn * problem.m),
    }[family.stationary]
    times = passes(family, c)
    total: Ints = calls * words.call.over(times) + turns * (words.turn.over(times) + words.looped * c.lk)
    rests: Ints = words.row * (problem.m - c.rm) * c.rn
    return total + rests


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
    looped = looped_of(space, schedule.family, schedule.tile)
    return counts(space.problem, schedule.mc, schedule.kc, schedule.nc, schedule.tile, looped)
