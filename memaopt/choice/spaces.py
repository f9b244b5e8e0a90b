"""What a network's choice is made from: each way to simplify it, with each set of tensors outside that is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial

from memaopt.choice.homes import away, rooms
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.placement import Sites, sites
from memaopt.choice.problem import ALL_AWAY, SUITED, Problem, prepare
from memaopt.choice.stages import ALIGNMENT
from memaopt.errors import InfeasibleError, UnfinishedError
from memaopt.kernels.registry import plans
from memaopt.networks.chains import depth_first
from memaopt.networks.graph import Graph
from memaopt.networks.joined import read_where_they_lie
from memaopt.networks.simplify import simplify

#: What the number of kept channels is a multiple of, where channels are dropped: even numbers have faster kernels.
MULTIPLES = (1, 2)


@lru_cache(maxsize=2)
def simplifications(graph: Graph) -> tuple[tuple[int, simplify.Simplified], ...]:
    """The simplified networks to choose from: with channels dropped down to any number, and to an even one."""
    made = []
    for multiple in MULTIPLES:
        simple = simplify.simplify(graph, multiple=multiple)
        joined, steps = read_where_they_lie(simple.graph, lambda layer: bool(plans(layer)))
        made.append((multiple, replace(simple, graph=joined, steps=(*simple.steps, *steps))))
        if not simple.kept:
            break  # without dropped channels every multiple gives the same network
    return tuple(made)


def problems(prepared: Callable[..., Problem], graph: Graph, where: Sites) -> Iterator[Problem]:
    """The problem of choosing for a graph; where tensors between layers may be outside, one for each set of them that
    is tried."""
    whole = prepared(graph)
    yield whole
    if not where.between:
        return
    known, ends = {whole.away}, where.ends_away(graph)
    try:
        best = prepared(graph, room=SUITED)
    except InfeasibleError:
        return  # nothing fits, whatever is outside
    except UnfinishedError:
        best = whole  # too many sets for a path over them
    if best.away not in known:
        known.add(best.away)
        yield best
    assert whole.limits.sram is not None
    for room in rooms(whole.limits.sram):
        gone = away(graph, whole.order, room, ALIGNMENT, ends)
        if gone is not None and gone not in known:
            known.add(gone)
            yield prepared(graph, room=room)
    everything = prepared(graph, room=ALL_AWAY)
    if everything.away not in known:
        yield everything


def problems_of(plan: NetworkPlan) -> Iterator[Problem]:
    """The problems that a plan's choice is the best of, one for each way to simplify the network."""
    where = sites(plan.placement, plan.mcu)
    for multiple, simple in simplifications(plan.source):
        if not plan.chains or multiple == plan.multiple:
            graph = depth_first(simple.graph, plan.chains)
            yield from problems(partial(problem_within, plan), graph, where)


def problem_within(plan: NetworkPlan, graph: Graph, room: int | None = None) -> Problem:
    """The problem of choosing for a graph within a plan's budgets, with so much room for tensors inside."""
    limits = plan.budgets
    budgets = {"sram": limits.sram, "flash": limits.flash, "arena": limits.arena}
    return prepare(
        graph, plan.mcu, **budgets, formats=plan.formats, place=plan.placement, room=room, objective=plan.objective
    )
