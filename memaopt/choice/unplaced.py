"""Why a choice of kernels has no layout in RAM: the least that it copies there which already has none.

Less to place is never harder to place. So copies are left out, and what is left is made smaller, as long as there is
still no layout: all choices that copy as much as what remains have none either, and are excluded at once. Where that
is little, besides the arena, it is told by sizes alone: a :class:`Fence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from memaopt.choice import layout
from memaopt.choice.choice import ram_code_bytes
from memaopt.choice.clashes import Clash, RamUse, copies_of, demand_of
from memaopt.choice.problem import Problem
from memaopt.machines.mcu import Mcu

#: Stages whose constants a fence speaks of, at most.
_MOST_SIDES = 2


class Fence(NamedTuple):
    """An arena of ``arena`` bytes or more, ``code`` bytes or more of code in RAM and, of some stages, so many bytes of
    constants there or more (``data``: stage, bytes) have no layout together, whatever else is there."""

    arena: int
    code: int
    data: tuple[tuple[int, int], ...]

    def sides(self, problem: Problem) -> Iterator[tuple[Problem, tuple[tuple[int, ...], ...]]]:
        """The problems that have all choices which it leaves, and which candidates of the problem's are theirs: a
        smaller arena, less code, fewer constants of a stage."""
        every = [tuple(range(len(stage.candidates))) for stage in problem.stages]
        limits = problem.limits
        if self.arena:
            smaller = dataclasses.replace(limits, arena=self.arena - 1)
            yield dataclasses.replace(problem, limits=smaller), tuple(every)
        if self.code:
            less = dataclasses.replace(limits, code_ram=self.code - 1)
            yield dataclasses.replace(problem, limits=less), tuple(every)
        for i, data in self.data:
            taken = problem.stages[i].candidates
            kept = tuple(j for j in every[i] if copies_of(taken[j]).data < data)
            if kept:
                stage = dataclasses.replace(problem.stages[i], candidates=tuple(taken[j] for j in kept))
                stages = (*problem.stages[:i], stage, *problem.stages[i + 1 :])
                yield dataclasses.replace(problem, stages=stages), (*every[:i], kept, *every[i + 1 :])


def fence(problem: Problem, picks: Sequence[int], arena: int) -> Fence | None:
    """What of a choice that packs into ``arena`` bytes has no layout in RAM, by its sizes alone; None where that is a
    few things together, or does not depend on the arena."""
    assert problem.mcu is not None
    mcu, taken = problem.mcu, list(problem.taken(picks).values())
    kept, code = _fewest(mcu, arena, [copies_of(candidate) for candidate in taken], ram_code_bytes(taken))
    arena = _least(arena, lambda tried: not _placed(mcu, tried, kept, code))
    data = tuple((i, left.data) for i, left in enumerate(kept) if left.data)
    known = max(min(c.arena_bytes for c in stage.candidates) for stage in problem.stages)
    if len(data) > _MOST_SIDES or any(left.stack for left in kept) or arena <= known:
        return None
    return Fence(arena, code, data)


def explain(problem: Problem, picks: Sequence[int], arena: int) -> Clash:
    """The clash of a choice that packs into ``arena`` bytes and has no layout in RAM beside them."""
    assert problem.mcu is not None
    assert problem.limits.sram is not None
    taken = list(problem.taken(picks).values())
    copies, code = [copies_of(candidate) for candidate in taken], ram_code_bytes(taken)
    least = max((min(c.arena_bytes for c in stage.candidates) for stage in problem.stages), default=0)
    # Where even the least arena of all leaves no room, it does not matter what the layers ask of theirs.
    any_arena = not _placed(problem.mcu, least, copies, code)
    kept, code = _fewest(problem.mcu, least if any_arena else arena, copies, code)
    spoken = [i for i, left in enumerate(kept) if any(left)] if any_arena else list(range(len(taken)))
    first, last = (spoken[0], spoken[-1]) if spoken else (0, 0)
    demands = tuple(None if any_arena else demand_of(candidate.plan) for candidate in taken[first : last + 1])
    return Clash(first, demands, problem.limits.sram + 1, tuple(kept[first : last + 1]), code)


def _placed(mcu: Mcu, arena: int, copies: Sequence[RamUse], code: int) -> bool:
    """Whether copies have a layout beside an arena and so many bytes of code."""
    constants = [c.data for c in copies if c.data]
    stack = max((c.stack for c in copies), default=0)
    other = mcu.setting.project_ram if code or constants else 0
    return layout.place(mcu, arena, stack, code, constants, other) is not None


def _fewest(mcu: Mcu, arena: int, copies: Sequence[RamUse], code: int) -> tuple[list[RamUse], int]:
    """Copies without those that can be left out, small ones first, then as little code as will do, and as few bytes of
    each layer's constants."""
    kept = list(copies)

    def without(i: int, less: RamUse) -> bool:
        """Whether there is still no layout with less at a stage; then it stays that way."""
        tried = [*kept[:i], less, *kept[i + 1 :]]
        if _placed(mcu, arena, tried, code):
            return False
        kept[i] = less
        return True

    for i in sorted(range(len(kept)), key=lambda i: kept[i].data):
        without(i, kept[i]._replace(data=0))
    for i in range(len(kept)):
        without(i, kept[i]._replace(stack=0))
    code = _least(code, lambda tried: not _placed(mcu, arena, kept, tried))
    for i, left in enumerate(kept):
        _least(left.data, lambda tried, i=i, left=left: without(i, left._replace(data=tried)))  # type: ignore[misc]
    return kept, code


def _least(most: int, still: Callable[[int], bool]) -> int:
    """The least number of bytes of which something still holds: it does of ``most``, and of all above the least."""
    if most and still(0):
        return 0
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if still(middle) else (middle, high)
    return high
