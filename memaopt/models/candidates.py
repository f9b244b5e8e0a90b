"""The blocks that can be optimal for pairs of MC and NC: what the closed form prices.

With MC and NC fixed the footprint is linear in KC, so the largest KC that fits follows from the capacity.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Space
from memaopt.models.blocks import useful_kc
from memaopt.models.prices import staging_cost
from memaopt.models.traffic import ceil_div, counts, footprint, looped_of, passes
from memaopt.models.walks import BlockWalk, Ints, WalkChoice, choices, together, visits, walk
from memaopt.problems.gemm import OPERANDS, Dim, Operand

_Array = npt.NDArray[np.int64]


class BlockCandidates(NamedTuple):
    """Candidates, 1-D each: the index of the walk among those looked at, and its block."""

    walk: _Array
    mc: _Array
    kc: _Array
    nc: _Array

    def chosen(self, at: _Array) -> "BlockCandidates":
        """Those at these places."""
        return BlockCandidates(*(part[at] for part in self))

    def along(self, d: Dim) -> _Array:
        """MC, KC or NC."""
        return {"m": self.mc, "k": self.kc, "n": self.nc}[d]

    def shorter(self, d: Dim, by: _Array) -> "BlockCandidates":
        """These with so much less along a loop."""
        return self._replace(**{f"{d}c": self.along(d) - by})


class Walks(NamedTuple):
    """Walks of kernels that keep the same operand in registers, with their flags together."""

    choices: tuple[WalkChoice, ...]
    flags: BlockWalk

    def of(self, found: BlockCandidates) -> BlockWalk:
        """The flags of each candidate."""
        return self.flags.at(found.walk)


def walks_of(space: Space, stationary: Operand, among: Collection[WalkChoice] | None = None) -> Walks:
    found = tuple(each for each in choices(space, stationary) if among is None or each in among)
    return Walks(found, together([walk(space, *each) for each in found]))


def _largest_kc(space: Space, path: BlockWalk, mc: _Array, nc: _Array) -> _Array:
    """The largest KC < K whose tiles fit beside 4-byte accumulators; below 1 where none does."""
    fixed = np.asarray(footprint(space, path, mc, 0 * mc, nc, 1))
    slope = np.asarray(footprint(space, path, mc, 0 * mc + 1, nc, 1)) - fixed
    room = space.capacity - fixed
    fitting = np.where(slope > 0, room // np.maximum(slope, 1), np.where(room >= 0, space.problem.k, 0))
    return np.minimum(fitting, space.problem.k - 1)


def candidates(
    space: Space, walks: Walks, family: GemmFamily, tile: RegisterTile, mc: _Array, nc: _Array
) -> BlockCandidates:
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
    return BlockCandidates(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _looped_candidates(space: Space, walks: Walks, lengths: _Array, mc: _Array, nc: _Array) -> BlockCandidates:
    """Each pair of MC and NC with each KC of these that fits, for each walk of a kernel that keeps C."""
    path, times = walks.flags, len(lengths)
    mc, nc, kc = np.repeat(mc, times), np.repeat(nc, times), np.tile(lengths, len(mc))
    trips: dict[Dim, Ints] = {"m": ceil_div(space.problem.m, mc), "k": ceil_div(space.problem.k, kc)}
    trips["n"] = ceil_div(space.problem.n, nc)
    fits = np.asarray(footprint(space, path, mc, kc, nc, trips["k"] > 1) <= space.capacity)
    if not space.may_spill:
        fits = fits & (np.asarray(visits(path, trips, "C")) == 1)
    walk_index, at = np.nonzero(fits)
    return BlockCandidates(walk_index, mc[at], kc[at], nc[at])


def _at(kept: _Array, mc: _Array, kc: _Array, nc: _Array) -> BlockCandidates:
    """The places that are kept of a grid of walks by pairs of MC and NC."""
    walk_index, pair = np.nonzero(kept)
    return BlockCandidates(walk_index, mc[pair], kc[walk_index, pair], nc[pair])


def staging_of(space: Space, walks: Walks, at: BlockCandidates, tile: RegisterTile) -> _Array:
    """What staging costs with each of these blocks."""
    cost = np.asarray(staging_cost(space, walks.of(at), counts(space.problem, *at[1:], tile)))
    return np.broadcast_to(cost, at.mc.shape)


def plainest(space: Space) -> Iterator[tuple[GemmFamily, RegisterTile]]:
    """A kernel for each operand that stays in registers, none of which needs less SRAM: sums leave the registers last.

    Without a tile of A or B saved, none needs less than those that keep C.
    """
    for operand in OPERANDS:
        kernels = [each for each in space.kernels if each[0].stationary == operand]
        if kernels and (operand == "C" or operand in space.staged):
            widest = 1 if operand == "C" else max(tile.kr for _, tile in kernels)
            yield kernels[0][0], RegisterTile(1, widest, 1)
