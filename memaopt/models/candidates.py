"""The blocks that can be optimal for pairs of MC and NC: what the closed form prices.

With MC and NC fixed the footprint is linear in KC, so the largest KC that fits follows from the capacity.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import Space
from memaopt.models.blocks import useful_kc
from memaopt.models.prices import staging_cost
from memaopt.models.traffic import ceil_div, counts, footprint, looped_of, passes
from memaopt.models.walks import BlockWalk, Ints, Walks, visits
from memaopt.problems.gemm import OPERANDS, Dim

_Array = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


class BlockCandidates(NamedTuple):
    """Candidates, 1-D each: the index of the walk among those looked at, and its block."""

    walk: _Array
    mc: _Array
    kc: _Array
    nc: _Array

    def chosen(self, at: _Array | _Flags) -> "BlockCandidates":
        """Those at these places, or where this holds."""
        return BlockCandidates(*(part[at] for part in self))

    def along(self, d: Dim) -> _Array:
        """MC, KC or NC."""
        return {"m": self.mc, "k": self.kc, "n": self.nc}[d]

    def shorter(self, d: Dim, by: _Array) -> "BlockCandidates":
        """These with so much less along a loop."""
        return self._replace(**{f"{d}c": self.along(d) - by})


class Places(NamedTuple):
    """Pairs of MC and NC and the number of a walk for each, as arrays that broadcast."""

    walk: _Array
    mc: _Array
    nc: _Array

    def chosen(self, at: _Flags) -> "Places":
        """Those where this holds, 1-D each, the walks outermost."""
        places = np.nonzero(at)
        return Places(*(np.broadcast_to(part, at.shape)[places] for part in self))


def everywhere(walks: Walks, mc: _Array, nc: _Array) -> Places:
    """Each walk with each of these MC and each NC."""
    return Places(np.arange(len(walks.choices))[:, None, None], mc[:, None], nc)


def _largest_kc(space: Space, path: BlockWalk, mc: _Array, nc: _Array) -> _Array:
    """The largest KC < K whose tiles fit beside 4-byte accumulators; below 1 where none does."""
    fixed = np.asarray(footprint(space, path, mc, 0 * mc, nc, 1))
    slope = np.asarray(footprint(space, path, mc, 0 * mc + 1, nc, 1)) - fixed
    room = space.capacity - fixed
    fitting = np.where(slope > 0, room // np.maximum(slope, 1), np.where(room >= 0, space.problem.k, 0))
    return np.minimum(fitting, space.problem.k - 1)


class _Fitting(NamedTuple):
    """Where KC = K fits, where parts of it do, the largest of those, and what staging costs, each over all places."""

    whole: _Flags
    parts: _Flags
    largest: _Array
    cost: _Array

    def within(self, most: int) -> "_Fitting":
        """Those alone whose staging costs no more."""
        kept = self.cost <= most
        return self._replace(whole=self.whole & kept, parts=self.parts & kept)


def _fitting(space: Space, walks: Walks, family: GemmFamily, tile: RegisterTile, at: Places) -> _Fitting:
    problem, k, path = space.problem, space.problem.k, walks.at(at.walk)
    c, shape = counts(problem, at.mc, k, at.nc, tile), np.broadcast_shapes(*(part.shape for part in at))
    accumulating = int(passes(family, c) > 1)
    # A C that is not stationary does without a tile only where its sums never leave the registers.
    apart = np.asarray(0 if family.stationary == "C" else path.direct["C"]) > 0
    need = np.asarray(footprint(space, path, at.mc, k, at.nc, accumulating))
    whole = np.broadcast_to((need <= space.capacity) & ~(apart & (accumulating > 0)), shape)
    largest = np.broadcast_to(_largest_kc(space, path, at.mc, at.nc), shape)
    parts = ~whole & ~apart & (largest >= 1)
    if not space.may_spill:
        parts &= np.asarray(visits(path, {**c.trips, "k": 2}, "C")) == 1
    tk = np.where(whole, 1, ceil_div(k, np.maximum(largest, 1)))
    return _Fitting(whole, parts, largest, np.broadcast_to(staging_cost(space, path, c._replace(tk=tk)), shape))


def candidates(
    space: Space, walks: Walks, family: GemmFamily, tile: RegisterTile, at: Places, most: int | None = None
) -> BlockCandidates:
    """The feasible blocks that can be optimal at these places; with ``most``, where staging need not cost more."""
    if (looped := looped_of(space, family, tile)) is not None:
        return _looped_candidates(space, walks, useful_kc(space.problem.k, tile.kr, looped), at)
    fitting = _fitting(space, walks, family, tile, at)
    return _cut(space.problem.k, tile.kr, at, fitting if most is None else fitting.within(most))


def cheapest(
    space: Space, walks: Walks, family: GemmFamily, tile: RegisterTile, at: Places, most: int | None
) -> tuple[int, BlockCandidates] | None:
    """The least cost of staging at these places, and the blocks that reach it; None if none does with ``most``."""
    fitting = _fitting(space, walks, family, tile, at)
    costs = fitting.cost[fitting.whole | fitting.parts]
    if not len(costs) or (most is not None and costs.min() > most):
        return None
    least = int(costs.min())
    found = _cut(space.problem.k, tile.kr, at, fitting.within(least))
    return least, found.chosen(staging_of(space, walks, found, tile) == least)


def _cut(k: int, kr: int, at: Places, fitting: _Fitting) -> BlockCandidates:
    """The blocks of Lemma 3: KC = K where it fits, else the largest that does and the multiple of KR below it."""
    whole, parts = at.chosen(fitting.whole), at.chosen(fitting.parts)
    found = [BlockCandidates(whole.walk, whole.mc, np.full_like(whole.mc, k), whole.nc)]
    largest = fitting.largest[fitting.parts]
    for kc in (largest,) if kr == 1 else (largest, largest // kr * kr):
        found.append(BlockCandidates(parts.walk, parts.mc, kc, parts.nc).chosen(kc >= 1))
    return BlockCandidates(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _looped_candidates(space: Space, walks: Walks, lengths: _Array, at: Places) -> BlockCandidates:
    """Each place with each KC of these that fits, of a kernel that keeps C."""
    every = at.chosen(np.ones(np.broadcast_shapes(*(part.shape for part in at)), dtype=bool))
    walk, mc, nc = (np.repeat(part, len(lengths)) for part in every)
    kc, path = np.tile(lengths, len(every.walk)), walks.at(walk)
    trips: dict[Dim, Ints] = {"m": ceil_div(space.problem.m, mc), "k": ceil_div(space.problem.k, kc)}
    trips["n"] = ceil_div(space.problem.n, nc)
    fits = np.asarray(footprint(space, path, mc, kc, nc, trips["k"] > 1) <= space.capacity)
    if not space.may_spill:
        fits = fits & (np.asarray(visits(path, trips, "C")) == 1)
    return BlockCandidates(walk, mc, kc, nc).chosen(fits)


def staging_of(space: Space, walks: Walks, at: BlockCandidates, tile: RegisterTile) -> _Array:
    """What staging costs with each of these blocks."""
    cost = np.asarray(staging_cost(space, walks.at(at.walk), counts(space.problem, *at[1:], tile)))
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
