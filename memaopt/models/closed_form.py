"""The analytical schedule: no search, because the cost falls in every tile size and only O(sqrt) sizes matter.

Every objective is non-decreasing in the trip counts and in the numbers of register tiles, and the footprint is
non-decreasing in the blocks. So for a loop of length X only the smallest block for each value of ceil(X / block)
matters, and, where blocks are cut into register tiles, the few larger ones that leave fewer ragged tiles. With MC
and NC fixed the footprint is linear in KC, so the largest KC that fits follows from the capacity: it gives the
fewest trips, and the multiple of KR below it the fewest steps. ``docs/models.md`` has the proofs.
"""

import time
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
from memaopt.models.candidates import BlockCandidates, Places, candidates, cheapest, everywhere, plainest, staging_of
from memaopt.models.feasibility import check_feasible
from memaopt.models.prices import called_time, combined, kernel_cost, price
from memaopt.models.reached import ReachedPlaces, fewest_trips, grown, least_cost, places_of
from memaopt.models.traffic import Counts, counts, footprint, looped_of, passes, register_bytes, runs_over_blocks
from memaopt.models.turning_form import Reached, least_turning, turning_best
from memaopt.models.walks import BlockWalk, Ints, WalkChoice, Walks, walks_of
from memaopt.problems.gemm import DIMS, Operand

_Array = npt.NDArray[np.int64]
#: A kernel with an objective that no blocks can better.
_Bounded = tuple[tuple[int, ...], GemmFamily, RegisterTile]
#: Places that are looked at for a first schedule.
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
    needs = (footprint(space, walks_of(space, family.stationary).every, m, k, n, 1) for family, _ in plainest(space))
    return all(int(np.max(np.asarray(need))) <= space.capacity for need in needs)


def _least_staging(space: Space) -> tuple[int, dict[Operand, tuple[Walks, BlockCandidates]]]:
    """The least cost of staging, and the blocks that reach it for each operand that stays in registers.

    It depends on the walk and the trip counts alone: the smallest blocks do, and kernels that need the least SRAM. Of
    walks that have a tile of each operand none needs less than with kernels that keep C, which come first.
    """
    problem = space.problem
    whole = _fits_whole(space)
    m_blocks, n_blocks = (np.array([x]) if whole else smallest_blocks(x) for x in (problem.m, problem.n))
    found: dict[Operand, tuple[int, Walks, BlockCandidates]] = {}
    least: int | None = None
    for family, tile in sorted(plainest(space), key=lambda kernel: kernel[0].stationary != "C"):
        walks, kept = walks_of(space, family.stationary), family.stationary
        if "C" in found and kept != "C":
            walks = walks.some(np.flatnonzero(np.asarray(walks.every.direct[kept])[:, 0]))
        if (reach := cheapest(space, walks, family, tile, everywhere(walks, m_blocks, n_blocks), least)) is not None:
            least = reach[0]
            found[kept] = least, walks, reach[1]
    assert least is not None
    return least, {x: (walks, at) for x, (cost, walks, at) in found.items() if cost == least}


def _solve_bytes(space: Space) -> _Best:
    """External bytes first; then the kernels over the walks and pairs of MC and NC that reach the fewest."""
    straight, reached = _least_staging(space)
    fewest, turning = least_turning(space, straight)
    best = _best_straight(space, fewest, reached) if straight == fewest else None
    best = _best_turning(space, fewest, turning, best) if turning else best
    assert best is not None
    return best


def _best_turning(space: Space, fewest: int, reached: dict[Operand, list[Reached]], best: _Best | None) -> _Best | None:
    """``best``, or what is as good or better among nests whose middle loop turns and that reach the fewest bytes."""
    trips = fewest_trips(space.problem, [each.blocks for found in reached.values() for each in found])
    for bound, family, tile in _kernels_by_register_bytes(space, fewest, trips):
        if best is not None and bound > best.objective:
            break
        for stationary in dict.fromkeys(("C", family.stationary)):
            for each in reached.get(stationary, []):
                if (found := turning_best(space, each, family, tile, fewest, best and best.objective[1])) is not None:
                    best = _among(best, space, family, tile, *found)
    return best


