"""Why a partition into chains does not pack: the fewest of its steps that already need more arena than there is.

What is alive at a step is what crosses it and its own, which depends on what the kernels around it ask for, not on how
the rest of the network is divided: no tensor within a chain crosses a border of steps. So what a stretch of steps
needs, every partition needs that has the same steps with the same demands in it, or with greater ones.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from memaopt.access import Access
from memaopt.choice.choice import Budgets, Candidate, Stage
from memaopt.choice.clashes import Demand, StepClash, Stretch
from memaopt.choice.conflicts import explain, stretch_refuted
from memaopt.choice.problem import Problem
from memaopt.choice.segments import ChainAt
from memaopt.choice.stages import ALIGNMENT, stack_bytes
from memaopt.errors import FalseClaimError
from memaopt.kernels.registry import Format, Plan, Promise
from memaopt.networks.chains import Chains, as_one
from memaopt.networks.operators import Lowered

#: A lead that lets an output lie anywhere on its input, and what leads are not looked for below.
_ANYWHERE, _LEAST_LEAD = -(1 << 30), -(1 << 22)
_Segments = Mapping[tuple[int, int], ChainAt]


def steps_of(chains: Chains, count: int) -> Stretch:
    """Every step of a partition of so many operators."""
    starts, at, steps = dict(chains), 0, list[tuple[int, int]]()
    while at < count:
        steps.append((at, starts.get(at, at + 1)))
        at = steps[-1][1]
    return tuple(steps)


def room_of(limits: Budgets) -> int | None:
    """The bytes of arena that any partition has at most; None without a limit."""
    sram = None if limits.sram is None else limits.sram - stack_bytes(())
    return min((most for most in (limits.arena, sram) if most is not None), default=None)


def clash_of(
    problem: Problem, segments: _Segments, steps: Stretch, demands: Sequence[Demand | None], room: int
) -> StepClash | None:
    """What of a partition with these steps, whose kernels ask for these demands, does not pack into ``room`` bytes;
    None if all of it packs, or no search shows what does not."""
    whole = _as_partition(problem, segments, steps, demands)
    picks = (0,) * len(whole.stages)
    needed = whole.memory_plan(picks, time_limit=0).arena_bytes
    clash = explain(whole, picks, room, needed) if needed > room else None
    if clash is None:
        return None
    first, last = whole.positions[clash.first], whole.positions[clash.last] + 1
    return _weakened(problem, segments, StepClash(steps[first:last], tuple(demands[first:last])), room)


def check(problem: Problem, segments: _Segments, clash: StepClash, room: int | None) -> None:
    """FalseClaimError unless a clash is one of ``room`` bytes of arena."""
    where = f"clash of operators {clash.first} to {clash.last - 1}" if clash.steps else "clash of no operators"
    count, demands = len(problem.graph.operators), clash.demands
    there = all(0 <= i < count and ((i, j) in segments if j > i + 1 else j == i + 1) for i, j in clash.steps)
    if not there or any(a[1] != b[0] for a, b in itertools.pairwise(clash.steps)):
        raise FalseClaimError(f"{where}: they are no steps, one behind the other")
    runs = [j > i + 1 or i in problem.lowered for i, j in clash.steps]
    if not any(runs) or [demand is not None for demand in demands] != runs:
        raise FalseClaimError(f"{where}: it does not say what each of them asks for")
    later = [demand.deferred for demand in demands if demand is not None]
    within = [demand.fused for demand in demands if demand is not None]
    if [False, *later] != [*within, False]:
        raise FalseClaimError(f"{where}: a layer that another one computes is not beside it")
    if room is None or not _refuted(problem, segments, clash, room):
        raise FalseClaimError(f"{where}: no search shows that they need more than the arena")


def _refuted(problem: Problem, segments: _Segments, clash: StepClash, room: int) -> bool:
    """Whether a search shows that no packing of a clash's steps fits."""
    partition = _as_partition(problem, segments, clash.steps, clash.demands)
    every = steps_of(_chains(clash.steps), len(problem.graph.operators))
    stages = [k for k, i in enumerate(partition.positions) if every[i] in clash.steps]
    return stretch_refuted(partition, (0,) * len(partition.stages), stages[0], stages[-1], room)


