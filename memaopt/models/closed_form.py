"""The analytical schedule: no search, because the cost falls in every tile size and only O(sqrt) sizes matter.

Every objective is non-decreasing in the trip counts and in the numbers of register tiles, and the footprint is
non-decreasing in the blocks. So for a loop of length X only the smallest block for each value of ceil(X / block)
matters, and, where blocks are cut into register tiles, the few larger ones that leave fewer ragged tiles. With MC
and NC fixed the footprint is linear in KC, so the largest KC that fits follows from the capacity: it gives the
fewest trips, and the multiple of KR below it the fewest steps. ``docs/models.md`` has the proofs.
"""

import time
from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models import layer_kernels
from memaopt.models.answers import Answer
from memaopt.models.blocks import even_kc, smallest_blocks, useful_blocks, useful_kc
from memaopt.models.feasibility import check_feasible
from memaopt.models.prices import called_time, combined, kernel_cost, price, staging_cost
from memaopt.models.traffic import (
    Counts,
    ceil_div,
    counts,
    footprint,
    looped_of,
    passes,
    register_bytes,
    runs_over_blocks,
)
from memaopt.models.walks import BlockWalk, Ints, WalkChoice, choices, together, visits, walk
from memaopt.problems.gemm import DIMS, OPERANDS, Dim, Operand

_Array = npt.NDArray[np.int64]
#: How many different sets of trip counts are looked at each for itself when a kernel is bounded.
_FEW = 8


def solve(space: Space) -> Answer:
    """The optimal schedule of ``space``. Raises InfeasibleError if no schedule fits."""
    if space.layers:
        return layer_kernels.closed_form(space)
    start = time.perf_counter()
    check_feasible(space)
    best = _solve_bytes(space) if space.objective == "bytes" else _solve_weighted(space)
    return Answer(
        model="closed_form",
        schedule=_fastest(space, best),
        objective=best.objective,
        proven=True,
        milliseconds=1e3 * (time.perf_counter() - start),
    )


class _Blocks(NamedTuple):
    """Candidates, 1-D each: the index of the walk among those looked at, and its block."""

    walk: _Array
    mc: _Array
    kc: _Array
    nc: _Array

    def chosen(self, at: _Array) -> "_Blocks":
        """Those at these places."""
        return _Blocks(*(part[at] for part in self))


class _Tied(NamedTuple):
    """Blocks of one kernel that reach the least objective that it has."""

    family: GemmFamily
    tile: RegisterTile
    choices: tuple[WalkChoice, ...]
    walks: BlockWalk
    blocks: _Blocks


class _Best(NamedTuple):
    """The least objective so far, and every kernel that reaches it."""

    objective: tuple[int, ...]
    tied: tuple[_Tied, ...]


class _Walks(NamedTuple):
    """Walks of kernels that keep the same operand in registers, with their flags together."""

    choices: tuple[WalkChoice, ...]
    flags: BlockWalk

    def of(self, found: _Blocks) -> BlockWalk:
        """The flags of each candidate."""
        return self.flags.at(found.walk)


def _walks(space: Space, stationary: Operand, among: Collection[WalkChoice] | None = None) -> _Walks:
    found = tuple(each for each in choices(space, stationary) if among is None or each in among)
    return _Walks(found, together([walk(space, *each) for each in found]))


