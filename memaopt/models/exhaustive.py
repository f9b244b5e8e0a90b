"""The solver-free proof: every breakpoint of every loop, every order, every kernel, priced by the cost function.

It shares nothing with the closed form and the solver but that cost function. Blocks are dropped only where a
smaller block costs no more: the cost never falls when a trip or tile count grows, nor the footprint when a block
does. ``tests`` hold this against a search that drops nothing.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.errors import InfeasibleError
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
    staging_cost,
    tiles_over_blocks,
    visits,
)
from memaopt.problems.gemm import DIMS, Dim

_Array = npt.NDArray[np.int64]
#: Cells of the grid that are looked at together.
_SLAB = 1 << 21


class _Cells(NamedTuple):
    """Blocks that fit whatever the loop order, one in each place, and what determines their traffic."""

    mc: _Array
    kc: _Array
    nc: _Array
    c: Counts


def solve(space: Space) -> Answer:
    """The optimal schedule of ``space``, by enumeration. Raises InfeasibleError if no schedule fits."""
    if space.layers:
        return layer_kernels.exhaustive(space)
    start = time.perf_counter()
    check_feasible(space)
    staging, only = _least_staging(space)
    best: tuple[int, ...] | None = None
    schedule: Schedule | None = None
    for bound, family, tile in sorted(_bounded_kernels(space, staging), key=lambda entry: entry[0]):
        if best is not None and bound >= best:
            continue
        for cells in _feasible(space, family, tile, only):
            kernel = np.broadcast_to(np.asarray(kernel_cost(space, family, tile, cells.c)), cells.mc.shape)
            for order, i in _allowed(space, family, cells):
                cost = combined(space, _staging(space, order, cells)[i], kernel[i])
                at = _argmin([np.asarray(part) for part in cost])
                found = tuple(int(np.asarray(part)[at]) for part in cost)
                if best is None or found < best:
                    mc, kc, nc = (int(axis[i[at]]) for axis in cells[:3])
                    best = found
                    schedule = space.schedule(order, (mc, kc, nc), family, tile)
    if best is None or schedule is None:
        raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
    spent = 1e3 * (time.perf_counter() - start)
    return Answer(model="exhaustive", schedule=schedule, objective=best, proven=True, milliseconds=spent)


def breakpoints(size: int, tile: int) -> _Array:
    """The blocks of a loop that no smaller block replaces: fewer trips, or as many with fewer register tiles."""
    blocks = np.arange(1, size + 1, dtype=np.int64)
    trips = np.asarray(ceil_div(size, blocks))
    needed = np.asarray(tiles_over_blocks(size, blocks, tile))
    # Trip counts fall as blocks grow; each run of equal ones is set below the one before, so its minimum starts anew.
    run = np.concatenate([[0], np.cumsum(trips[1:] != trips[:-1])])
    lowered = needed - run * (size + 1)
    keep = np.ones(size, dtype=bool)
    keep[1:] = lowered[1:] < np.minimum.accumulate(lowered)[:-1]
    return blocks[keep]


def _least_staging(space: Space) -> tuple[int, dict[Dim, _Array] | None]:
    """The least cost of staging, and under ``bytes`` the trip counts that reach it, which rule out all others.

    Staging depends on the trip counts alone, and a kernel that keeps C in registers needs the least SRAM.
    """
    family, one = next(family for family, _ in space.kernels if family.stationary == "C"), RegisterTile(1, 1, 1)
    least: int | None = None
    found: dict[Dim, list[_Array]] = {}
    for cells in _feasible(space, family, one, None):
        for order, i in _allowed(space, family, cells):
            cost = _staging(space, order, cells)[i]
            if least is None or cost.min() < least:
                least, found = int(cost.min()), {d: [] for d in DIMS}
            for d, trips in cells.c.trips.items():
                found[d].append(np.unique(np.asarray(trips)[i][cost == least]))
    if least is None:
        raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
    first_part_alone = len(combined(space, 0, 0)) > 1
    return least, {d: np.unique(np.concatenate(parts)) for d, parts in found.items()} if first_part_alone else None


def _bounded_kernels(space: Space, staging: int) -> Iterator[tuple[tuple[int, ...], GemmFamily, RegisterTile]]:
    """Each kernel with the least staging and its cost if one block held everything: it can do no better."""
    problem = space.problem
    for family, tile in space.kernels:
        c = counts(problem, problem.m, problem.k, problem.n, tile)
        bound = combined(space, staging, kernel_cost(space, family, tile, c))
        yield tuple(int(part) for part in bound), family, tile


def _feasible(space: Space, family: GemmFamily, tile: RegisterTile, only: dict[Dim, _Array] | None) -> Iterator[_Cells]:
    """All combinations of the breakpoints of M, K and N that fit, of the trip counts in ``only`` if given.

    They come in slabs along M, so that the memory this takes stays bounded.
    """
    axes = []
    for d, along in zip(DIMS, tile, strict=True):
        size = space.problem.sizes[d]
        blocks = breakpoints(size, along)
        axes.append(blocks if only is None else blocks[np.isin(ceil_div(size, blocks), only[d])])
    slabs = 1 + len(axes[0]) * len(axes[1]) * len(axes[2]) // _SLAB
    for m_axis in np.array_split(axes[0], min(slabs, len(axes[0]))):
        mesh_m, mesh_k, mesh_n = np.ix_(m_axis, axes[1], axes[2])
        c = counts(space.problem, mesh_m, mesh_k, mesh_n, tile)
        need = np.asarray(footprint(space, mesh_m, mesh_k, mesh_n, np.asarray(passes(family, c)) > 1, 0))
        at = np.nonzero(np.broadcast_to(need, [len(axis) for axis in (m_axis, *axes[1:])]) <= space.capacity)
        if len(at[0]):
            mc, kc, nc = (axis[i] for axis, i in zip((m_axis, *axes[1:]), at, strict=True))
            tm, tk, tn, rm, rk, rn = (np.asarray(part).ravel()[i] for part, i in zip(c, at * 2, strict=True))
            yield _Cells(mc, kc, nc, Counts(tm, tk, tn, rm, rk, rn))


def _allowed(space: Space, family: GemmFamily, cells: _Cells) -> Iterator[tuple[Order, _Array]]:
    """For each order, the cells that fit if partial sums leave SRAM, where they do, and that may do so."""
    accumulating = np.asarray(passes(family, cells.c)) > 1
    for order in ORDERS:
        spilling = np.asarray(visits(order, cells.c.trips, "C")) > 1
        need = np.asarray(footprint(space, *cells[:3], accumulating, spilling))
        allowed = (need <= space.capacity) & (space.may_spill | ~spilling)
        if allowed.any():
            yield order, np.nonzero(allowed)[0]


def _staging(space: Space, order: Order, cells: _Cells) -> _Array:
    """What staging costs in each cell."""
    return np.broadcast_to(np.asarray(staging_cost(space, order, cells.c)), cells.mc.shape)


def _argmin(cost: list[_Array]) -> int:
    """The index of the lexicographically smallest cost."""
    chosen = np.arange(len(cost[0]))
    for part in cost:
        chosen = chosen[part[chosen] == part[chosen].min()]
    return int(chosen[0])
