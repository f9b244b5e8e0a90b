"""A network compiled: simplified exactly, a kernel for each layer, a place in memory for each tensor, totals.

:func:`compile_network` decides everything and writes nothing; :mod:`memaopt.emit.network` turns its plan into C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from memaopt.alignment import align
from memaopt.arguments import public
from memaopt.choice import fusion, rows
from memaopt.choice.best import weakest
from memaopt.choice.choice import Candidate, Choice, Proof
from memaopt.choice.customs import refuse_with_customs
from memaopt.choice.knee import knee, refuse_slack
from memaopt.choice.narrowing import NetworkSpace
from memaopt.choice.network_plan import LayerPlan, Neighbour, NetworkPlan
from memaopt.choice.outside_chains import chained_bound, least_of, shortest
from memaopt.choice.partition import Partitions
from memaopt.choice.paths import NO_POTENTIALS, Potentials
from memaopt.choice.placement import AUTO, ON_CHIP, NetworkPlacement, Sites, sites
from memaopt.choice.problem import ALL_AWAY, Problem, allowance, left_by_project, prepare, refuse_weights_beyond
from memaopt.choice.solution import cheaper, lower_bound, search, sram_binds, why_not
from memaopt.choice.spaces import problem_within, problems, problems_of, simplifications
from memaopt.choice.stages import ALIGNMENT
from memaopt.choice.step_conflicts import check, room_of
from memaopt.choice.ways import packing, ways
from memaopt.choice.weighing import least_with_arena, objective_of
from memaopt.errors import FalseClaimError, InfeasibleError, InputError
from memaopt.kernels.registry import Format
from memaopt.machines.mcu import Mcu
from memaopt.networks.chains import Chains, depth_first
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.names import identifier_of
from memaopt.networks.streaming.push import Push
from memaopt.networks.streaming.window import Stream, streamed
from memaopt.problems.words import Objective


@public
def compile_network(
    network: Graph | Model | str | Path,
    mcu: Mcu,
    objective: Objective = "cycles",
    *,
    name: str | None = None,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    formats: bool = True,
    within: float | None = None,
    among: Callable[[Problem], Problem | None] | None = None,
    chains: Mapping[int, Chains] | None = None,
    stream: Stream | None = None,
    place: NetworkPlacement | None = None,
    by_rows: bool = False,
) -> NetworkPlan:
    """Compile a network (a graph, a model, or the path of a ``.tflite`` file) for a machine.

    ``objective``: ``cycles``, ``bytes`` (moved), ``energy`` or weights
    (:mod:`memaopt.problems.objectives`). ``sram`` and ``flash`` are budgets in bytes, by default what a stock project
    leaves of the machine's; ``arena`` is one for tensors and scratch. What may be copied into RAM is what the machine's
    setting allows. ``within``: of all arenas the least, to a hundredth, in which the search finds
    a price at most so much above the best of all, as in 0.05; it has no effect with ``arena``, where the best has
    layers depth first, or where no enumeration proves it. Its neighbours on the front are found too. Layers depth first
    are looked for with ``arena``, where nothing fits without, and, in up to 48 operators, where SRAM makes that dearer.
    ``formats``: whether tensors inside the network may lie in memory as their reader wants them, instead of as int8.
    ``among`` makes of a problem what is chosen from, None if nothing is. ``chains``: the operators that are computed
    depth first, in place of a search for them, by the multiple that channels are kept in; others are no choice.
    ``stream``: the network is run on a window that slides, and what is compiled is a push of new frames.
    ``place``: the memories that buffers may live in, on the chip by default.
    ``by_rows``: the input, an image, comes a row at a time and is kept nowhere; its first layers are a chain.
    Raises InfeasibleError if a budget cannot be met, InputError for a network that cannot be read, or whose input
    cannot be taken so.
    """
    refuse_slack(within)
    given = Model.read(network) if isinstance(network, str | Path) else network
    model, graph = (given, given.graph) if isinstance(given, Model) else (None, given)
    place = place or ON_CHIP
    there = sites(place, mcu)
    outside = there.outside
    place.demand_whole(stream=stream is not None, by_rows=by_rows)
    refuse_with_customs(graph, stream=stream is not None, tensors=place.of_tensors)
    objective, ram = objective_of(objective, mcu, there.weighed)
    identifier = identifier_of(graph.name if name is None else name)
    push, slides = (None, None) if stream is None else streamed(graph, stream)
    if push is not None:
        graph = push.graph
    if by_rows and push is not None:
        raise InputError(f"{graph.name}: a push takes frames as they come; its input cannot be taken by rows besides")
    if by_rows:
        graph = rows.by_rows(graph)
    for multiple, simple in simplifications(graph):
        if chains is None or multiple in chains:
            budget = left_by_project(mcu, graph)[0] if flash is None else flash
            if outside is None:
                most, whose = allowance("flash", budget, mcu, graph)
                refuse_weights_beyond(most, "flash", simple.graph, identifier, whose)
            else:
                more = budget if place.weights == AUTO else 0
                refuse_weights_beyond(outside.size + more, outside.name, simple.graph, identifier)
    best: NetworkPlan | None = None
    for placed in (place, *place.opened(mcu)):
        prepared = partial(prepare, mcu=mcu, sram=sram, flash=flash, arena=arena, formats=formats, place=placed)
        prepared = partial(prepared, objective=objective)
        spaces = list(_spaces(prepared, graph, sites(placed, mcu), objective, among, chains))
        if not spaces:
            raise InputError(f"{identifier}: channels are not kept in multiples of {', '.join(map(str, chains or ()))}")
        cheapest = partial(
            _cheapest,
            identifier=identifier,
            mcu=mcu,
            objective=objective,
            graph=graph,
            formats=formats,
            model=model,
            push=push,
            slides=slides,
            place=placed,
        )
        binds = partial(sram_binds, [space.problem for space in spaces], objective)
        best = None if graph.by_rows else cheapest(spaces)
        if chains is None and there.between:
            best = _outside_chains(spaces, best, objective, prepared, cheapest, sites(placed, mcu))
        elif chains is None and (best is None or arena is not None or (not ram and binds(best.choice.price))):
            best = _depth_first(spaces, best, objective, prepared, cheapest)
        if best is not None:
            break
    if best is None and graph.by_rows:
        raise rows.why_not(spaces[0].problem, identifier)
    if best is None:
        raise why_not(
            prepared(spaces[0].simple.graph, room=ALL_AWAY) if there.between else spaces[0].problem, identifier
        )
    if graph.by_rows:
        return best

    @cache
    def parts(below: int) -> list[NetworkSpace]:
        return [part for space in spaces if (part := space.below(below)) is not None]

    def inside(limit: int, below: int) -> NetworkPlan | None:
        return cheapest([part.in_arena(limit) for part in parts(below)], below=below)

    if ram:
        return _held_outside(least_with_arena(best, ram, inside))
    if within is None or arena is not None or there.between or best.chains or best.choice.proof != "enumeration":
        return _held_outside(best)  # where the search gives up once, it would do so for every arena

    def smaller(limit: int, most: int) -> NetworkPlan | None:
        if limit <= 0:
            return None
        return inside(limit, most + 1)

    chosen, less = knee(smaller, best.choice.price, best, within)
    others = [plan for plan in (best if chosen is not best else None, less) if plan is not None]
    neighbours = tuple(Neighbour(each.arena_bytes, each.machine_cycles) for each in others)
    return _held_outside(replace(chosen, within=within, neighbours=neighbours))


def _spaces(
    prepared: Callable[..., Problem],
    graph: Graph,
    where: Sites,
    objective: Objective,
    among: Callable[[Problem], Problem | None] | None,
    chains: Mapping[int, Chains] | None,
) -> Iterator[NetworkSpace]:
    """Each way to simplify a graph, with the problem of choosing for it, or those that there are."""
    for multiple, simple in simplifications(graph):
        given = () if chains is None else chains.get(multiple)
        if given is not None:
            for made in problems(prepared, depth_first(simple.graph, given), where):
                problem = made if among is None else among(made)
                if problem is not None:
                    yield NetworkSpace.of(multiple, simple, problem, objective, given)


def _held_outside(plan: NetworkPlan) -> NetworkPlan:
    """The plan; InfeasibleError if it has more outside than a memory holds: a choice with less is not looked for."""
    for too_much in overflows(plan):
        raise InfeasibleError(f"{plan.name}: {too_much}; a larger one (--size) would do")
    return plan


def overflows(plan: NetworkPlan) -> Iterator[str]:
    """Each memory outside the chip that holds less than a plan has there."""
    tensors = sites(plan.placement, plan.mcu).tensors
    taken = [(plan.outside, align(plan.image.nbytes, ALIGNMENT)), (tensors, plan.outer_bytes)]
    for memory in {each.name: each for each, _ in taken if each is not None}.values():
        size = sum(most for each, most in taken if each == memory)
        if size > memory.size:
            yield f"the best kernels have {size:,} bytes in {memory.name}, {size - memory.size:,} more than it holds"


def _cheapest(
    spaces: Sequence[NetworkSpace],
    below: int | None = None,
    *,
    identifier: str,
    mcu: Mcu,
    objective: Objective,
    graph: Graph,
    formats: bool,
    model: Model | None,
    push: Push | None,
    slides: Stream | None,
    place: NetworkPlacement,
) -> NetworkPlan | None:
    """The plan of the best choice in any of the spaces, below a price if one is given; None if there is none.

    Below a price no solver is asked: there is none where the search gives up.
    """
    best: NetworkPlan | None = None
    problems: list[Problem] = []
    bounds: list[int | None] = []
    proof: Proof = "enumeration"
    for multiple, simple, whole, prices, part, chains in spaces:
        problem = whole if part is None else part.problem
        least = below if best is None else best.choice.price
        found = search(problem, objective, least, solver=below is None, known=prices)
        proof = weakest(proof, found.proof)
        problems.append(problem)
        bounds.append(found.bound)
        if found.choice is not None and found.memory is not None:
            layers = layers_of(problem, identifier, found.memory.order, found.choice.picks)
            best = NetworkPlan(
                identifier,
                mcu,
                objective,
                problem.limits,
                graph,
                simple.graph,
                simple.kept,
                simple.steps,
                layers,
                found.memory,
                found.choice if part is None else replace(found.choice, picks=part.whole(found.choice.picks)),
                multiple,
                formats,
                chains,
                model,
                push=push,
                slides=slides,
                placement=place,
                outer=problem.outer_plan(found.choice.picks, found.memory.order),
                away=problem.away,
                room=problem.room,
                outer_bound=problem.outer_bound,
            )
    if best is None or (below is not None and proof != "enumeration"):
        return None
    price = best.choice.price
    if proof != "enumeration" and all(cheaper(problem, objective, price) is None for problem in problems):
        proof = "enumeration"  # below the best of the spaces there may be little to look at in each
    bound = price if proof != "none" else _least(problems, objective, price, bounds)
    return replace(best, choice=replace(best.choice, proof=proof, bound=bound))


def _depth_first(
    spaces: Sequence[NetworkSpace],
    best: NetworkPlan | None,
    objective: Objective,
    prepared: Callable[[Graph], Problem],
    cheapest: Callable[[Sequence[NetworkSpace], int | None], NetworkPlan | None],
) -> NetworkPlan | None:
    """The better of the best plan without chains and of the best with chains; None if there is neither."""
    least: list[int] = []
    potentials: list[Potentials] = []
    for space in spaces:
        partitions = Partitions(space.problem, objective)
        bound = NO_POTENTIALS
        known = None if best is None else best.choice.price
        for number, (found, problem) in enumerate(ways(partitions, space.problem.limits, prepared, known)):
            if number == 0:
                bound = found.potentials
                least.append(found.value)
            if found.chains and (best is None or found.value < best.choice.price):
                chained = NetworkSpace.of(space.multiple, space.simple, problem, objective, found.chains)
                best = cheapest([chained], None if best is None else best.choice.price) or best
            if best is not None:
                break
        potentials.append(bound)
    if best is None or not best.chains:
        return best
    return replace(best, choice=bounded(best.choice, min(least)), potentials=tuple(potentials))


def _outside_chains(
    spaces: Sequence[NetworkSpace],
    best: NetworkPlan | None,
    objective: Objective,
    prepared: Callable[..., Problem],
    cheapest: Callable[[Sequence[NetworkSpace]], NetworkPlan | None],
    where: Sites,
) -> NetworkPlan | None:
    """The better of the best plan without chains and of the best with chains, tensors outside with either; None if
    there is neither. What no chains cost less than is beside it, if that was found for all ways to simplify."""
    least = list[int | None]()
    for space in {each.multiple: each for each in reversed(spaces)}.values():
        found, bound = shortest(space.problem, objective, None if best is None else best.choice.price)
        least.append(bound)
        if found is not None:
            chained = [
                NetworkSpace.of(space.multiple, space.simple, made, objective, found.chains)
                for made in problems(prepared, depth_first(space.simple.graph, found.chains), where)
            ]
            other = cheapest(chained)
            if other is not None and (best is None or other.choice.price < best.choice.price):
                best = other
    if best is None:
        return None
    bound = least_of(least, best.choice.price)
    if best.chains:
        best = replace(best, choice=bounded(best.choice, 0 if bound is None else bound))
    return replace(best, chained_bound=bound)


def bounded(chosen: Choice, least: int) -> Choice:
    """A choice with chains, of which no partition into chains costs less than so much."""
    proof = chosen.proof if chosen.price <= least else "none"
    return replace(chosen, proof=proof, bound=min(chosen.price, least))


def partition_bound(plan: NetworkPlan) -> int:
    """What no partition into chains costs less than, in any way to simplify a plan's network, as its potentials show;
    found by a search for a way that has none. FalseClaimError if they do not show it.
    """
    ways = [simple for _, simple in simplifications(plan.source)]
    given = plan.potentials or (NO_POTENTIALS,) * len(ways)
    if len(given) != len(ways):
        raise FalseClaimError(f"potentials: {len(given)} sets for {len(ways)} ways to simplify the network")
    bounds = []
    for simple, potentials in zip(ways, given, strict=True):
        problem = problem_within(plan, simple.graph)
        partitions = Partitions(problem, plan.objective)
        for clash in potentials.clashes:
            check(problem, partitions.segments, clash, room_of(problem.limits))
        if potentials.states:
            bounds.append(partitions.bound(problem.limits, potentials))
        elif (found := packing(partitions, problem.limits)) is not None:
            bounds.append(found.value)
    return min(bounds, default=0)


def lower_bound_of(plan: NetworkPlan) -> int:
    """What no choice is below in any of a plan's problems, found without looking at each."""
    if plan.chains and sites(plan.placement, plan.mcu).between:
        return chained_bound(plan) or 0
    return partition_bound(plan) if plan.chains else _least(list(problems_of(plan)), plan.objective, plan.choice.price)


