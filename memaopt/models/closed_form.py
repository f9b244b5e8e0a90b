"""The analytical schedule: no search, because the cost falls in every tile size and only O(sqrt) sizes matter.

Every objective is non-decreasing in the trip counts and in the numbers of register tiles, and the footprint is
non-decreasing in the blocks. So for a loop of length X only the smallest block for each value of ceil(X / block)
matters, and, where blocks are cut into register tiles, the few larger ones that leave fewer ragged tiles. With MC
and NC fixed the footprint is linear in KC, so the largest KC that fits follows from the capacity: it gives the
fewest trips, and the multiple of KR below it the fewest steps. ``docs/models.md`` has the proofs.
"""

import time
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models import layer_kernels
from memaopt.models.answers import Answer
from memaopt.models.blocks import even_kc, smallest_blocks, useful_blocks
from memaopt.models.candidates import BlockCandidates, Walks, candidates, plainest, staging_of, walks_of
from memaopt.models.feasibility import check_feasible
from memaopt.models.prices import called_time, combined, kernel_cost, price
from memaopt.models.traffic import (
    Counts,
    ceil_div,
    counts,
    footprint,
    looped_of,
    register_bytes,
    runs_over_blocks,
)
from memaopt.models.turning_form import Reached, least_turning, turning_best
from memaopt.models.walks import BlockWalk, Ints, WalkChoice
from memaopt.problems.gemm import DIMS, Operand

_Array = npt.NDArray[np.int64]
#: A kernel with an objective that no blocks can better.
_Bounded = tuple[tuple[int, ...], GemmFamily, RegisterTile]
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


class _Tied(NamedTuple):
    """Blocks of one kernel that reach the least objective that it has."""

    family: GemmFamily
    tile: RegisterTile
    choices: tuple[WalkChoice, ...]
    walks: BlockWalk
    blocks: BlockCandidates


class _Best(NamedTuple):
    """The least objective so far, and every kernel that reaches it."""

    objective: tuple[int, ...]
    tied: tuple[_Tied, ...]


def _fits_whole(space: Space) -> bool:
    """Whether everything fits in one block, whichever kernel and walk: nothing can then be moved less often."""
    m, k, n = space.problem.m, space.problem.k, space.problem.n
    needs = (footprint(space, walks_of(space, family.stationary).flags, m, k, n, 1) for family, _ in plainest(space))
    return all(int(np.max(np.asarray(need))) <= space.capacity for need in needs)


def _least_staging(space: Space) -> tuple[int, dict[Operand, tuple[Walks, BlockCandidates]]]:
    """The least cost of staging, and the blocks that reach it for each operand that stays in registers.

    It depends on the walk and the trip counts alone: the smallest blocks do, and kernels that need the least SRAM.
    """
    problem = space.problem
    whole = _fits_whole(space)
    m_blocks, n_blocks = (np.array([x]) if whole else smallest_blocks(x) for x in (problem.m, problem.n))
    grid = np.meshgrid(m_blocks, n_blocks, indexing="ij")
    mc, nc = (part.ravel() for part in grid)
    found: dict[Operand, tuple[Walks, BlockCandidates, _Array]] = {}
    for family, tile in plainest(space):
        walks = walks_of(space, family.stationary)
        at = candidates(space, walks, family, tile, mc, nc)
        if len(at.mc):
            found[family.stationary] = walks, at, staging_of(space, walks, at, tile)
    least = min(int(cost.min()) for _, _, cost in found.values())
    reach = {x: (walks, at.chosen(cost == least)) for x, (walks, at, cost) in found.items()}
    return least, {x: (walks, at) for x, (walks, at) in reach.items() if len(at.mc)}


def _solve_bytes(space: Space) -> _Best:
    """External bytes first; then the kernels over the walks and pairs of MC and NC that reach the fewest."""
    straight, reached = _least_staging(space)
    fewest, turning = least_turning(space, straight)
    best = _best_straight(space, fewest, reached) if straight == fewest else None
    best = _best_turning(space, fewest, turning, best) if turning else best
    assert best is not None
    return best


def _promising(space: Space, fewest: int, reached: Iterable[BlockCandidates]) -> tuple[list[_Bounded], list[list[int]]]:
    """The kernels on the trip counts of these blocks, the most promising first; and those counts, or what none of them
    undercuts where they are many.
    """
    problem = space.problem
    sizes = np.array([[problem.m], [problem.k], [problem.n]])
    sets = _distinct(np.asarray(ceil_div(sizes, np.concatenate([np.stack(at[1:]) for at in reached], axis=1))))
    least = sets.min(axis=1).tolist()
    return _kernels_by_bound(space, fewest, least), sets.T.tolist() if sets.shape[1] <= _FEW else [least]


