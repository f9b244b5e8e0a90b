"""The analytical schedule: no search, because the cost falls in every tile size and only O(sqrt) sizes matter.

Every objective is non-decreasing in the trip counts and in the numbers of register tiles, and the footprint is
non-decreasing in the blocks. So for a loop of length X only the smallest block for each value of ceil(X / block)
matters, and, where blocks are cut into register tiles, the few larger ones that leave fewer ragged tiles. With MC
and NC fixed the footprint is linear in KC, so the largest KC that fits follows from the capacity: it gives the
fewest trips, and the multiple of KR below it the fewest steps. ``docs/models.md`` has the proofs.
"""

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import ORDERS, Order, Schedule, Space
from memaopt.models import layer_kernels
from memaopt.models.answers import Answer
from memaopt.models.traffic import (
    Counts,
    ceil_div,
    check_feasible,
    combined,
    counts,
    footprint,
    kernel_cost,
    passes,
    price,
    staging_cost,
    tiles_over_blocks,
    visits,
    waited_time,
)
from memaopt.problems.gemm import DIMS

_Array = npt.NDArray[np.int64]
_ONE = RegisterTile(1, 1, 1)
#: How many different sets of trip counts are looked at each for itself when a kernel is bounded.
_FEW = 8


class _Best(NamedTuple):
    """The best candidate so far: its objective with the tie-break behind it, and how to build its schedule."""

    key: tuple[int, ...]
    schedule: Schedule


def solve(space: Space) -> Answer:
    """The optimal schedule of ``space``. Raises InfeasibleError if no schedule fits."""
    if space.layers:
        return layer_kernels.closed_form(space)
    start = time.perf_counter()
    check_feasible(space)
    best = _solve_bytes(space) if space.objective == "bytes" else _solve_weighted(space)
    parts = len(best.key) - 2
    return Answer(
        model="closed_form",
        schedule=best.schedule,
        objective=best.key[:parts],
        proven=True,
        milliseconds=1e3 * (time.perf_counter() - start),
    )


def smallest_blocks(size: int) -> _Array:
    """The smallest block for each value that ceil(size / block) takes, ascending."""
    root = np.arange(1, int(np.sqrt(size)) + 2, dtype=np.int64)
    blocks = np.concatenate([root, ceil_div(size, root)])
    blocks = blocks[blocks <= size]
    return np.unique(ceil_div(size, ceil_div(size, blocks)))


def useful_blocks(size: int, smallest: _Array, tile: int) -> _Array:
    """``smallest``, and for each of them the larger blocks of equal trip count that need fewer register tiles.

    Those lie below the next multiple of ``tile``, which reaches the fewest possible, ceil(size / tile).
    """
    grown = smallest[:, None] + np.arange(tile, dtype=np.int64)
    same_trips = np.asarray(ceil_div(size, grown)) == np.asarray(ceil_div(size, smallest))[:, None]
    needed = np.where(same_trips, tiles_over_blocks(size, grown, tile), np.iinfo(np.int64).max)
    fewer = np.ones_like(same_trips)
    fewer[:, 1:] = needed[:, 1:] < np.minimum.accumulate(needed, axis=1)[:, :-1]
    return np.unique(grown[same_trips & fewer])


