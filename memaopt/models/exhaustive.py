"""The solver-free proof: every breakpoint of every loop, every order, every kernel, priced by the cost function.

It shares nothing with the closed form and the solver but that cost function. Blocks are dropped only where a
smaller block costs no more: the cost never falls when a trip or tile count grows, nor the footprint when a block
does. ``tests`` hold this against a search that drops nothing.
"""

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.errors import InfeasibleError
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile, Unrolling
from memaopt.kernels.schedule import Order, Schedule, Space
from memaopt.models import layer_kernels
from memaopt.models.answers import Answer
from memaopt.models.feasibility import check_feasible
from memaopt.models.prices import combined, kernel_cost, staging_cost
from memaopt.models.traffic import (
    Counts,
    ceil_div,
    counts,
    footprint,
    loop_words,
    looped_of,
    may_be_direct,
    passes,
    runs_over_blocks,
    tiles_over_blocks,
)
from memaopt.models.walks import BlockWalk, Ints, WalkChoice, choices, turning_choices, visits, walk
from memaopt.problems.gemm import DIMS, OPERANDS, Dim

_Array = npt.NDArray[np.int64]
#: Cells of the grid that are looked at together.
_SLAB = 1 << 18


class _Cells(NamedTuple):
    """Blocks, one in each place, and what determines their traffic."""

    mc: _Array
    kc: _Array
    nc: _Array
    c: Counts

    def at(self, places: _Array) -> "_Cells":
        """Some of them."""
        mc, kc, nc, *c = (np.asarray(part)[places] for part in (*self[:3], *self.c))
        return _Cells(mc, kc, nc, Counts(*c))


def solve(space: Space) -> Answer:
    """The optimal schedule of ``space``, by enumeration. Raises InfeasibleError if no schedule fits."""
    if space.layers:
        return layer_kernels.exhaustive(space)
    start = time.perf_counter()
    check_feasible(space)
    staging, only, turning = _least_staging(space)
    best: tuple[int, ...] | None = None
    schedule: Schedule | None = None
    for bound, family, tile in sorted(_bounded_kernels(space, staging), key=lambda entry: entry[0]):
        if best is not None and bound >= best:
            continue
        looped = looped_of(space, family, tile)
        straight = ((cells, choices(space, family.stationary)) for cells in _grid(space, tile, looped, only))
        for cells, walks in chain(straight, _turning_grid(space, family, tile, looped, turning)):
            kernel = _over(cells, kernel_cost(space, family, tile, cells.c))
            still = _below(combined(space, staging, kernel), best)
            cells, kernel = cells.at(still), kernel[still]
            for choice, path, at in _allowed(space, family, cells, walks):
                cost = [np.asarray(part) for part in combined(space, _staging(space, path, cells.at(at)), kernel[at])]
                i = _argmin(cost)
                found = tuple(int(part[i]) for part in cost)
                if best is None or found < best:
                    best = found
                    block = int(cells.mc[at[i]]), int(cells.kc[at[i]]), int(cells.nc[at[i]])
                    schedule = space.schedule(*choice, block, family, tile)
    if best is None or schedule is None:
        raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
    spent = 1e3 * (time.perf_counter() - start)
    return Answer(model="exhaustive", schedule=schedule, objective=best, proven=True, milliseconds=spent)


def breakpoints(size: int, *counted: _Array) -> _Array:
    """The blocks of a loop that no smaller block replaces: fewer trips, or as many with less of what is ``counted``,
    for each block from 1 to ``size``.
    """
    blocks = np.arange(1, size + 1, dtype=np.int64)
    trips = np.asarray(ceil_div(size, blocks))
    keep: list[bool] = []
    before, front = 0, list[list[int]]()
    for these, *seen in zip(trips.tolist(), *(part.tolist() for part in counted), strict=True):
        front = front if these == before else []
        keep.append(not any(all(a <= b for a, b in zip(one, seen, strict=True)) for one in front))
        if keep[-1]:
            front = [*front, seen]
        before = these
    return blocks[keep]