def _weakened(problem: Problem, segments: _Segments, clash: StepClash, room: int) -> StepClash:
    """A clash of as few steps as will do, which ask for as little."""

    def still(tried: StepClash) -> bool:
        try:
            check(problem, segments, tried, room)
        except FalseClaimError:
            return False
        return True

    for part in (slice(1, None), slice(None, -1)):
        while len(clash.steps) > 1 and still(tried := StepClash(clash.steps[part], clash.demands[part])):
            clash = tried
    for i, demand in enumerate(clash.demands):
        if demand is not None:
            clash = _asking_less(clash, i, demand, still)
    return clash


def _asking_less(clash: StepClash, i: int, demand: Demand, still: Callable[[StepClash], bool]) -> StepClash:
    """A clash whose step ``i`` asks for as little as will do."""

    def asking(less: Demand) -> StepClash:
        return clash._replace(demands=(*clash.demands[:i], less, *clash.demands[i + 1 :]))

    def least(low: int, high: int, asked: Callable[[int], Demand]) -> Demand:
        """The fewest bytes for which it holds: what exceeds a multiple of the alignment takes as much as the next."""
        units = range(low // ALIGNMENT, -(-high // ALIGNMENT))
        found = bisect.bisect_left(units, True, key=lambda unit: still(asking(asked(unit * ALIGNMENT))))
        return asked(min(high, max(low, (units.start + found - 1) * ALIGNMENT + 1)))

    scratch = demand
    demand = least(0, demand.scratch, lambda size: scratch._replace(scratch=size))
    if still(asking(demand._replace(lead=_ANYWHERE, step=1))):
        return asking(demand._replace(lead=_ANYWHERE, step=1))
    if demand.lead is not None:
        free = demand._replace(step=1) if still(asking(demand._replace(step=1))) else demand
        demand = least(_LEAST_LEAD, demand.lead, lambda lead: free._replace(lead=lead))
    return asking(demand)


def _as_partition(problem: Problem, segments: _Segments, steps: Stretch, demands: Sequence[Demand | None]) -> Problem:
    """What a partition's memory is planned from: these steps with kernels that ask for so much, and every other
    operator by itself."""
    graph, lowered, asked = problem.graph, dict[int, Lowered](), dict(zip(steps, demands, strict=True))
    chains = _chains(steps)
    for first, last in reversed(chains):
        graph = as_one(graph, first, last)
    stages = []
    for number, (first, last) in enumerate(steps_of(chains, len(problem.graph.operators))):
        if last > first + 1:
            lowered[number] = Lowered(segments[first, last].chain, (graph.operators[number].input,))
        elif first in problem.lowered:
            lowered[number] = problem.lowered[first]
        if number in lowered:
            stages.append(Stage((Candidate(_kernel(asked.get((first, last))), 1, 0),), (), 0))
    return replace(
        problem,
        graph=graph,
        lowered=lowered,
        pairs={},
        positions=tuple(lowered),
        stages=tuple(stages),
        order=tuple(range(len(graph.operators))),
    )


def _chains(steps: Stretch) -> Chains:
    return tuple((first, last) for first, last in steps if last > first + 1)


def _kernel(demand: Demand | None) -> Plan:
    """What stands for a kernel that asks for so much; None: for nothing, its output apart from its input."""
    asks = Demand(False, False, False, None, 1, 0) if demand is None else demand
    return Plan(
        "any",
        "",
        0,
        Promise((), Access()),
        0,
        0,
        scratch_bytes=asks.scratch,
        input_format=Format.FUSED if asks.fused else Format.S8,
        output_format=Format.FUSED if asks.deferred else Format.S8,
        in_place=asks.in_place,
        lead=asks.lead,
        lead_step=asks.step,
    )