def _best_straight(space: Space, fewest: int, reached: dict[Operand, tuple[Walks, BlockCandidates]]) -> _Best | None:
    """The best of nests whose loops all run forwards, on walks and trip counts that reach the fewest bytes."""
    places = {x: (walks, places_of(space.problem, at)) for x, (walks, at) in reached.items()}
    trips, best = fewest_trips(space.problem, [at for _, at in reached.values()]), None
    for bound, family, tile in _kernels_by_register_bytes(space, fewest, trips):
        if best is not None and bound > best.objective:
            break
        # No kernel needs less SRAM than those that keep C, but for the operand that it keeps itself.
        for stationary in dict.fromkeys(("C", family.stationary)):
            if stationary in places:
                best = _straight(best, space, fewest, family, tile, *places[stationary])
    return best


def _straight(
    best: _Best | None,
    space: Space,
    fewest: int,
    family: GemmFamily,
    tile: RegisterTile,
    reached: Walks,
    places: ReachedPlaces,
) -> _Best | None:
    """``best``, or what is as good or better with this kernel at places that reach the fewest bytes."""
    problem, walks = space.problem, walks_of(space, family.stationary)
    at = places._replace(walk=walks.named(reached)[places.walk])
    if (at.tk[(at.mc == problem.m) & (at.nc == problem.n)] == 1).any() and looped_of(space, family, tile) is None:
        one = Places(np.unique(at.walk)[:, None], np.array([problem.m]), np.array([problem.n]))
        whole = candidates(space, walks, family, tile, one)
        if (whole.kc == problem.k).any():
            return _among(best, space, family, tile, walks, whole)

    def better(best: _Best | None, at: ReachedPlaces, most: int | None) -> _Best | None:
        larger = grown(problem, at, tile)
        if most is not None:
            larger = larger.chosen(least_cost(space, family, tile, larger, as_they_are=True) <= most)
        if not len(larger.walk):
            return best
        found = candidates(space, walks, family, tile, larger.places, fewest)
        found = found.chosen(staging_of(space, walks, found, tile) == fewest)
        return _among(best, space, family, tile, walks, found) if len(found.mc) else best

    least = least_cost(space, family, tile, at)
    known = best
    if known is None and len(least) > _FEW:
        known = better(None, at.chosen(least <= np.sort(least)[_FEW]), None)
    if known is None:
        return better(best, at, None)
    most = known.objective[1]
    return better(best, at.chosen(least <= most), most)


def _solve_weighted(space: Space) -> _Best:
    """One weighted sum: every kernel over all useful blocks, skipping kernels and blocks whose bound cannot win."""
    problem, best = space.problem, None
    m_blocks, n_blocks = smallest_blocks(problem.m), smallest_blocks(problem.n)
    staging = _least_staging(space)[0]
    for bound, family, tile in _kernels_by_time(space, staging):
        if best is not None and bound > best.objective:
            break
        mc = useful_blocks(problem.m, m_blocks, tile.mr)
        nc = useful_blocks(problem.n, n_blocks, tile.nr)
        walks = walks_of(space, family.stationary)
        if best is None:
            best = _better(None, space, walks, family, tile, everywhere(walks.some(np.array([0])), mc, nc))
        pairs = Places(np.zeros((1, 1), dtype=np.int64), mc[:, None], nc)
        if best is not None:
            kernel = kernel_cost(space, family, tile, counts(problem, pairs.mc, problem.k, nc, tile))
            pairs = pairs.chosen(np.broadcast_to(staging + np.asarray(kernel) <= best.objective[0], (len(mc), len(nc))))
        at = Places(np.arange(len(walks.choices)).reshape(-1, *[1] * pairs.mc.ndim), pairs.mc, pairs.nc)
        best = _better(best, space, walks, family, tile, at)
    assert best is not None
    return best


