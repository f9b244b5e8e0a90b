"""Packing rectangles in time x address: the offsets of the memory plan.

No two rectangles meet, save *pairs* of an operator's input and output: where the one ends the other begins, and at that
step they may overlap as far as the operator's lead allows. First-fit gives offsets; where they need more than the live
set, an exhaustive search (:mod:`memaopt.memory.packing_search`) finds the least arena and proves it, and where that
gives up, OR-Tools CP-SAT.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from memaopt.memory.packing_search import within
from memaopt.memory.rectangles import Rectangle, Sharing
from memaopt.solver import empty_model, limited

Proof = Literal["live set", "search", "solver", "none"]


def pack(
    rectangles: Sequence[Rectangle], pairs: Sequence[Sharing], alignment: int, bound: int, time_limit: float
) -> tuple[list[int], int, Proof]:
    """Offsets (multiples of ``alignment``), the arena they need, and why no smaller one does.

    ``bound`` is a lower bound of the arena. Sizes and leads are multiples of the alignment. ``time_limit`` (units of
    deterministic time) is the solver's; with 0 it is not asked.
    """
    offsets, arena = _by_first_fit(rectangles, pairs)
    least, gave_up = bound, False
    while least < arena and not gave_up:
        # The live set is mostly met; where it is not, heights are halved.
        height = least if least == bound else (least + arena - alignment) // 2 // alignment * alignment
        found, decided = within(rectangles, pairs, height)
        if found is not None:
            offsets, arena = found, max(o + r.size for o, r in zip(found, rectangles, strict=True))
        elif decided:
            least = height + alignment
        else:
            gave_up = True
    if not gave_up or time_limit <= 0:
        proof: Proof = "none" if gave_up else "live set" if arena == bound else "search"
        return offsets, arena, proof
    solved, proven = _solve(rectangles, pairs, alignment, least, arena, time_limit)
    if solved is not None:
        needed = max(o + r.size for o, r in zip(solved, rectangles, strict=True))
        if needed < arena:
            offsets, arena = solved, needed
    if not proven and pairs:
        # Without them there is less to decide, and every packing is one with them too.
        apart, needed, _ = pack(rectangles, (), alignment, bound, time_limit)
        if needed < arena:
            offsets, arena, proven = apart, needed, False
    return offsets, arena, "live set" if arena == bound else "solver" if proven else "none"


def _by_first_fit(rectangles: Sequence[Rectangle], pairs: Sequence[Sharing]) -> tuple[list[int], int]:
    """Greatest first, ties by time: forwards, and backwards, so that an input finds its output placed below it."""
    orders: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-rectangles[i].size, rectangles[i].first, i),
        lambda i: (-rectangles[i].size, -rectangles[i].first, i),
    )
    fits = [_first_fit(rectangles, pairs, sorted(range(len(rectangles)), key=key)) for key in orders[: 1 + bool(pairs)]]
    return min(fits, key=lambda fit: fit[1])


def _first_fit(
    rectangles: Sequence[Rectangle], pairs: Sequence[Sharing], order: Sequence[int]
) -> tuple[list[int], int]:
    """The lowest possible address for each, in an order; and the arena that they need."""
    offsets = [0] * len(rectangles)
    partners: dict[int, dict[int, Sharing]] = {}
    for pair in pairs:
        partners.setdefault(pair.before, {})[pair.after] = pair
        partners.setdefault(pair.after, {})[pair.before] = pair
    placed: list[int] = []
    for i in order:
        size, own = rectangles[i].size, partners.get(i, {})
        near = [j for j in placed if rectangles[i].meets(rectangles[j])]
        busy = sorted((offsets[j], rectangles[j].size) for j in near if j not in own)
        paired = [(own[j], offsets[j], rectangles[j].size) for j in near if j in own]
        offset, before = 0, -1
        while offset != before:
            before = offset
            for start, length in busy:
                if offset + size <= start:
                    break
                offset = max(offset, start + length)
            for pair, start, length in paired:
                offset = _beside(pair, pair.after == i, offset, size, start, length)
        offsets[i] = offset
        placed.append(i)
    return offsets, max((o + r.size for o, r in zip(offsets, rectangles, strict=True)), default=0)


def _beside(pair: Sharing, is_after: bool, at: int, size: int, start: int, length: int) -> int:
    """The lowest offset from ``at`` on for one of a pair, whose other one lies at ``start``."""
    if at + size <= start or at >= start + length:
        return at
    least, step = pair.lead
    if is_after:
        offset = start - (start - at) // step * step
        allowed = pair.lead.allows(start - offset)
    else:
        offset = start - (start - max(at, start + least)) // step * step
        allowed = True
    return min(offset, start + length) if allowed else start + length


def _solve(
    rectangles: Sequence[Rectangle], pairs: Sequence[Sharing], alignment: int, bound: int, arena: int, time_limit: float
) -> tuple[list[int] | None, bool]:
    """Offsets that minimise the arena, and whether the solver proved it. Variables count units of the alignment."""
    from ortools.sat.python import cp_model

    model: Any = empty_model()
    height = arena // alignment
    top = model.new_int_var(bound // alignment, height, "top")
    sizes = [r.size // alignment for r in rectangles]
    starts = [model.new_int_var(0, height - size, f"start{i}") for i, size in enumerate(sizes)]
    for start, size in zip(starts, sizes, strict=True):
        model.add(start + size <= top)
    address = [model.new_fixed_size_interval_var(start, sizes[i], f"address{i}") for i, start in enumerate(starts)]
    # Every two rectangles meet as themselves in one of two constraints, except a pair: in the first the input is gone
    # when its output begins, in the second the output begins a step later.
    for number in range(2 if pairs else 1):
        shortened = {pair[number] for pair in pairs}
        kept, time = [], []
        for i, r in enumerate(rectangles):
            first, last = r.first + (number == 1 and i in shortened), r.last - (number == 0 and i in shortened)
            if first <= last:
                kept.append(address[i])
                time.append(model.new_fixed_size_interval_var(first, last - first + 1, f"time{number}_{i}"))
        model.add_no_overlap_2d(time, kept)
    changes = [0] * (max(r.last for r in rectangles) + 2)
    for r, size in zip(rectangles, sizes, strict=True):
        changes[r.first] += size
        changes[r.last + 1] -= size
    alive = list(itertools.accumulate(changes))
    for i, j, lead in pairs:
        below, above, shared = (model.new_bool_var(f"{what}{i}_{j}") for what in ("below", "above", "shared"))
        model.add_exactly_one(below, above, shared)
        model.add(starts[j] + sizes[j] <= starts[i]).only_enforce_if(below)
        model.add(starts[j] >= starts[i] + sizes[i]).only_enforce_if(above)
        model.add(starts[i] - starts[j] >= lead.bytes // alignment).only_enforce_if(shared)
        # What both cover, and everything else that is there at that step, is apart: a bound that the rest implies.
        others = alive[rectangles[j].first] - sizes[i] - sizes[j]
        model.add(others + starts[i] + sizes[i] - starts[j] <= top).only_enforce_if(shared)
        model.add(others + starts[j] + sizes[j] - starts[i] <= top).only_enforce_if(shared)
        model.add(others + sizes[i] + sizes[j] <= top).only_enforce_if(shared.negated())
        if lead.step > alignment:
            steps = model.new_int_var(-height, height, f"steps{i}_{j}")
            model.add(starts[i] - starts[j] == lead.step // alignment * steps).only_enforce_if(shared)
    model.minimize(top)
    solver = limited(time_limit)
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, False
    return [alignment * solver.value(start) for start in starts], status == cp_model.OPTIMAL
