"""The closed form of nests whose middle loop turns: for each block of the outer loop the largest middle one that fits.

With the outer block fixed and the innermost loop run once, a larger block of the middle loop has no more trips and
keeps no less at each turn, and the footprint is linear in it. ``docs/models.md`` has the proof (Lemma 4).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Space
from memaopt.models.blocks import smallest_blocks, useful_blocks
from memaopt.models.candidates import BlockCandidates, plainest, staging_of
from memaopt.models.prices import kernel_cost
from memaopt.models.traffic import ceil_div, counts, footprint, passes
from memaopt.models.walks import Ints, Walks, turning_walks, visits
from memaopt.problems.gemm import DIMS, Dim, Operand

_Array = npt.NDArray[np.int64]


class Reached(NamedTuple):
    """Walks of one order, of kernels that keep the same operand, and their blocks of the least staging."""

    walks: Walks
    blocks: BlockCandidates


def turning_blocks(
    space: Space, walks: Walks, family: GemmFamily, tile: RegisterTile, outer: _Array
) -> BlockCandidates:
    """The largest middle block that fits, in parts, for each walk (of one order) and each of these outer blocks."""
    problem, path, order = space.problem, walks.every, walks.choices[0].order
    outside, middle, _ = order
    block: dict[Dim, _Array] = {d: np.full_like(outer, problem.sizes[d]) for d in DIMS} | {outside: outer}
    accumulating = middle == "k" or bool(np.max(passes(family, counts(problem, 1, problem.k, 1, tile))) > 1)

    def need(length: int) -> _Array:
        at = {**block, middle: np.full_like(outer, length)}
        return np.asarray(footprint(space, path, at["m"], at["k"], at["n"], int(accumulating)))

    fixed = need(0)
    largest = np.minimum((space.capacity - fixed) // (need(1) - fixed), problem.sizes[middle] - 1)
    fits = largest >= 1
    if accumulating and family.stationary != "C":
        fits &= np.asarray(path.direct["C"]) == 0
    if not space.may_spill:
        trips: dict[Dim, Ints] = {d: ceil_div(problem.sizes[d], along) for d, along in block.items()}
        trips[middle] = ceil_div(problem.sizes[middle], np.maximum(largest, 1))
        fits &= np.asarray(visits(path, trips, "C")) == 1
    walk_index, at = np.nonzero(fits)
    chosen = {d: along[at] for d, along in block.items()} | {middle: largest[fits]}
    return BlockCandidates(walk_index, chosen["m"], chosen["k"], chosen["n"])


def least_turning(space: Space, most: int) -> tuple[int, dict[Operand, list[Reached]]]:
    """The least cost of staging of nests that turn, and what reaches it, by the operand that stays in registers; with
    nothing that reaches it, ``most``, where none costs as little as that.
    """
    if most == sum(space.problem.bytes_of(x) for x in space.staged):
        return most, {}  # whatever turns moves something again
    found: list[tuple[Operand, Walks, BlockCandidates, _Array]] = []
    for family, tile in plainest(space):
        for walks in turning_walks(space, family.stationary):
            size = space.problem.sizes[walks.choices[0].order[0]]
            blocks = smallest_blocks(size)
            at = turning_blocks(space, walks, family, tile, blocks[blocks < size])
            if len(at.mc):
                found.append((family.stationary, walks, at, staging_of(space, walks, at, tile)))
    least = min((int(cost.min()) for *_, cost in found), default=most + 1)
    reached: dict[Operand, list[Reached]] = {}
    for stationary, walks, at, cost in found:
        if least <= most and cost.min() == least:
            reached.setdefault(stationary, []).append(Reached(walks, at.chosen(cost == least)))
    return min(least, most), reached


def turning_best(
    space: Space, reached: Reached, family: GemmFamily, tile: RegisterTile, fewest: int, most: int | None
) -> tuple[Walks, BlockCandidates] | None:
    """Of a kernel, the blocks that reach ``fewest`` on these walks and trips of the outer loop and move no more than
    ``most`` to and from registers, None if none does.
    """
    walks, blocks = reached
    order, sizes = walks.choices[0].order, space.problem.sizes
    among = walks.some(np.unique(blocks.walk))
    outside = order[0]
    smallest = np.unique(blocks.along(outside))
    along = tile[DIMS.index(outside)]
    outer = useful_blocks(sizes[outside], smallest, along, runs=outside == "n")
    of_order = next(each for each in turning_walks(space, family.stationary) if each.choices[0].order == order)
    some = of_order.some(np.sort(of_order.named(among)))
    at = turning_blocks(space, some, family, tile, outer)
    if most is not None and len(at.mc):
        c = counts(space.problem, *at[1:], tile)
        at = at.chosen(np.asarray(kernel_cost(space, family, tile, c) <= most))
    if not len(at.mc):
        return None
    at = at.chosen(staging_of(space, some, at, tile) == fewest)
    return (some, _with_equals(space, order[:2], at)) if len(at.mc) else None


def _with_equals(space: Space, order: tuple[Dim, ...], at: BlockCandidates) -> BlockCandidates:
    """These blocks with the smaller middle ones that keep as much: those of two trips, where the turns at both ends are
    as many.
    """
    outside, middle = order
    size = space.problem.sizes[middle]
    half = -(-size // 2)
    even = (np.asarray(ceil_div(space.problem.sizes[outside], at.along(outside))) - 1) % 2 == 0
    smaller = np.where(even & (at.along(middle) > half), at.along(middle) - half, 0)
    places = np.repeat(np.arange(len(smaller)), smaller + 1)
    less = np.arange(len(places)) - np.repeat(np.cumsum(smaller + 1) - smaller - 1, smaller + 1)
    return at.chosen(places).shorter(middle, less)
