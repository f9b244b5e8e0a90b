"""Where the fewest external bytes are reached, and what a kernel moves there at least: what the closed form looks at.

A place is a walk with the trip counts of its loops, by their smallest blocks. What a kernel moves to and from registers
does not fall as trips or register tiles grow, so that what it moves there is bounded before its blocks are known.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Space
from memaopt.models.blocks import useful_blocks
from memaopt.models.candidates import BlockCandidates, Places
from memaopt.models.prices import kernel_cost
from memaopt.models.traffic import ceil_div, counts
from memaopt.models.walks import Ints
from memaopt.problems.gemm import Gemm

_Array = npt.NDArray[np.int64]


class ReachedPlaces(NamedTuple):
    """Places, 1-D each: the number of a walk, the blocks of M and N, and the fewest trips of K."""

    walk: _Array
    mc: _Array
    nc: _Array
    tk: _Array

    def chosen(self, at: npt.NDArray[np.bool_]) -> "ReachedPlaces":
        """Those where this holds."""
        return ReachedPlaces(*(part[at] for part in self))

    @property
    def places(self) -> Places:
        """The same without the trips of K."""
        return Places(self.walk, self.mc, self.nc)


def places_of(problem: Gemm, found: BlockCandidates) -> ReachedPlaces:
    """The places of these blocks."""
    tk = np.asarray(ceil_div(problem.k, found.kc))
    ordered = np.stack([found.walk, found.mc, found.nc, tk])[:, np.lexsort([tk, found.nc, found.mc, found.walk])]
    fresh = np.ones(ordered.shape[1], dtype=bool)
    fresh[1:] = (ordered[:3, 1:] != ordered[:3, :-1]).any(axis=0)
    return ReachedPlaces(*ordered[:, fresh])


def fewest_trips(problem: Gemm, found: Iterable[BlockCandidates]) -> _Array:
    """The trip counts of M, K and N of these blocks, a column each, without those that others undercut."""
    sizes = np.array([[problem.m], [problem.k], [problem.n]])
    left = np.asarray(ceil_div(sizes, np.concatenate([np.stack(at[1:]) for at in found], axis=1)))
    least = []
    while left.shape[1]:
        least.append(left[:, int(np.argmin(left.sum(axis=0)))])
        left = left[:, (left < least[-1][:, None]).any(axis=0)]
    return np.stack(least, axis=1)


def least_cost(
    space: Space, family: GemmFamily, tile: RegisterTile, at: ReachedPlaces, as_they_are: bool = False
) -> _Array:
    """What a kernel costs at least at each place: with these blocks of M and N, or, unless they are looked at
    ``as_they_are``, with larger ones of as many trips.
    """
    problem = space.problem
    c = counts(problem, at.mc, problem.k, at.nc, tile)
    if not as_they_are:
        whole = counts(problem, problem.m, problem.k, problem.n, tile)
        c = c._replace(rm=np.maximum(whole.rm, c.tm), rn=np.maximum(whole.rn, c.tn), cn=np.maximum(whole.cn, c.tn))
    cost: Ints = kernel_cost(space, family, tile, c._replace(tk=at.tk, rk=np.maximum(c.rk, at.tk)))
    return np.broadcast_to(np.asarray(cost), at.mc.shape)


def grown(problem: Gemm, at: ReachedPlaces, tile: RegisterTile) -> ReachedPlaces:
    """Each place with the useful larger blocks of the same trip counts, too; the walks outermost, then M."""
    every_m = useful_blocks(problem.m, np.unique(at.mc), tile.mr)
    every_n = useful_blocks(problem.n, np.unique(at.nc), tile.nr, runs=True)
    (from_m, few_m), (from_n, few_n) = _alike(problem.m, every_m, at.mc), _alike(problem.n, every_n, at.nc)
    times = few_m * few_n
    place = np.repeat(np.arange(len(times)), times)
    within = np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times)
    mc, nc = every_m[from_m[place] + within // few_n[place]], every_n[from_n[place] + within % few_n[place]]
    walk = at.walk[place]
    order = np.lexsort([nc, mc, walk])
    return ReachedPlaces(walk[order], mc[order], nc[order], at.tk[place][order])


def _alike(size: int, every: _Array, blocks: _Array) -> tuple[_Array, _Array]:
    """Where, in ascending blocks, those begin that have as many trips as each of ``blocks``, and how many they are."""
    trips, wanted = -np.asarray(ceil_div(size, every)), -np.asarray(ceil_div(size, blocks))
    first = np.searchsorted(trips, wanted, side="left")
    return first, np.searchsorted(trips, wanted, side="right") - first