def _least(
    problems: Sequence[Problem], objective: Objective, price: int, known: Sequence[int | None] | None = None
) -> int:
    """What no choice is below in any of the problems; ``known`` are their bounds as far as they were found already."""
    bounds = zip(problems, known or [None] * len(problems), strict=True)
    return min(price, *(lower_bound(each, objective) if bound is None else bound for each, bound in bounds))


def layers_of(problem: Problem, name: str, order: Sequence[int], picks: Sequence[int]) -> tuple[LayerPlan, ...]:
    """The layers in execution order, named."""
    taken = problem.taken(picks)
    later = fusion.deferred(problem.chosen(picks))
    return tuple(
        _layer(problem, i, f"{name}_{step}", taken[i])
        for step, i in enumerate(i for i in order if i in taken and i not in later)
    )


def _layer(problem: Problem, i: int, name: str, taken: Candidate) -> LayerPlan:
    graph, lowered, op = problem.graph, problem.lowered, problem.graph.operators[i]
    first = problem.pairs[i] if taken.plan.input_format is Format.FUSED else None
    return LayerPlan(
        position=i,
        op=op,
        name=f"{name}_{op.kind.lower()}" if first is None else f"{name}_conv_2d_{op.kind.lower()}",
        lowered=lowered[i] if first is None else fusion.together(lowered[first], lowered[i]),
        plan=taken.plan,
        macs=op.macs(graph) + (0 if first is None else graph.operators[first].macs(graph)),
        where=taken.where,
        stall_cycles=taken.stall_cycles,
        within=first,
        away_cycles=taken.away_cycles * taken.batch,
    )
