"""Why a choice of kernels has no layout in RAM: the least that it copies there which already has none.

Less to place is never harder to place. So copies are left out, and what is left is made smaller, as long as there is
still no layout: all choices that copy as much as what remains have none either, and are excluded at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from memaopt.choice import layout
from memaopt.choice.clashes import Clash, RamUse, copies_of, demand_of
from memaopt.choice.problem import Problem
from memaopt.machines.mcu import Mcu


def explain(problem: Problem, picks: Sequence[int], arena: int) -> Clash:
    """The clash of a choice that packs into ``arena`` bytes and has no layout in RAM beside them."""
    assert problem.mcu is not None
    assert problem.limits.sram is not None
    taken = list(problem.taken(picks).values())
    copies = [copies_of(candidate) for candidate in taken]
    least = max((min(c.arena_bytes for c in stage.candidates) for stage in problem.stages), default=0)
    # Where even the least arena of all leaves no room, it does not matter what the layers ask of theirs.
    any_arena = not _placed(problem.mcu, least, copies)
    demands = tuple(None if any_arena else demand_of(candidate.plan) for candidate in taken)
    kept = _fewest(problem.mcu, least if any_arena else arena, copies)
    return Clash(0, demands, problem.limits.sram + 1, tuple(kept))


def _placed(mcu: Mcu, arena: int, copies: Sequence[RamUse]) -> bool:
    """Whether copies have a layout beside an arena; a kernel that several layers share is there once."""
    shared = {c.kernels: c.code for c in copies if c.kernels}
    code = sum(shared.values()) + sum(c.code for c in copies if not c.kernels)
    constants = [layout.constants_room(c.data) for c in copies if c.data]
    stack = max((c.stack for c in copies), default=0)
    other = mcu.setting.project_ram if code or constants else 0
    return layout.place(mcu, arena, stack, layout.code_room(code), constants, other) is not None


def _fewest(mcu: Mcu, arena: int, copies: Sequence[RamUse]) -> list[RamUse]:
    """Copies without those that can be left out, small ones first, and with as few bytes of constants as will do."""
    kept = list(copies)

    def without(i: int, less: RamUse) -> bool:
        """Whether there is still no layout with less at a stage; then it stays that way."""
        tried = [*kept[:i], less, *kept[i + 1 :]]
        if _placed(mcu, arena, tried):
            return False
        kept[i] = less
        return True

    for i in sorted(range(len(kept)), key=lambda i: kept[i].data):
        without(i, kept[i]._replace(data=0))
    for i in sorted(range(len(kept)), key=lambda i: kept[i].code):
        without(i, kept[i]._replace(kernels=(), code=0))
    for i in range(len(kept)):
        without(i, kept[i]._replace(stack=0))
    for i, left in enumerate(kept):
        low, high = 0, left.data  # of these there is no layout with ``high`` alone
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if without(i, kept[i]._replace(data=middle)) else (middle, high)
    return kept
