"""Averages over all of a window's rows go on from one push to the next: sums take new rows on and old ones off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.networks.graph import Graph
from memaopt.networks.running import averages_all
from memaopt.networks.streaming.rows import Work

#: Rows that are kept, to each new one, from which on sums are cheaper than rows that are moved together and added.
_LEAST = 7


def readers(whole: Graph, work: Work, tensor: int) -> list[int]:
    """The positions of the operators that read a tensor of the window, but for those that nobody needs."""
    return [position for position in whole.consumers.get(tensor, ()) if position in work.live]


def running(whole: Graph, work: Work, tensor: int, filled: Mapping[int, npt.NDArray[Any]]) -> bool:
    """Whether rows of a tensor are kept for nothing but an average over all of them, and it can go on: none depends on
    padding, and pushes replace the oldest of them by new ones, as many, in one phase.

    ``filled`` is the window before the first push: all its rows have to be the same, for they are kept one by one.
    """
    rows, reading = work.rows[tensor], readers(whole, work, tensor)
    if len(reading) != 1 or tensor in whole.outputs or not averages_all(whole, whole.operators[reading[0]]):
        return False
    kept, fresh = rows.kept, rows.fresh
    if rows.again or rows.phases > 1 or kept.first or kept.end != fresh.first or fresh.end != rows.line.count:
        return False
    even = kept.rows % fresh.rows == 0 and kept.rows >= _LEAST * fresh.rows
    first = np.take(filled[tensor], [0], axis=rows.line.axis) if even else None
    return first is not None and bool((filled[tensor] == first).all())