def _largest_kc(space: Space, path: BlockWalk, mc: _Array, nc: _Array) -> _Array:
    """The largest KC < K whose tiles fit beside 4-byte accumulators; below 1 where none does."""
    fixed = np.asarray(footprint(space, path, mc, 0 * mc, nc, 1))
    slope = np.asarray(footprint(space, path, mc, 0 * mc + 1, nc, 1)) - fixed
    room = space.capacity - fixed
    fitting = np.where(slope > 0, room // np.maximum(slope, 1), np.where(room >= 0, space.problem.k, 0))
    return np.minimum(fitting, space.problem.k - 1)


def _candidates(space: Space, walks: _Walks, family: GemmFamily, tile: RegisterTile, mc: _Array, nc: _Array) -> _Blocks:
    """The feasible blocks that can be optimal for these pairs of MC and NC (1-D each), for each walk."""
    problem, k, path = space.problem, space.problem.k, walks.flags
    if (looped := looped_of(space, family, tile)) is not None:
        return _looped_candidates(space, walks, useful_kc(k, tile.kr, looped), mc, nc)
    whole = counts(problem, mc, k, nc, tile)
    accumulating = int(passes(family, whole) > 1)
    # A C that is not stationary does without a tile only where its sums never leave the registers.
    apart = 0 if family.stationary == "C" else path.direct["C"]
    need = np.asarray(footprint(space, path, mc, 0 * mc + k, nc, accumulating)) + 0 * path.direct["C"]
    fits = (need <= space.capacity) & ~np.asarray(accumulating & apart, dtype=bool)
    found = [_at(fits, mc, np.full_like(need, k), nc)]
    if k > 1 and not bool(fits.all()):
        trips: dict[Dim, Ints] = {"m": whole.tm, "k": 0 * mc + 2, "n": whole.tn}
        allowed = ~fits & ~np.asarray(apart, dtype=bool)
        if not space.may_spill:
            allowed &= np.asarray(visits(path, trips, "C")) == 1
        largest = _largest_kc(space, path, mc, nc) + 0 * need
        for kc in (largest,) if tile.kr == 1 else (largest, largest // tile.kr * tile.kr):
            found.append(_at(allowed & (kc >= 1), mc, kc, nc))
    return _Blocks(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _looped_candidates(space: Space, walks: _Walks, lengths: _Array, mc: _Array, nc: _Array) -> _Blocks:
    """Each pair of MC and NC with each KC of these that fits, for each walk of a kernel that keeps C."""
    path, times = walks.flags, len(lengths)
    mc, nc, kc = np.repeat(mc, times), np.repeat(nc, times), np.tile(lengths, len(mc))
    trips: dict[Dim, Ints] = {"m": ceil_div(space.problem.m, mc), "k": ceil_div(space.problem.k, kc)}
    trips["n"] = ceil_div(space.problem.n, nc)
    fits = np.asarray(footprint(space, path, mc, kc, nc, trips["k"] > 1) <= space.capacity)
    if not space.may_spill:
        fits = fits & (np.asarray(visits(path, trips, "C")) == 1)
    walk_index, at = np.nonzero(fits)
    return _Blocks(walk_index, mc[at], kc[at], nc[at])


def _at(kept: _Array, mc: _Array, kc: _Array, nc: _Array) -> _Blocks:
    """The places that are kept of a grid of walks by pairs of MC and NC."""
    walk_index, pair = np.nonzero(kept)
    return _Blocks(walk_index, mc[pair], kc[walk_index, pair], nc[pair])


def _plainest(space: Space) -> Iterator[tuple[GemmFamily, RegisterTile]]:
    """A kernel for each operand that stays in registers, none of which needs less SRAM: sums leave the registers last.

    Without a tile of A or B saved, none needs less than those that keep C.
    """
    for operand in OPERANDS:
        kernels = [each for each in space.kernels if each[0].stationary == operand]
        if kernels and (operand == "C" or operand in space.staged):
            widest = 1 if operand == "C" else max(tile.kr for _, tile in kernels)
            yield kernels[0][0], RegisterTile(1, widest, 1)


def _fits_whole(space: Space) -> bool:
    """Whether everything fits in one block, whichever kernel and walk: nothing can then be moved less often."""
    m, k, n = space.problem.m, space.problem.k, space.problem.n
    needs = (footprint(space, _walks(space, family.stationary).flags, m, k, n, 1) for family, _ in _plainest(space))
    return all(int(np.max(np.asarray(need))) <= space.capacity for need in needs)


def _least_staging(space: Space) -> tuple[int, dict[Operand, tuple[_Walks, _Blocks]]]:
    """The least cost of staging, and the blocks that reach it for each operand that stays in registers.

    It depends on the walk and the trip counts alone: the smallest blocks do, and kernels that need the least SRAM.
    """
    problem = space.problem
    whole = _fits_whole(space)
    m_blocks, n_blocks = (np.array([x]) if whole else smallest_blocks(x) for x in (problem.m, problem.n))
    grid = np.meshgrid(m_blocks, n_blocks, indexing="ij")
    mc, nc = (part.ravel() for part in grid)
    found: dict[Operand, tuple[_Walks, _Blocks, _Array]] = {}
    for family, tile in _plainest(space):
        walks = _walks(space, family.stationary)
        at = _candidates(space, walks, family, tile, mc, nc)
        if len(at.mc):
            cost = np.asarray(staging_cost(space, walks.of(at), counts(problem, *at[1:], tile)))
            found[family.stationary] = walks, at, np.broadcast_to(cost, at.mc.shape)
    least = min(int(cost.min()) for _, _, cost in found.values())
    reach = {x: (walks, at.chosen(cost == least)) for x, (walks, at, cost) in found.items()}
    return least, {x: (walks, at) for x, (walks, at) in reach.items() if len(at.mc)}


def _solve_bytes(space: Space) -> _Best:
    """External bytes first; then the kernels over the walks and pairs of MC and NC that reach the fewest."""
    problem, everything = space.problem, (np.array([space.problem.m]), np.array([space.problem.n]))
    fewest, reached = _least_staging(space)
    sizes = np.array([[problem.m], [problem.k], [problem.n]])
    blocks = np.concatenate([np.stack(at[1:]) for _, at in reached.values()], axis=1)
    sets = _distinct(np.asarray(ceil_div(sizes, blocks)))
    least = sets.min(axis=1).tolist()
    best: _Best | None = None
    for coarse, family, tile in _kernels_by_bound(space, fewest, least):
        if best is not None and coarse > best.objective:
            break
        fine = sets.T.tolist() if sets.shape[1] <= _FEW else [least]
        if best is not None and min(_bound(space, fewest, family, tile, each) for each in fine) > best.objective:
            continue
        # No kernel needs less SRAM than those that keep C, but for the operand that it keeps itself.
        for stationary in dict.fromkeys(("C", family.stationary)):
            if stationary not in reached:
                continue
            walks, at = reached[stationary]
            some = _walks(space, family.stationary, {walks.choices[i] for i in np.unique(at.walk)})
            in_one = _candidates(space, some, family, tile, *everything)
            if (in_one.kc == problem.k).any() and looped_of(space, family, tile) is None:
                best = _better(best, space, some, family, tile, everything)
                continue
            mc, nc = _distinct(np.stack([at.mc, at.nc]))
            best = _better(best, space, some, family, tile, _grow(problem.m, mc, tile.mr, problem.n, nc, tile.nr))
    assert best is not None
    return best


def _grow(m: int, mc: _Array, mr: int, n: int, nc: _Array, nr: int) -> tuple[_Array, _Array]:
    """Each pair of smallest blocks with the useful larger blocks of the same trip counts."""
    grown_m, grown_n = useful_blocks(m, np.unique(mc), mr), useful_blocks(n, np.unique(nc), nr, runs=True)
    found_m, found_n = (part.ravel() for part in np.meshgrid(grown_m, grown_n, indexing="ij"))
    same = np.isin(ceil_div(m, found_m) * (n + 1) + ceil_div(n, found_n), ceil_div(m, mc) * (n + 1) + ceil_div(n, nc))
    return found_m[same], found_n[same]


def _solve_weighted(space: Space) -> _Best:
    """One weighted sum: every kernel over all useful blocks, skipping kernels and blocks whose bound cannot win."""
    problem, best = space.problem, None
    m_blocks, n_blocks = smallest_blocks(problem.m), smallest_blocks(problem.n)
    staging = _least_staging(space)[0]
    for bound, family, tile in _kernels_by_bound(space, staging, [1, 1, 1]):
        if best is not None and bound > best.objective:
            break
        mc = useful_blocks(problem.m, m_blocks, tile.mr)
        nc = useful_blocks(problem.n, n_blocks, tile.nr)
        mc, nc = (part.ravel() for part in np.meshgrid(mc, nc, indexing="ij"))
        walks = _walks(space, family.stationary)
        if best is None:
            best = _better(None, space, _walks(space, family.stationary, walks.choices[:1]), family, tile, (mc, nc))
        if best is not None:
            kernel = kernel_cost(space, family, tile, counts(problem, mc, problem.k, nc, tile))
            kept = np.broadcast_to(staging + np.asarray(kernel) <= best.objective[0], mc.shape)
            mc, nc = mc[kept], nc[kept]
        best = _better(best, space, walks, family, tile, (mc, nc))
    assert best is not None
    return best


def _kernels_by_bound(
    space: Space, staging: int, trips: list[int]
) -> list[tuple[tuple[int, ...], GemmFamily, RegisterTile]]:
    """The kernels with an objective that no blocks can better, best first.

    ``staging``: the least cost of staging; ``trips``: counts of M, K and N that no blocks can undercut.
    """
    if space.objective == "bytes":
        return _kernels_by_register_bytes(space, staging, trips)
    found = [(_bound(space, staging, family, tile, trips), family, tile) for family, tile in space.kernels]
    return sorted(found, key=lambda entry: entry[0])


def _kernels_by_register_bytes(
    space: Space, staging: int, trips: list[int]
) -> list[tuple[tuple[int, ...], GemmFamily, RegisterTile]]:
    """The same under ``bytes``, where the tiles of a family are bounded at once."""
    found: list[tuple[tuple[int, ...], GemmFamily, RegisterTile]] = []
    for family, kernels in groupby(space.kernels, key=itemgetter(0)):
        tiles = [tile for _, tile in kernels]
        along = np.array(tiles, dtype=np.int64).T
        fewest = [-(-space.problem.sizes[d] // column) for d, column in zip(DIMS, along, strict=True)]
        rm, rk, rn = map(np.maximum, fewest, trips)
        (tm, tk, tn), runs = trips, np.asarray(runs_over_blocks(space.problem.n, space.problem.n, along[2]))
        c = Counts(tm, tk, tn, rm, rk, rn, np.maximum(runs, tn))
        least = np.broadcast_to(np.asarray(register_bytes(space, family, tiles, c)), (len(tiles),)).tolist()
        found += [((staging, cost), family, tile) for cost, tile in zip(least, tiles, strict=True)]
    return sorted(found, key=itemgetter(0))


def _bound(space: Space, staging: int, family: GemmFamily, tile: RegisterTile, trips: list[int]) -> tuple[int, ...]:
    """The objective of a kernel with these trip counts and the fewest register tiles."""
    fewest = [-(-space.problem.sizes[d] // along) for d, along in zip(DIMS, tile, strict=True)]
    rm, rk, rn = map(max, fewest, trips)
    (tm, tk, tn), runs = trips, int(runs_over_blocks(space.problem.n, space.problem.n, tile.nr))
    c = Counts(tm, tk, tn, rm, rk, rn, max(runs, tn))
    return tuple(int(part) for part in combined(space, staging, kernel_cost(space, family, tile, c)))


def _better(
    best: _Best | None,
    space: Space,
    walks: _Walks,
    family: GemmFamily,
    tile: RegisterTile,
    pairs: tuple[_Array, _Array],
) -> _Best | None:
    """``best`` with those of these blocks that are as good, or they alone if they are better."""
    at = _candidates(space, walks, family, tile, *pairs)
    if not len(at.mc):
        return best
    path, c = walks.of(at), counts(space.problem, *at[1:], tile, looped_of(space, family, tile))
    objective, chosen = _least(price(space, family, tile, path, c), len(at.mc))
    if best is not None and best.objective < objective:
        return best
    blocks = at.chosen(chosen)
    tied = _Tied(family, tile, walks.choices, walks.of(blocks), blocks)
    return _Best(objective, (*best.tied, tied) if best is not None and best.objective == objective else (tied,))


def _least(parts: tuple[Ints, ...], size: int) -> tuple[tuple[int, ...], _Array]:
    """The lexicographically least of ``size`` candidates, given part by part, and the places that reach it."""
    found, chosen = [], np.arange(size)
    for part in parts:
        values = np.broadcast_to(np.asarray(part), (size,))[chosen]
        found.append(int(values.min()))
        chosen = chosen[values == values.min()]
    return tuple(found), chosen


def _fastest(space: Space, best: _Best) -> Schedule:
    """Of equals the one predicted to be fastest, then that of the fewest blocks, then the first.

    What the code waits takes the longest to find out, and only adds: a kernel that is slower without has no say.
    """

    def times(tied: _Tied, c: Counts, waiting: bool) -> Ints:
        return called_time(space, tied.family, tied.tile, tied.walks, c, waiting=waiting)

    every = [(tied, counts(space.problem, *tied.blocks[1:], tied.tile)) for tied in best.tied]
    least = [int(np.min(np.asarray(times(tied, c, False)))) for tied, c in every]
    fastest: tuple[tuple[int, ...], int, int] | None = None
    for i in sorted(range(len(every)), key=least.__getitem__):
        if fastest is not None and least[i] > fastest[0][0]:
            break
        tied, c = every[i]
        key, chosen = _least((times(tied, c, True), c.tm * c.tk * c.tn), len(tied.blocks.mc))
        if fastest is None or (key, i) < fastest[:2]:
            fastest = key, i, int(chosen[0])
    assert fastest is not None
    tied, at = best.tied[fastest[1]], fastest[2]
    walk_index, mc, kc, nc = (int(part[at]) for part in tied.blocks)
    order, hold = tied.choices[walk_index]
    if looped_of(space, tied.family, tied.tile) is None:
        kc = even_kc(space.problem.k, kc, tied.tile.kr)
    block = mc, kc, nc
    return space.schedule(order, hold, block, tied.family, tied.tile)


def _distinct(columns: _Array) -> _Array:
    """The different columns, sorted by their first row, then the next."""
    ordered = columns[:, np.lexsort(columns[::-1])]
    fresh = np.ones(ordered.shape[1], dtype=bool)
    fresh[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return ordered[:, fresh]
