"""The cheapest kernels of a chain's parts whose formats agree: a shortest path from part to part."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from memaopt.kernels.chains.order import Order, Rowed
from memaopt.kernels.plan import Format, Plan


class Path(NamedTuple):
    """A choice of kernels for the first parts, and what it costs: cycles, where nothing else is asked for."""

    cycles: int
    picks: tuple[int, ...]
    formats: tuple[Format, ...]


#: What one band costs that a plan computes; no less than its cycles.
Cost = Callable[[Plan], int]


def _own(plan: Plan) -> int:
    return plan.cycles


def paths_of(order: Order, offers: Sequence[Sequence[tuple[int, Plan]]], cost: Cost = _own) -> list[Path]:
    """The kernels of the least cost whose formats agree, for each format of the chain's input and output."""
    shape = order.shape
    counts = order.bands
    paths = [Path(0, (), (format_,)) for format_ in (Format.S8, Format.RAW)]
    last = [max((reader.part for reader in line.readers), default=-1) for line in shape.lines]
    for part, offer in enumerate(offers):
        reads = [t for t, line in enumerate(shape.lines) for r in line.readers if r.part == part]
        # Formats of tensors that nobody reads any more do not matter.
        told = [t for t in range(part + 2) if t in (0, part + 1) or last[t] > part]
        best: dict[tuple[Format, ...], Path] = {}
        for path, (value, number, plan) in itertools.product(paths, _cheapest(offer, cost)):
            if any(path.formats[t] is not plan.input_format for t in reads):
                continue
            if Format.RAW is plan.output_format and not _may_be_raw(shape.lines[part + 1]):
                continue
            cycles, formats = path.cycles + counts[part] * value, (*path.formats, plan.output_format)
            key = tuple([formats[t] for t in told])
            known = best.get(key)
            if known is None or cycles <= known.cycles:
                longer = Path(cycles, (*path.picks, number), formats)
                best[key] = longer if known is None else min(known, longer)
        paths = list(best.values())
    return [path for path in paths if _may_be_raw(shape.lines[0]) or path.formats[0] is Format.S8]


def _cheapest(offer: Iterable[tuple[int, Plan]], cost: Cost) -> Iterable[tuple[int, int, Plan]]:
    """Of each two formats the plan of the least cost, the first one of equals, and that cost before it."""
    found: dict[tuple[Format, Format], tuple[int, int, Plan]] = {}
    for number, plan in offer:
        formats = plan.input_format, plan.output_format
        known = found.get(formats)
        # What costs no less by its cycles alone is not asked what it costs.
        if known is None or (plan.cycles < known[0] and cost(plan) < known[0]):
            found[formats] = cost(plan), number, plan
    return found.values()


def _may_be_raw(line: Rowed) -> bool:
    """Whether rows of padding can be written in whole words."""
    return line.row_bytes % 4 == 0 or not (line.above or line.below)
