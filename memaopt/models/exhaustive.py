"""The solver-free proof: every breakpoint of every loop, every order, every kernel, priced by the cost function.

It shares nothing with the closed form and the solver but that cost function. Blocks are dropped only where a
smaller block costs no more: the cost never falls when a trip or tile count grows, nor the footprint when a block
does. ``tests`` hold this against a search that drops nothing.
"""

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from memaopt.errors import InfeasibleError
from memaopt.families import Family, RegisterTile
from memaopt.models.answers import Answer
from memaopt.models.traffic import (
    ceil_div,
    check_feasible,
    counts,
    external_bytes,
    footprint,
    passes,
    price,
    tiles_over_blocks,
    visits,
)
from memaopt.problems import DIMS, Dim
from memaopt.schedules import ORDERS, Order, Schedule, Space

_Array = npt.NDArray[np.int64]


def solve(space: Space) -> Answer:
    """The optimal schedule of ``space``, by enumeration. Raises InfeasibleError if no schedule fits."""
    start = time.perf_counter()
    check_feasible(space)
    only = _trips_with_fewest_external_bytes(space) if space.objective == "bytes" else None
    best: tuple[int, ...] | None = None
    schedule: Schedule | None = None
    for bound, family, tile in sorted(_bounded_kernels(space), key=lambda entry: entry[0]):
        if best is not None and bound[-1] >= best[-1]:
            continue
        grid = _grid(space, tile, only)
        for order, mc, kc, nc, cost in _feasible(space, family, tile, grid):
            i = _argmin(cost)
            found = tuple(int(part[i]) for part in cost)
            if best is None or found < best:
                best = found
                schedule = Schedule(
                    order=order, mc=int(mc[i]), kc=int(kc[i]), nc=int(nc[i]), buffering=space.buffering,
                    kernel=family.name, mr=tile.mr, kr=tile.kr, nr=tile.nr,
                )  # fmt: skip
    if best is None or schedule is None:
        raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
    spent = 1e3 * (time.perf_counter() - start)
    return Answer(model="exhaustive", schedule=schedule, objective=best, proven=True, milliseconds=spent)


def breakpoints(size: int, tile: int) -> _Array:
    """The blocks of a loop that no smaller block replaces: fewer trips, or as many with fewer register tiles."""
    blocks = np.arange(1, size + 1, dtype=np.int64)
    trips, needed = ceil_div(size, blocks), tiles_over_blocks(size, blocks, tile)
    order = np.lexsort((blocks, -trips))
    keep, current, fewest = [], -1, 0
    for block, t, r in zip(blocks[order].tolist(), trips[order].tolist(), needed[order].tolist(), strict=True):
        if t != current or r < fewest:
            keep.append(block)
            current, fewest = t, r
    return np.array(keep, dtype=np.int64)


def _bounded_kernels(space: Space) -> Iterator[tuple[tuple[int, ...], Family, RegisterTile]]:
    """Each kernel with its objective if one block held everything: no schedule with that kernel costs less."""
    problem = space.problem
    for family, tile in space.kernels:
        c = counts(problem, problem.m, problem.k, problem.n, tile)
        yield tuple(int(part) for part in price(space, family, tile, ORDERS[0], c)), family, tile


def _grid(space: Space, tile: RegisterTile, only: dict[Dim, _Array] | None) -> tuple[_Array, _Array, _Array]:
    """All combinations of the breakpoints of M, K and N, kept to the trip counts in ``only`` if given."""
    axes = []
    for d, along in zip(DIMS, tile, strict=True):
        size = space.problem.sizes[d]
        blocks = breakpoints(size, along)
        axes.append(blocks if only is None else blocks[np.isin(ceil_div(size, blocks), only[d])])
    mc, kc, nc = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    return mc, kc, nc


def _feasible(
    space: Space, family: Family, tile: RegisterTile, grid: tuple[_Array, _Array, _Array]
) -> Iterator[tuple[Order, _Array, _Array, _Array, list[_Array]]]:
    """For each order, the blocks of the grid that fit, with their cost."""
    for order in ORDERS:
        c = counts(space.problem, *grid, tile)
        spilling = np.asarray(visits(order, c.trips, "C") > 1)
        need = footprint(space, *grid, np.asarray(passes(family, c) > 1), spilling)
        fits = (np.asarray(need) <= space.capacity) & (space.may_spill | ~spilling)
        if fits.any():
            mc, kc, nc = (axis[fits] for axis in grid)
            cost = price(space, family, tile, order, counts(space.problem, mc, kc, nc, tile))
            yield order, mc, kc, nc, [np.broadcast_to(np.asarray(part), mc.shape) for part in cost]


def _argmin(cost: list[_Array]) -> int:
    """The index of the lexicographically smallest cost."""
    chosen = np.arange(len(cost[0]))
    for part in cost:
        chosen = chosen[part[chosen] == part[chosen].min()]
    return int(chosen[0])


def _trips_with_fewest_external_bytes(space: Space) -> dict[Dim, _Array]:
    """The trip counts of each loop with which the fewest external bytes are reached; they rule out all others.

    External bytes depend on the trip counts alone, and a kernel that keeps C in registers needs the least SRAM.
    """
    family = next(family for family, _ in space.kernels if family.stationary == "C")
    one = RegisterTile(1, 1, 1)
    fewest: int | None = None
    found: dict[Dim, list[_Array]] = {}
    for order, mc, kc, nc, _ in _feasible(space, family, one, _grid(space, one, None)):
        c = counts(space.problem, mc, kc, nc, one)
        moved = np.broadcast_to(np.asarray(external_bytes(space, order, c)), mc.shape)
        least = int(moved.min())
        if fewest is None or least < fewest:
            fewest, found = least, {d: [] for d in DIMS}
        if least == fewest:
            for d in DIMS:
                found[d].append(np.asarray(c.trips[d])[moved == least])
    if fewest is None:
        raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
    return {d: np.unique(np.concatenate(parts)) for d, parts in found.items()}
