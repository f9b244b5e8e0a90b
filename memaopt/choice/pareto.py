"""Fronts: the fastest library for each budget of flash, arena or SRAM.

Each point is a choice that is proven the best within its budget; the next budget is a step smaller than what the last
point took, so no point is dominated, and between two points no budget was skipped by more than that step. The front of
arenas goes on where layers must be computed depth first. Where nothing fits the next budget, steps get smaller, down to
a hundredth of what the last point took, so that the smallest that there is may be so much smaller. The front of arenas
goes on to steps of 16 bytes, or to what no partition into chains takes less than. Where tensors between layers may lie
outside the chip, each point is the best of all sets of them that are tried within its budget, without chains and with
those of the shortest path over both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from memaopt.alignment import align
from memaopt.choice import choice, invoke
from memaopt.choice.best import weakest
from memaopt.choice.choice import Choice
from memaopt.choice.compile import compile_network
from memaopt.choice.fusion import DEFERRED
from memaopt.choice.knee import WITHIN
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.outside_chains import shortest
from memaopt.choice.partition import Partitions
from memaopt.choice.placement import FLASH, ON_CHIP, SRAM, NetworkPlacement, sites
from memaopt.choice.problem import SUITED, Problem, prepare
from memaopt.choice.solution import search, why_not
from memaopt.choice.spaces import problems
from memaopt.choice.stages import ALIGNMENT, stack_bytes
from memaopt.choice.traffic import network_traffic
from memaopt.choice.ways import ways
from memaopt.machines.mcu import Mcu
from memaopt.memory.plan import MemoryPlan
from memaopt.memory.row_bound import RowBound, bound
from memaopt.models.waits import timing
from memaopt.networks.chains import Chains, depth_first
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
    ``least_arena`` is what no plan has an arena below, depth first or not, where that is known. ``outside_bytes``: what
    is promised to cross to and from memories outside the chip.
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
    outside_bytes: int = 0


_Smaller = Callable[[int], Point | None]
"""The best point within a budget of so many bytes; None if there is none."""


def fronts(network: Graph | str | Path, mcu: Mcu, place: NetworkPlacement | None = None) -> dict[str, list[Point]]:
    """For each of :data:`BUDGETS` the points from the fastest library to the smallest that is possible; ``place``: the
    memories that buffers may live in, on the chip by default."""
    mcu.core.require_timing("pareto")
    graph = network if isinstance(network, Graph) else Model.read(network).graph
    simple, place = simplify.simplify(graph).graph, place or ON_CHIP
    default = partial(compile_network, graph, mcu, within=WITHIN, place=place)
    if sites(place, mcu).between:
        plan = default()
        return {budget: _of_sets(simple, mcu, place, budget, plan) for budget in BUDGETS}
    problem = prepare(simple, mcu, place=place)
    chained = {"arena": (Partitions(problem, "cycles"), place)}
    found = {budget: _front(problem, identifier_of(graph.name), budget, chained.get(budget)) for budget in BUDGETS}
    return {**found, "arena": _with_default(found["arena"], default())}


def row_bound(network: Graph | str | Path, mcu: Mcu, place: NetworkPlacement | None = None) -> RowBound | None:
    """What no schedule of the network by whole rows takes less than, scratch memory not counted; None where tensors
    between layers may lie outside the chip."""
    graph = network if isinstance(network, Graph) else Model.read(network).graph
    where, simple = sites(place or ON_CHIP, mcu), simplify.simplify(graph).graph
    return None if where.between else bound(simple, where.ends_away(simple))


def arena_front(plan: NetworkPlan) -> list[Point]:
    """The front of the arena of a plan's network, with the plan itself in its place as the default; none where tensors
    between layers may lie outside the chip, which :func:`fronts` takes a minute for."""
    if sites(plan.placement, plan.mcu).between:
        return []
    return _with_default(_front(prepare(plan.graph, plan.mcu, place=plan.placement), plan.name, "arena"), plan)


def _of_sets(graph: Graph, mcu: Mcu, place: NetworkPlacement, budget: str, default: NetworkPlan) -> list[Point]:
    """The front of a budget where tensors between layers may lie outside."""
    field = _FIELDS[budget]

    def best(**limits: Any) -> Point | None:
        for placed in (place, *place.opened(mcu)):
            prepared, where = partial(prepare, mcu=mcu, place=placed, **limits), sites(placed, mcu)
            tried = list(problems(prepared, graph, where))
            found, proof = _best_of(tried)
            known = None if found is None else found[1].price
            deep, bound = shortest(tried[0], "cycles", known)
            point = None if found is None else _point(*found).model_copy(update={"proof": proof})
            if deep is not None:
                other, proof = _best_of(problems(prepared, depth_first(graph, deep.chains), where), known)
                if other is not None:
                    proven = proof if other[1].price == bound else "none"
                    point = _point(*other).model_copy(update={"proof": proven, "chains": deep.chains})
            if point is not None:
                return point
        return None

    first = best() or _of_plan(default)
    points = _points(first, field, _STEPS["SRAM"], lambda limit: best(**{field: limit}))
    return _with_default(points, default) if budget == "arena" else points


def _best_of(
    tried: Iterable[Problem], below: int | None = None
) -> tuple[tuple[Problem, Choice, MemoryPlan] | None, choice.Proof]:
    """The best choice in any of some problems, below a price if one is given, and what is proven of all of them."""
    found: tuple[Problem, Choice, MemoryPlan] | None = None
    proof: choice.Proof = "enumeration"
    # The likely best first: what is not below it is passed over.
    for problem in sorted(tried, key=lambda each: each.room != SUITED):
        one = search(problem, "cycles", below if found is None else found[1].price)
        proof = weakest(proof, one.proof)
        if one.choice is not None and one.memory is not None:
            found = problem, one.choice, one.memory
    return found, proof


def _with_default(points: list[Point], plan: NetworkPlan) -> list[Point]:
    """The front with the default's point in its place, instead of all that are no better than it."""
    default = _of_plan(plan).model_copy(update={"default": True})
    others = [p for p in points if p.arena_bytes < plan.arena_bytes or p.machine_cycles < plan.machine_cycles]
    front = sorted([*others, default], key=lambda point: -point.arena_bytes)
    return [*front[:-1], front[-1].model_copy(update={"least_arena": points[-1].least_arena})]


