"""The block sizes that can be optimal along one loop: of equal trips the smallest, and those that are cut better.

``docs/models.md`` has the proofs (Lemmas 1 to 3).
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from memaopt.kernels.gemm.families import Unrolling
from memaopt.models.traffic import ceil_div, loop_words, runs_over_blocks, tiles_over_blocks

_Array = npt.NDArray[np.int64]
#: More than any count.
_NEVER = np.iinfo(np.int64).max


def smallest_blocks(size: int) -> _Array:
    """The smallest block for each value that ceil(size / block) takes, ascending."""
    root = np.arange(1, int(np.sqrt(size)) + 2, dtype=np.int64)
    blocks = np.concatenate([root, ceil_div(size, root)])
    blocks = blocks[blocks <= size]
    return np.unique(ceil_div(size, ceil_div(size, blocks)))


def useful_blocks(size: int, smallest: _Array, tile: int, runs: bool = False) -> _Array:
    """``smallest``, and for each of them the larger blocks of equal trip count that need fewer register tiles, or with
    ``runs`` that cut them into fewer runs of equal ones.

    Those lie below the next multiple of ``tile``, which reaches the fewest possible tiles, ceil(size / tile), and at
    most one run more than there are blocks. It is only where a multiple leaves less than a tile that there are as few.
    """
    return _useful_blocks(size, smallest.tobytes(), tile, runs)


@lru_cache(maxsize=4096)
def _useful_blocks(size: int, every: bytes, tile: int, runs: bool) -> _Array:
    smallest: _Array = np.frombuffer(every, dtype=np.int64)
    grown, trips = smallest[:, None] + np.arange(tile, dtype=np.int64), np.asarray(ceil_div(size, smallest))[:, None]
    if runs:
        tiles, before = size // tile, np.maximum(trips - 1, 1)
        grown = np.concatenate([grown, np.where(tiles % before == 0, tiles // before * tile, 0)], axis=1)
        grown = np.maximum(grown, 1)
    same_trips = (grown >= smallest[:, None]) & (np.asarray(ceil_div(size, grown)) == trips)
    needed = np.where(same_trips, tiles_over_blocks(size, grown, tile), _NEVER)
    if not runs:
        return np.unique(grown[same_trips & _fewer(needed)])
    cut = np.asarray(runs_over_blocks(size, grown, tile))
    kept = np.zeros_like(same_trips)
    # All blocks but the last have one run or two, and so has the last.
    for most in (trips, trips + 1, 2 * trips - 1, 2 * trips):
        few = same_trips & (cut <= most)
        kept |= few & _fewer(np.where(few, needed, _NEVER))
    return np.unique(grown[kept])


def _fewer(needed: _Array) -> npt.NDArray[np.bool_]:
    """Where a row has less than anywhere before."""
    fewer = np.ones(needed.shape, dtype=bool)
    fewer[:, 1:] = needed[:, 1:] < np.minimum.accumulate(needed, axis=1)[:, :-1]
    return fewer


@lru_cache(maxsize=64)
def useful_kc(size: int, kr: int, looped: Unrolling) -> _Array:
    """The KC that can be optimal where a loop over the reduction uses the stack, in a whole K more often than in parts.

    The rest of what such a kernel costs depends on the trips alone, so of equal trips those with fewer words than any
    smaller KC.
    """
    kc = np.arange(1, size + 1, dtype=np.int64)
    trips, words = np.asarray(ceil_div(size, kc)), loop_words(size, kr, looped)[1:]
    run = np.concatenate([[0], np.cumsum(trips[1:] != trips[:-1])])
    lowered = words - run * (int(words.max()) + 1)
    keep = np.ones(size, dtype=bool)
    keep[1:] = lowered[1:] < np.minimum.accumulate(lowered)[:-1]
    return kc[keep]


def even_kc(k: int, kc: int, kr: int) -> int:
    """A smaller KC of equal cost, the blocks even in size and a multiple of KR, if there is one."""
    trips = ceil_div(k, kc)
    smallest = ceil_div(k, trips)
    even = int(ceil_div(smallest, kr) * kr)
    same = even <= kc and tiles_over_blocks(k, even, kr) <= tiles_over_blocks(k, kc, kr) and ceil_div(k, even) == trips
    return even if same else kc
