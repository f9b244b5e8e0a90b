"""Why a choice of kernels does not pack: the fewest consecutive layers that already need more than there is.

Within a stretch of the execution order only what is alive there matters, and that depends on the kernels of the stretch
alone: each tensor's lifetime is the network's, and what a layer before the stretch did in place has left a tensor whose
own size is all that is counted. So what a stretch needs, every choice needs that has the same demands in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from memaopt.choice.clashes import Clash, demand_of
from memaopt.choice.problem import Problem
from memaopt.choice.stages import ALIGNMENT
from memaopt.memory import liveness
from memaopt.memory import plan as memory
from memaopt.memory.packing_search import WORK, within
from memaopt.memory.rectangles import Rectangle, Sharing


def explain(problem: Problem, picks: Sequence[int], room: int, needed: int) -> Clash | None:
    """The clash of a choice that needs ``needed`` bytes of arena and has ``room``; None if no search shows one."""
    for stage, part, own in problem.apart(picks):
        if part is problem or part.memory_plan(own, time_limit=0).arena_bytes > room:
            clash = _explain(part, own, room, needed)
            if clash is not None:
                return dataclasses.replace(clash, first=stage + clash.first)
    return None


def stretch_refuted(problem: Problem, picks: Sequence[int], first: int, last: int, room: int) -> bool:
    """Whether a search shows that stages from one to another, with the kernels of a choice, need more than ``room``
    bytes of arena."""
    whole = first == 0 and last == len(picks) - 1
    return _refuted(*_clipped(problem, problem.blocks(picks), first, last), room, whole)


def _explain(problem: Problem, picks: Sequence[int], room: int, needed: int) -> Clash | None:
    """That of a network."""
    run = problem.blocks(picks)
    for first, last in _stretches(problem, picks):
        rectangles, pairs = _clipped(problem, run, first, last)
        if not _refuted(rectangles, pairs, room, first == 0 and last == len(picks) - 1):
            continue
        least = needed if _refuted(rectangles, pairs, needed - ALIGNMENT, False) else room // ALIGNMENT * ALIGNMENT
        chosen = problem.chosen(picks)
        demands = tuple(demand_of(chosen[problem.positions[i]]) for i in range(first, last + 1))
        return Clash(first, demands, max(least, room // ALIGNMENT * ALIGNMENT + ALIGNMENT))
    return None


def _refuted(rectangles: Sequence[Rectangle], pairs: Sequence[Sharing], height: int, whole: bool) -> bool:
    """Whether a search shows that no packing of this height exists."""
    found = within(rectangles, pairs, height // ALIGNMENT * ALIGNMENT, 4 * WORK if whole else WORK // 8)
    return found.offsets is None and found.decided


def _stretches(problem: Problem, picks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of stages, short ones first, that do not part layers which are computed as one; all of them last."""
    count = len(picks)
    taken = list(problem.taken(picks).values())
    deferred = [demand_of(candidate.plan).deferred for candidate in taken]
    seen = set()
    length = 1
    while length < count:
        for start in range(count - length + 1):
            first, last = start, start + length - 1
            first -= bool(first and deferred[first - 1])
            last += bool(deferred[last])
            if (first, last) not in seen:
                seen.add((first, last))
                yield first, last
        length = length + max(1, length // 2)
    if count:
        yield 0, count - 1


def _clipped(
    problem: Problem, run: liveness.ArenaProblem, first: int, last: int
) -> tuple[list[Rectangle], list[Sharing]]:
    """What is alive from one stage to another, as far as it is, with the sizes that it has from there on."""
    step = {position: i for i, position in enumerate(problem.order)}
    start, end = step[problem.positions[first]], step[problem.positions[last]]
    made = {problem.graph.operators[position].output: i for position, i in step.items()}
    blocks = liveness.blocks(run, problem.order)
    rectangles, pairs = memory.rectangles_of(run, problem.order)
    number: dict[int, int] = {}
    clipped: list[Rectangle] = []
    for i, rectangle in enumerate(rectangles):
        if rectangle.last < start or rectangle.first > end:
            continue
        size = rectangle.size
        if i < len(blocks):
            # In place, the last tensor written before the stretch is what lies there.
            roots = [t for t in blocks[i].tensors if run.roots[t] == t and made.get(t, -1) < start]
            size = run.sizes[roots[-1]] if roots else size
        number[i] = len(clipped)
        clipped.append(Rectangle(max(rectangle.first, start), min(rectangle.last, end), size))
    kept = [
        Sharing(number[p.before], number[p.after], p.lead)
        for p in pairs
        if p.before in number and p.after in number and start <= rectangles[p.after].first <= end
    ]
    return clipped, kept