def _largest_kc(space: Space, mc: _Array, nc: _Array, spilling: _Array | int) -> _Array:
    """The largest KC < K whose tiles fit beside 4-byte accumulators; below 1 where none does."""
    fixed = footprint(space, mc, 0 * mc, nc, 1, spilling)
    slope = footprint(space, mc, 0 * mc + 1, nc, 1, spilling) - fixed
    room = space.capacity - fixed
    fitting = np.where(slope > 0, room // np.maximum(slope, 1), np.where(room >= 0, space.problem.k, 0))
    return np.minimum(fitting, space.problem.k - 1)


def _candidates(
    space: Space, order: Order, family: GemmFamily, tile: RegisterTile, mc: _Array, nc: _Array
) -> tuple[_Array, _Array, _Array]:
    """MC, KC, NC (1-D each) of the feasible blocks that can be optimal for these pairs of MC and NC."""
    problem, k = space.problem, space.problem.k
    whole = np.full_like(mc, k)
    whole_counts = counts(problem, mc, whole, nc, tile)
    accumulating = np.asarray(passes(family, whole_counts)) > 1
    fits = np.asarray(footprint(space, mc, whole, nc, accumulating, 0)) <= space.capacity
    found = [(mc[fits], whole[fits], nc[fits])]
    if k > 1 and not bool(fits.all()):
        trips = {"m": ceil_div(problem.m, mc), "k": 0 * mc + 2, "n": ceil_div(problem.n, nc)}
        spilling = visits(order, trips, "C") > 1  # type: ignore[arg-type]
        allowed = np.asarray(~fits & (space.may_spill | ~np.asarray(spilling)))
        largest = _largest_kc(space, mc, nc, np.asarray(spilling).astype(np.int64))
        multiple = largest // tile.kr * tile.kr
        for kc in (largest, multiple):
            keep = allowed & (kc >= 1)
            found.append((mc[keep], kc[keep], nc[keep]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))  # type: ignore[return-value]


def _least_staging(space: Space) -> tuple[int, dict[Order, _Array]]:
    """The least cost of staging, and the blocks (rows MC, KC, NC) that reach it in each order.

    It depends on the trip counts alone, so the smallest blocks do, and the kernel that needs the least SRAM.
    """
    problem = space.problem
    m_blocks, n_blocks = smallest_blocks(problem.m), smallest_blocks(problem.n)
    mc, nc = (part.ravel() for part in np.meshgrid(m_blocks, n_blocks, indexing="ij"))
    plain = next(family for family, _ in space.kernels if family.stationary == "C")
    costs, blocks = {}, {}
    for order in ORDERS:
        at = _candidates(space, order, plain, _ONE, mc, nc)
        if len(at[0]):
            c = counts(problem, *at, _ONE)
            costs[order] = np.broadcast_to(np.asarray(staging_cost(space, order, c)), at[0].shape)
            blocks[order] = np.stack(at)
    least = min(int(cost.min()) for cost in costs.values())
    return least, {order: blocks[order][:, cost == least] for order, cost in costs.items() if (cost == least).any()}


def _solve_bytes(space: Space) -> _Best:
    """External bytes first; then the kernels over the pairs of MC and NC that reach the fewest."""
    problem = space.problem
    fewest, blocks = _least_staging(space)
    trips = ceil_div(np.array([[problem.m], [problem.k], [problem.n]]), np.concatenate([*blocks.values()], axis=1))
    pairs = {order: np.unique(at[[0, 2]], axis=1) for order, at in blocks.items()}
    best: _Best | None = None
    sets = np.unique(trips, axis=1)
    least = sets.min(axis=1).tolist()
    for coarse, family, tile in _kernels_by_bound(space, fewest, least):
        if best is not None and coarse > best.key[:2]:
            break
        fine = sets.T.tolist() if sets.shape[1] <= _FEW else [least]
        if best is not None and min(_bound(space, fewest, family, tile, each) for each in fine) > best.key[:2]:
            continue
        whole = _candidates(space, ORDERS[0], family, tile, np.array([problem.m]), np.array([problem.n]))
        if problem.k in whole[1] and ORDERS[0] in pairs:
            best = _better(best, space, ORDERS[0], family, tile, (whole[0][:1], whole[2][:1]))
            continue
        for order, (mc, nc) in pairs.items():
            best = _better(best, space, order, family, tile, _grow(problem.m, mc, tile.mr, problem.n, nc, tile.nr))
    assert best is not None
    return best


def _grow(m: int, mc: _Array, mr: int, n: int, nc: _Array, nr: int) -> tuple[_Array, _Array]:
    """Each pair of smallest blocks with the useful larger blocks of the same trip counts."""
    grown_m, grown_n = useful_blocks(m, np.unique(mc), mr), useful_blocks(n, np.unique(nc), nr)
    found_m, found_n = (part.ravel() for part in np.meshgrid(grown_m, grown_n, indexing="ij"))
    same = np.isin(ceil_div(m, found_m) * (n + 1) + ceil_div(n, found_n), ceil_div(m, mc) * (n + 1) + ceil_div(n, nc))
    return found_m[same], found_n[same]


def _solve_weighted(space: Space) -> _Best:
    """One weighted sum: every kernel over all useful blocks, skipping kernels whose bound cannot win."""
    problem, best = space.problem, None
    m_blocks, n_blocks = smallest_blocks(problem.m), smallest_blocks(problem.n)
    for bound, family, tile in _kernels_by_bound(space, _least_staging(space)[0], [1, 1, 1]):
        if best is not None and bound > best.key[:1]:
            break
        mc = useful_blocks(problem.m, m_blocks, tile.mr)
        nc = useful_blocks(problem.n, n_blocks, tile.nr)
        grid = np.meshgrid(mc, nc, indexing="ij")
        for order in ORDERS:
            best = _better(best, space, order, family, tile, (grid[0].ravel(), grid[1].ravel()))
    assert best is not None
    return best


def _kernels_by_bound(
    space: Space, staging: int, trips: list[int]
) -> list[tuple[tuple[int, ...], GemmFamily, RegisterTile]]:
    """The kernels with an objective that no blocks can better, best first.

    ``staging``: the least cost of staging; ``trips``: counts of M, K and N that no blocks can undercut.
    """
    found = [(_bound(space, staging, family, tile, trips), family, tile) for family, tile in space.kernels]
    return sorted(found, key=lambda entry: entry[0])


def _bound(space: Space, staging: int, family: GemmFamily, tile: RegisterTile, trips: list[int]) -> tuple[int, ...]:
    """The objective of a kernel with these trip counts and the fewest register tiles."""
    fewest = [-(-space.problem.sizes[d] // along) for d, along in zip(DIMS, tile, strict=True)]
    c = Counts(*trips, *map(max, fewest, trips))
    return tuple(int(part) for part in combined(space, staging, kernel_cost(space, family, tile, c)))


def _better(
    best: _Best | None,
    space: Space,
    order: Order,
    family: GemmFamily,
    tile: RegisterTile,
    pairs: tuple[_Array, _Array],
) -> _Best | None:
    """``best``, or the best of these blocks if it beats it: objective, then predicted cycles, then fewest blocks."""
    mc, kc, nc = _candidates(space, order, family, tile, *pairs)
    if not len(mc):
        return best
    c = counts(space.problem, mc, kc, nc, tile)
    key = [*price(space, family, tile, order, c), waited_time(space, family, tile, c), c.tm * c.tk * c.tn]
    chosen = np.arange(len(mc))
    for part in key:
        values = np.broadcast_to(np.asarray(part), mc.shape)[chosen]
        chosen = chosen[values == values.min()]
    i = chosen[0]
    found = tuple(int(np.broadcast_to(np.asarray(part), mc.shape)[i]) for part in key)
    if best is not None and best.key <= found:
        return best
    block = int(mc[i]), _even(space.problem.k, int(kc[i]), tile.kr), int(nc[i])
    schedule = space.schedule(order, block, family, tile)
    return _Best(found, schedule)


def _even(k: int, kc: int, kr: int) -> int:
    """A smaller KC of equal cost, the blocks even in size and a multiple of KR, if there is one."""
    trips = ceil_div(k, kc)
    smallest = ceil_div(k, trips)
    even = int(ceil_div(smallest, kr) * kr)
    same = even <= kc and tiles_over_blocks(k, even, kr) <= tiles_over_blocks(k, kc, kr) and ceil_div(k, even) == trips
    return even if same else kc