@lru_cache(maxsize=512)
def _axis(size: int, d: Dim, along: int, looped: Unrolling | None) -> _Array:
    """The breakpoints of a loop whose register tiles are ``along`` long."""
    blocks = np.arange(1, size + 1, dtype=np.int64)
    counted = [np.asarray(tiles_over_blocks(size, blocks, along))]
    if d == "n":
        counted.append(np.asarray(runs_over_blocks(size, blocks, along)))
    if d == "k" and looped is not None:
        counted.append(loop_words(size, along, looped)[1:])
    return breakpoints(size, *counted)


def _least_staging(space: Space) -> tuple[int, dict[Dim, _Array] | None, dict[Order, _Array]]:
    """The least cost of staging, and under ``bytes`` the trip counts that reach it, which rule out all others; of loops
    that turn the trips of the outer and the block of the middle one, by the order.

    Staging depends on the walk and the trip counts alone. Of the kernels that keep the same operand in registers, none
    needs less SRAM than one with the longest KR, whose sums leave the registers last.
    """
    least: int | None = None
    found: dict[Dim, list[_Array]] = {}
    turning: dict[Order, list[_Array]] = {}
    for operand in OPERANDS:
        kernels = [each for each in space.kernels if each[0].stationary == operand]
        if not kernels:
            continue
        longest = RegisterTile(1, 1 if operand == "C" else max(tile.kr for _, tile in kernels), 1)
        family = kernels[0][0]
        straight = ((cells, choices(space, operand)) for cells in _grid(space, longest, None, None))
        for cells, walks in chain(straight, _turning_grid(space, family, longest, None, None)):
            for choice, path, at in _allowed(space, family, cells, walks):
                cost = _staging(space, path, cells.at(at))
                if least is None or cost.min() < least:
                    least, found, turning = int(cost.min()), {d: [] for d in DIMS}, {}
                reach, trips = at[cost == least], cells.c.trips
                if choice.turning:
                    outer, middle, _ = choice.order
                    reached = np.stack([np.asarray(each)[reach] for each in (trips[outer], cells.c.blocks[middle])])
                    turning.setdefault(choice.order, []).append(reached)
                else:
                    for d in DIMS:
                        found[d].append(np.unique(np.asarray(trips[d])[reach]))
    if least is None:
        raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
    turned = {order: np.unique(np.concatenate(parts, axis=1), axis=1) for order, parts in turning.items()}
    if len(combined(space, 0, 0)) == 1:
        return least, None, turned
    none = np.empty(0, dtype=np.int64)
    return least, {d: np.unique(np.concatenate([none, *parts])) for d, parts in found.items()}, turned


def _bounded_kernels(space: Space, staging: int) -> Iterator[tuple[tuple[int, ...], GemmFamily, RegisterTile]]:
    """Each kernel with the least staging and its cost if one block held everything: it can do no better."""
    problem = space.problem
    for family, tile in space.kernels:
        c = counts(problem, problem.m, problem.k, problem.n, tile)  # without a loop that uses the stack
        bound = combined(space, staging, kernel_cost(space, family, tile, c))
        yield tuple(int(part) for part in bound), family, tile


def _grid(
    space: Space, tile: RegisterTile, looped: Unrolling | None, only: dict[Dim, _Array] | None
) -> Iterator[_Cells]:
    """All combinations of the breakpoints of M, K and N, of the trip counts in ``only`` if given.

    They come in slabs along M, so that the memory this takes stays bounded.
    """
    axes = []
    for d, along in zip(DIMS, tile, strict=True):
        size = space.problem.sizes[d]
        blocks = _axis(size, d, along, looped)
        axes.append(blocks if only is None else blocks[np.isin(ceil_div(size, blocks), only[d])])
    if not all(map(len, axes)):
        return
    slabs = 1 + len(axes[0]) * len(axes[1]) * len(axes[2]) // _SLAB
    for m_axis in np.array_split(axes[0], min(slabs, len(axes[0]))):
        mc, kc, nc = (axis.ravel() for axis in np.meshgrid(m_axis, axes[1], axes[2], indexing="ij"))
        yield _Cells(mc, kc, nc, counts(space.problem, mc, kc, nc, tile, looped))


