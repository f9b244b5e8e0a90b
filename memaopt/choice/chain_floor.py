"""What no chain of layers costs less than, found from its parts without making its plans.

A part's constants come in for each of its bands, or once, and are then kept in SRAM, as far as there is room. Each
figure of a part is the least of any kernel and height of bands, so that together they are a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from memaopt.access import Access, loads
from memaopt.kernels.registry import Plan
from memaopt.kernels.staging import copies_of


class PartFloor(NamedTuple):
    """What a part costs at least beside its constants, and for these if they come in for each band; what they cost if
    they are kept, and the bytes that they then take (None: they cannot be)."""

    own: int
    streamed: int = 0
    kept: int = 0
    size: int | None = None


def part_floor(
    bands: Iterable[tuple[int, Plan]], own: Callable[[Plan], int], constants: Callable[[Access, int], int]
) -> PartFloor:
    """The floor of a part whose ``bands`` are so many of such plans. ``own``: what a band costs beside its constants;
    ``constants``: what loads of constants cost at least, which take so many bytes."""
    found = list(bands)
    streamed = [count * constants(plan.promise.parameters, plan.data_bytes) for count, plan in found]
    copied = [(sum(copy.words for copy in copies), plan) for _, plan in found if (copies := copies_of(plan))]
    least, sizes = min(streamed), [plan.data_bytes for _, plan in copied]
    kept = min((constants(loads(words, 4), 4 * words) for words, _ in copied), default=least)
    return PartFloor(
        min(count * own(plan) for count, plan in found), least, min(kept, least), min(sizes) if sizes else None
    )


def chain_floor(parts: Sequence[PartFloor], room: int | None) -> int:
    """The floor of a chain with ``room`` bytes for constants that it keeps (None: without a limit): as if a part of an
    array could be kept, where that saves most for its bytes."""
    total = float(sum(part.own + part.streamed for part in parts))
    left = float("inf") if room is None else float(max(room, 0))
    saving = [(part.streamed - part.kept, part.size) for part in parts if part.size is not None]
    for saved, size in sorted(saving, key=lambda each: -each[0] / max(each[1], 1)):
        share = min(1.0, left / max(size, 1))
        total, left = total - share * saved, left - share * size
    return int(total)