def _best_turning(space: Space, fewest: int, reached: dict[Operand, list[Reached]], best: _Best | None) -> _Best | None:
    """``best``, or what is as good or better among nests whose middle loop turns and that reach the fewest bytes."""
    blocks = [each.blocks for found in reached.values() for each in found]
    kernels, fine = _promising(space, fewest, blocks)
    for coarse, family, tile in kernels:
        if best is not None and coarse > best.objective:
            break
        if best is not None and min(_bound(space, fewest, family, tile, each) for each in fine) > best.objective:
            continue
        for stationary in dict.fromkeys(("C", family.stationary)):
            for each in reached.get(stationary, []):
                if (found := turning_best(space, each, family, tile, fewest)) is not None:
                    best = _among(best, space, family, tile, *found)
    return best


def _best_straight(space: Space, fewest: int, reached: dict[Operand, tuple[Walks, BlockCandidates]]) -> _Best | None:
    """The best of nests whose loops all run forwards, on walks and pairs of MC and NC that reach the fewest bytes."""
    problem, everything = space.problem, (np.array([space.problem.m]), np.array([space.problem.n]))
    best: _Best | None = None
    kernels, fine = _promising(space, fewest, [at for _, at in reached.values()])
    for coarse, family, tile in kernels:
        if best is not None and coarse > best.objective:
            break
        if best is not None and min(_bound(space, fewest, family, tile, each) for each in fine) > best.objective:
            continue
        # No kernel needs less SRAM than those that keep C, but for the operand that it keeps itself.
        for stationary in dict.fromkeys(("C", family.stationary)):
            if stationary not in reached:
                continue
            walks, at = reached[stationary]
            some = walks_of(space, family.stationary, {walks.choices[i] for i in np.unique(at.walk)})
            in_one = candidates(space, some, family, tile, *everything)
            if (in_one.kc == problem.k).any() and looped_of(space, family, tile) is None:
                best = _better(best, space, some, family, tile, everything)
                continue
            mc, nc = _distinct(np.stack([at.mc, at.nc]))
            best = _better(best, space, some, family, tile, _grow(problem.m, mc, tile.mr, problem.n, nc, tile.nr))
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
        walks = walks_of(space, family.stationary)
        if best is None:
            best = _better(None, space, walks_of(space, family.stationary, walks.choices[:1]), family, tile, (mc, nc))
        if best is not None:
            kernel = kernel_cost(space, family, tile, counts(problem, mc, problem.k, nc, tile))
            kept = np.broadcast_to(staging + np.asarray(kernel) <= best.objective[0], mc.shape)
            mc, nc = mc[kept], nc[kept]
        best = _better(best, space, walks, family, tile, (mc, nc))
    assert best is not None
    return best


def _kernels_by_bound(space: Space, staging: int, trips: list[int]) -> list[_Bounded]:
    """The kernels with an objective that no blocks can better, best first.

    ``staging``: the least cost of staging; ``trips``: counts of M, K and N that no blocks can undercut.
    """
    if space.objective == "bytes":
        return _kernels_by_register_bytes(space, staging, trips)
    found = [(_bound(space, staging, family, tile, trips), family, tile) for family, tile in space.kernels]
    return sorted(found, key=lambda entry: entry[0])


def _kernels_by_register_bytes(space: Space, staging: int, trips: list[int]) -> list[_Bounded]:
    """The same under ``bytes``, where the tiles of a family are bounded at once."""
    found: list[_Bounded] = []
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
    walks: Walks,
    family: GemmFamily,
    tile: RegisterTile,
    pairs: tuple[_Array, _Array],
) -> _Best | None:
    """``best`` with those of these blocks that are as good, or they alone if they are better."""
    at = candidates(space, walks, family, tile, *pairs)
    return _among(best, space, family, tile, walks, at) if len(at.mc) else best


def _among(
    best: _Best | None, space: Space, family: GemmFamily, tile: RegisterTile, walks: Walks, at: BlockCandidates
) -> _Best | None:
    """The same of blocks that fit, of which there is one."""
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
    choice = tied.choices[walk_index]
    if looped_of(space, tied.family, tied.tile) is None and not choice.turning:
        kc = even_kc(space.problem.k, kc, tied.tile.kr)
    return space.schedule(*choice, (mc, kc, nc), tied.family, tied.tile)


def _distinct(columns: _Array) -> _Array:
    """The different columns, sorted by their first row, then the next."""
    ordered = columns[:, np.lexsort(columns[::-1])]
    fresh = np.ones(ordered.shape[1], dtype=bool)
    fresh[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return ordered[:, fresh]