def _turning_grid(
    space: Space,
    family: GemmFamily,
    tile: RegisterTile,
    looped: Unrolling | None,
    only: dict[Order, _Array] | None,
) -> Iterator[tuple[_Cells, tuple[WalkChoice, ...]]]:
    """For each order whose middle loop may turn, its walks and the breakpoints of the outer loop with every block of
    the middle one, since what a turn keeps grows with it; of the outer trips and middle blocks in ``only`` if given.
    """
    sizes, by_order = space.problem.sizes, itemgetter(0)
    for order, walks in groupby(turning_choices(space, family.stationary), key=by_order):
        outer, middle, innermost = order
        if only is not None and order not in only:
            continue
        blocks, every = _axis(sizes[outer], outer, tile[DIMS.index(outer)], looped), np.arange(1, sizes[middle])
        outside, within = (axis.ravel() for axis in np.meshgrid(blocks[:-1], every, indexing="ij"))
        if only is not None:
            trips, wanted = only[order]
            codes = trips * (sizes[middle] + 1) + wanted
            kept = np.isin(np.asarray(ceil_div(sizes[outer], outside)) * (sizes[middle] + 1) + within, codes)
            outside, within = outside[kept], within[kept]
        if len(outside):
            of = {outer: outside, middle: within, innermost: np.full_like(outside, sizes[innermost])}
            mc, kc, nc = (of[d] for d in DIMS)
            yield _Cells(mc, kc, nc, counts(space.problem, mc, kc, nc, tile, looped)), tuple(walks)


def _allowed(
    space: Space, family: GemmFamily, cells: _Cells, walks: Iterable[WalkChoice]
) -> Iterator[tuple[WalkChoice, BlockWalk, _Array]]:
    """Each walk with the cells that fit in it, and whose partial sums have a place where they leave SRAM."""
    accumulating = np.asarray(passes(family, cells.c)) > 1
    for choice in walks:
        path = walk(space, *choice)
        fits = np.asarray(np.asarray(footprint(space, path, *cells[:3], accumulating)) <= space.capacity)
        for x in OPERANDS:
            if path.direct[x]:
                fits = fits & np.asarray(may_be_direct(family, cells.c, x))
        if not space.may_spill:
            fits = fits & (np.asarray(visits(path, cells.c.trips, "C")) == 1)
        if fits.any():
            yield choice, path, np.nonzero(fits)[0]


def _below(cost: tuple[Ints, ...], best: tuple[int, ...] | None) -> _Array:
    """Where a cost comes before the best."""
    parts = np.broadcast_arrays(*cost)
    if best is None:
        return np.arange(len(parts[0]))
    less = np.zeros(len(parts[0]), dtype=bool)
    for part, limit in reversed(list(zip(parts, best, strict=True))):
        less = (part < limit) | ((part == limit) & less)
    return np.nonzero(less)[0]


def _over(cells: _Cells, value: Ints) -> _Array:
    return np.broadcast_to(np.asarray(value), cells.mc.shape)


def _staging(space: Space, path: BlockWalk, cells: _Cells) -> _Array:
    """What staging costs in each cell."""
    return _over(cells, staging_cost(space, path, cells.c))


def _argmin(cost: list[_Array]) -> int:
    """The index of the lexicographically smallest cost."""
    chosen = np.arange(len(cost[0]))
    for part in cost:
        chosen = chosen[part[chosen] == part[chosen].min()]
    return int(chosen[0])
