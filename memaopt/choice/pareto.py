"""Fronts: the fastest library for each budget of flash, arena or SRAM.

Each point is a choice that is proven the best within its budget; the next budget is a step smaller than what the last
point took, so no point is dominated, and between two points no budget was skipped by more than that step. The front of
arenas goes on where layers must be computed depth first. Where nothing fits the next budget, steps get smaller, down to
a hundredth of what the last point took, so that the smallest that there is may be so much smaller. The front of arenas
goes on to steps of 16 bytes, or to what no partition into chains takes less than.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from memaopt.alignment import align
from memaopt.choice import choice, invoke
from memaopt.choice.choice import Budgets, Choice
from memaopt.choice.compile import bounded, compile_network
from memaopt.choice.fusion import DEFERRED
from memaopt.choice.knee import WITHIN
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.partition import Partitions
from memaopt.choice.problem import Problem, prepare
from memaopt.choice.solution import search, solve
from memaopt.choice.stages import ALIGNMENT, stack_bytes
from memaopt.choice.ways import ways
from memaopt.machines.mcu import Mcu
from memaopt.memory.plan import MemoryPlan
from memaopt.memory.row_bound import RowBound, bound
from memaopt.models.waits import timing
from memaopt.networks.chains import Chains
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.names import identifier_of
from memaopt.networks.simplify import simplify

BUDGETS = ("flash", "arena", "SRAM")
_FIELDS = {"flash": "flash", "arena": "arena", "SRAM": "sram"}
_STEPS = {"flash": 1 / 12, "arena": 1 / 50, "SRAM": 1 / 12}
_LEAST_STEP = 1 / 100


class Point(BaseModel, frozen=True):
    """A library: predicted cycles without and with the machine's wait states, and what it takes. ``default``: what
    ``solve`` gives, the least arena whose price is within :data:`~memaopt.choice.knee.WITHIN` of the best.
    ``chains``: operators that it computes depth first together, in the front of arenas; of whose smallest point
    ``least_arena`` is what no plan has an arena below, depth first or not, where that is known.
    """

    cycles: int
    machine_cycles: int
    flash_bytes: int
    arena_bytes: int
    sram_bytes: int
    proof: choice.Proof
    default: bool = False
    chains: Chains = ()
    least_arena: int | None = None


def fronts(network: Graph | str | Path, mcu: Mcu) -> dict[str, list[Point]]:
    """For each of :data:`BUDGETS` the points from the fastest library to the smallest that is possible."""
    mcu.core.require_timing("pareto")
    graph = network if isinstance(network, Graph) else Model.read(network).graph
    problem = prepare(simplify.simplify(graph).graph, mcu)
    chained = {"arena": Partitions(problem, "cycles")}
    found = {budget: _front(problem, identifier_of(graph.name), budget, chained.get(budget)) for budget in BUDGETS}
    return {**found, "arena": _with_default(found["arena"], compile_network(graph, mcu, within=WITHIN))}


def row_bound(network: Graph | str | Path) -> RowBound | None:
    """What no schedule of the network by whole rows takes less than, scratch memory not counted."""
    graph = network if isinstance(network, Graph) else Model.read(network).graph
    return bound(simplify.simplify(graph).graph)


def arena_front(plan: NetworkPlan) -> list[Point]:
    """The front of the arena of a plan's network, with the plan itself in its place as the default."""
    return _with_default(_front(prepare(plan.graph, plan.mcu), plan.name, "arena"), plan)


def _with_default(points: list[Point], plan: NetworkPlan) -> list[Point]:
    """The front with the default's point in its place, instead of all that are no better than it."""
    default = Point(
        cycles=plan.cycles,
        machine_cycles=plan.machine_cycles,
        flash_bytes=plan.flash_bytes,
        arena_bytes=plan.arena_bytes,
        sram_bytes=plan.sram_bytes,
        proof=plan.choice.proof,
        default=True,
    )
    others = [p for p in points if p.arena_bytes < plan.arena_bytes or p.machine_cycles < plan.machine_cycles]
    front = sorted([*others, default], key=lambda point: -point.arena_bytes)
    return [*front[:-1], front[-1].model_copy(update={"least_arena": points[-1].least_arena})]


def _front(problem: Problem, name: str, budget: str, partitions: Partitions | None = None) -> list[Point]:
    """The front of a budget, of all ``partitions`` into chains where they are given."""
    field, step = _FIELDS[budget], _STEPS[budget]
    found = solve(problem, name, "cycles")
    points = [_point(problem, *found)]
    least = None if partitions is None else partitions.smallest()
    bound = 0 if least is None else align(least.value, ALIGNMENT)
    while (taken := int(getattr(points[-1], f"{field}_bytes"))) > bound:
        less = max(1 if partitions is None else ALIGNMENT, int(taken * step))
        limited = dataclasses.replace(problem, limits=_limited(problem.limits, field, taken - less))
        point = _smaller(limited, partitions) if taken - less >= bound else None
        if point is None:
            step /= 2
            if step < _LEAST_STEP if partitions is None else less <= ALIGNMENT:
                break
            continue
        # A smaller budget may cost nothing: then it replaces the point before.
        if points[-1].machine_cycles == point.machine_cycles:
            points.pop()
        points.append(point)
    return [*points[:-1], points[-1].model_copy(update={"least_arena": bound or None})]


def _smaller(limited: Problem, partitions: Partitions | None) -> Point | None:
    """The best choice within the budgets of a problem, None if there is none."""
    whole = search(limited, "cycles")
    best = None
    if whole.choice is not None and whole.memory is not None:
        best = _point(limited, whole.choice, whole.memory)
    if partitions is None or limited.mcu is None:
        return best
    prepared = partial(prepare, mcu=limited.mcu, arena=limited.limits.arena)
    known = None if whole.choice is None else whole.choice.price
    for found, problem in ways(partitions, limited.limits, prepared, known):
        if found.chains and (known is None or found.value < known):
            deep = search(problem, "cycles", known)
            if deep.choice is not None and deep.memory is not None:
                point = _point(problem, bounded(deep.choice, found.value), deep.memory)
                best = point.model_copy(update={"chains": found.chains})
        if best is not None:
            break
    return best


def _limited(limits: Budgets, field: str, limit: int) -> Budgets:
    return dataclasses.replace(limits, **{field: limit})


def _point(problem: Problem, picked: Choice, placed: MemoryPlan) -> Point:
    taken = list(problem.taken(picked.picks).values())
    around = invoke.cycles(c.batch for c in taken if c.plan is not DEFERRED)
    waits = 0 if problem.mcu is None else invoke.stall_cycles(timing(problem.mcu))
    return Point(
        cycles=sum(c.plan.cycles * c.batch for c in taken) + around,
        machine_cycles=sum(c.cycles for c in taken) + invoke.cycles(()) + waits,  # their calls are among theirs
        flash_bytes=choice.flash_bytes(taken, problem.limits.flash_overhead),
        arena_bytes=placed.arena_bytes,
        sram_bytes=placed.arena_bytes + stack_bytes(c.plan for c in taken) + choice.ram_bytes(taken),
        proof=picked.proof,
    )