def _kernels_by_register_bytes(space: Space, staging: int, trips: _Array) -> list[_Bounded]:
    """The kernels with an objective of ``bytes`` that no blocks can better, best first.

    ``staging``: the least cost of staging; ``trips``: counts of M, K and N, a column each: all blocks have one or more.
    """
    found: list[_Bounded] = []
    n = space.problem.n
    for family, kernels in groupby(space.kernels, key=itemgetter(0)):
        tiles = [tile for _, tile in kernels]
        along = np.array(tiles, dtype=np.int64).T
        least = np.full(len(tiles), np.iinfo(np.int64).max)
        rm, rk, rn = (-(-space.problem.sizes[d] // size) for d, size in zip(DIMS, along, strict=True))
        runs = np.asarray(runs_over_blocks(n, n, along[2]))
        for tm, tk, tn in trips.T.tolist():
            tiles_and_runs = np.maximum(rm, tm), np.maximum(rk, tk), np.maximum(rn, tn), np.maximum(runs, tn)
            c = Counts(tm, tk, tn, *tiles_and_runs)
            least = np.minimum(least, np.asarray(register_bytes(space, family, tiles, c)))
        found += [((staging, cost), family, tile) for cost, tile in zip(least.tolist(), tiles, strict=True)]
    return sorted(found, key=itemgetter(0))


def _kernels_by_time(space: Space, staging: int) -> list[_Bounded]:
    """The kernels with a weighted objective that no blocks can better, best first."""
    found = []
    for family, tile in space.kernels:
        c = counts(space.problem, space.problem.m, space.problem.k, space.problem.n, tile)
        cost = combined(space, staging, kernel_cost(space, family, tile, c))
        found.append((tuple(int(part) for part in cost), family, tile))
    return sorted(found, key=itemgetter(0))


def _better(
    best: _Best | None, space: Space, walks: Walks, family: GemmFamily, tile: RegisterTile, at: Places
) -> _Best | None:
    """``best`` with those of the blocks at these places that are as good, or they alone if they are better."""
    found = candidates(space, walks, family, tile, at)
    return _among(best, space, family, tile, walks, found) if len(found.mc) else best


def _among(
    best: _Best | None, space: Space, family: GemmFamily, tile: RegisterTile, walks: Walks, at: BlockCandidates
) -> _Best | None:
    """The same of blocks that fit, of which there is one."""
    path, c = walks.at(at.walk), counts(space.problem, *at[1:], tile, looped_of(space, family, tile))
    objective, chosen = _least(price(space, family, tile, path, c), len(at.mc))
    if best is not None and best.objective < objective:
        return best
    blocks = at.chosen(chosen)
    tied = _Tied(family, tile, walks.choices, walks.at(blocks.walk), blocks)
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
    every = [(tied, counts(space.problem, *tied.blocks[1:], tied.tile)) for tied in best.tied]

    def times(i: int, waiting: bool) -> Ints:
        tied, c = every[i]
        return called_time(space, tied.family, tied.tile, tied.walks, c, waiting=waiting)

    plain = [np.broadcast_to(np.asarray(times(i, False)), tied.blocks.mc.shape) for i, (tied, _) in enumerate(every)]
    waiting, least = not _waits_alike(every, plain), [int(time.min()) for time in plain]
    fastest: tuple[tuple[int, ...], int, int] | None = None
    for i in sorted(range(len(every)), key=least.__getitem__):
        if fastest is not None and least[i] > fastest[0][0]:
            break
        tied, c = every[i]
        key, chosen = _least((times(i, True) if waiting else plain[i], c.tm * c.tk * c.tn), len(tied.blocks.mc))
        if fastest is None or (key, i) < fastest[:2]:
            fastest = key, i, int(chosen[0])
    assert fastest is not None
    tied, at = best.tied[fastest[1]], fastest[2]
    walk_index, mc, kc, nc = (int(part[at]) for part in tied.blocks)
    choice = tied.choices[walk_index]
    if looped_of(space, tied.family, tied.tile) is None and not choice.turning:
        kc = even_kc(space.problem.k, kc, tied.tile.kr)
    return space.schedule(*choice, (mc, kc, nc), tied.family, tied.tile)


def _waits_alike(every: list[tuple[_Tied, Counts]], plain: list[_Array]) -> bool:
    """Whether what the code waits has no say: one kernel, and the fastest without make the fewest passes over tiles."""
    if len({(tied.family.name, tied.tile) for tied, _ in every}) > 1:
        return False
    runs = np.concatenate(
        [np.broadcast_to(np.asarray(c.rm * c.rn * passes(tied.family, c)), tied.blocks.mc.shape) for tied, c in every]
    )
    time = np.concatenate(plain)
    return bool((runs[time == time.min()] == runs.min()).all())