def _of_plan(plan: NetworkPlan) -> Point:
    moved = network_traffic(plan).memories
    return Point(
        cycles=plan.cycles,
        machine_cycles=plan.machine_cycles,
        flash_bytes=plan.flash_bytes,
        arena_bytes=plan.arena_bytes,
        sram_bytes=plan.sram_bytes,
        proof=plan.choice.proof,
        chains=plan.chains,
        outside_bytes=sum(each.bytes for name, each in moved.items() if name not in (FLASH, SRAM)),
    )


_Chained = tuple[Partitions, NetworkPlacement]


def _front(problem: Problem, name: str, budget: str, chained: _Chained | None = None) -> list[Point]:
    """The front of a budget, of all partitions into chains where they are given."""
    field = _FIELDS[budget]
    least = None if chained is None else chained[0].smallest()

    def smaller(limit: int) -> Point | None:
        limits = dataclasses.replace(problem.limits, **{field: limit})
        return _smaller(dataclasses.replace(problem, limits=limits), chained)

    bound = 0 if least is None else align(least.value, ALIGNMENT)
    first = _smaller(problem, chained)
    if first is None:
        raise why_not(problem, name)
    points = _points(first, field, _STEPS[budget], smaller, bound, to_end=chained is not None)
    return [*points[:-1], points[-1].model_copy(update={"least_arena": bound or None})]


def _points(
    first: Point, field: str, step: float, smaller: _Smaller, bound: int = 0, *, to_end: bool = False
) -> list[Point]:
    """The points of a budget from the first on, a step apart, none below ``bound``; ``to_end``: down to the least."""
    points = [first]
    while (taken := int(getattr(points[-1], f"{field}_bytes"))) > bound:
        less = max(ALIGNMENT if to_end else 1, int(taken * step))
        point = smaller(taken - less) if taken - less >= bound else None
        if point is None:
            step /= 2
            if less <= ALIGNMENT if to_end else step < _LEAST_STEP:
                break
            continue
        # A smaller budget may cost nothing: then it replaces the points before.
        while points and points[-1].machine_cycles >= point.machine_cycles:
            points.pop()
        points.append(point)
    return points


def _smaller(limited: Problem, chained: _Chained | None) -> Point | None:
    """The best choice within the budgets of a problem, None if there is none: of all partitions into chains, if none of
    those that were not searched to their ends may be below it."""
    whole = search(limited, "cycles")
    best = None if whole.choice is None or whole.memory is None else (limited, whole.choice, whole.memory, Chains())
    proof = whole.proof
    if chained is not None and limited.mcu is not None:
        partitions, place = chained
        prepared = partial(prepare, mcu=limited.mcu, arena=limited.limits.arena, place=place)
        known = None if best is None else best[1].price
        searched: choice.Proof = "enumeration"
        for found, problem in ways(partitions, limited.limits, prepared, known):
            below, one = None if best is None else best[1].price, whole
            if found.chains and (below is None or found.value < below):
                one = search(problem, "cycles", below)
                if one.choice is not None and one.memory is not None:
                    best = problem, one.choice, one.memory, found.chains
            closed = best is not None and best[1].price <= found.value
            # Those before were searched, and no other is below the value.
            proof = searched if closed else "none"
            searched = weakest(searched, one.proof)
            if closed or (best is not None and searched == "none"):
                break
    if best is None:
        return None
    problem, chosen, memory, chains = best
    point = _point(problem, chosen, memory)
    return point.model_copy(update={"chains": chains, "proof": proof})


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
        outside_bytes=sum(c.outside_bytes for c in taken),
    )
