"""A plan of the user's for a network or a layer, judged: whether it fits, what it moves, how far it is from the best.

The plan is what is left of the problem when its kernels are the only ones: what it leaves open is chosen by the search
that certifies, so a plan that leaves nothing open is priced, and one that leaves everything open is the optimum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pydantic import Field

from memaopt.access import Access
from memaopt.certificates import network, network_claims
from memaopt.certificates.distance import Distance
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.network_claims import LayerClaim, Totals
from memaopt.choice.compile import compile_network
from memaopt.choice.customs import custom_facts
from memaopt.choice.given import GivenPlan
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.placement import ON_CHIP, NetworkPlacement, sites
from memaopt.choice.problem import Problem
from memaopt.choice.stages import in_place_of, leads_of
from memaopt.choice.weighing import objective_of
from memaopt.errors import DisagreementError, InfeasibleError, InputError, MemaoptError
from memaopt.inputs import Input
from memaopt.machines.mcu import Mcu
from memaopt.networks.formats.model import Model
from memaopt.overview import Overview
from memaopt.printable import counted
from memaopt.problems.words import Objective
from memaopt.spelling import option


class NetworkEvaluation(Input, Overview):
    """What a plan is worth. ``reason`` says why one is not ``feasible``; then there are no ``layers`` and ``totals``.

    ``buffers`` are the accesses of all layers by buffer; those by memory are in ``totals``. ``distances`` are those of
    cycles, of the bytes moved and of the arena. ``optimum`` is the certificate of the best.
    """

    name: str
    machine: Mcu
    objective: Objective
    given: GivenPlan
    feasible: bool
    reason: str = ""
    price: int | None = None
    layers: tuple[LayerClaim, ...] = ()
    totals: Totals | None = None
    buffers: dict[str, Access] = Field(default_factory=dict)
    distances: dict[str, Distance] = Field(default_factory=dict)
    optimum: NetworkCertificate

    @property
    def optimal(self) -> bool:
        """Whether no choice costs less."""
        return self.price == self.optimum.choice.price

    def headline(self) -> str:
        verdict = "infeasible" if not self.feasible else "optimal" if self.optimal else "not optimal"
        told = counted(len(self.given.layers), "kernel")
        where = f"{self.machine.name} in setting {self.machine.setting.name}"
        return f"{verdict}: {told} given for {self.name} on {where}{' with DMA' * (self.machine.dma is not None)}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        best, found = self.optimum, [("objective", self.machine.core.goal(self.objective))]
        if self.totals is None:
            found.append(("reason", self.reason))
        else:
            figures = _figures(self.totals)
            found += [(name, f"{figures[name]:,}{self.distances[name].told()}") for name in figures]
            found += [
                (f"in {name}", f"{moved.bytes:,} bytes, {moved.least:,} at least")
                for name, moved in self.totals.traffic.memories.items()
            ]
            found += [(f"{name} moved", f"{moved.bytes:,} bytes") for name, moved in self.buffers.items()]
            found.append(("flash", f"{self.totals.flash_bytes:,} bytes"))
        found += custom_facts(each.name for each in best.custom)
        return (*found, ("optimum", best.headline()), ("proof", best.choice.proof), ("certificate", best.sha256[:16]))


class _Judged(NamedTuple):
    """A plan that fits, with the problem that it is of."""

    plan: NetworkPlan
    problem: Problem


def evaluate(
    model: Model,
    machine: Mcu,
    given: GivenPlan | dict[str, Any],
    objective: Objective = "cycles",
    *,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    place: NetworkPlacement | None = None,
) -> NetworkEvaluation:
    """What a plan is worth for a network on a machine, beside the certified optimum of the same budgets and places.

    Raises InputError for a plan that cannot be read, InfeasibleError if no plan fits, DisagreementError if this one
    beats the optimum.
    """
    place = place or ON_CHIP
    where = sites(place, machine)
    if objective == "ram" or objective_of(objective, machine, where.weighed)[1]:
        goal = option("objective", objective)
        raise InputError(f"evaluate: {goal} weighs ram, which is no sum over layers: bound the arena")
    asked = given if isinstance(given, GivenPlan) else GivenPlan.parsed(given, "schedule", place)
    if asked.chains and arena is None and not where.between:
        arena = machine.sram.size  # then the best is looked for among all partitions into chains too
    compiled = partial(compile_network, model, machine, objective, sram=sram, flash=flash, arena=arena, place=place)
    judged: _Judged | None = None
    reason = ""
    try:
        judged = _judged(compiled, asked)
    except InfeasibleError as error:
        reason = str(error)
    best = network.certify(compiled())
    if judged is None:
        return NetworkEvaluation(
            name=best.name,
            machine=machine,
            objective=best.objective,
            given=asked,
            feasible=False,
            reason=reason,
            optimum=best,
        )
    return _made(judged.plan, asked, best)


def _judged(compiled: Callable[..., NetworkPlan], given: GivenPlan) -> _Judged:
    """The best plan with the kernels that are given. Raises InfeasibleError if there is none."""
    there, tried = list[Problem](), list[Problem]()

    def among(problem: Problem) -> Problem | None:
        tried.append(problem)
        left = given.among(problem)
        there.extend([] if left is None else [left])
        return left

    try:
        plan = compiled(among=among, chains={given.multiple: given.chains})
    except InputError:
        if there or given.room == "any" or not tried:  # then it is not for the tensors outside
            raise
        raise InfeasibleError(f"room: no tensors are tried outside for {given.room}") from None
    found = _Judged(plan, next(each for each in reversed(there) if each.away == plan.away))
    if given.memory is not None:
        _check_memory(found, given)
        outer = found.problem.outer_plan(plan.choice.picks, given.memory.order)
        return found._replace(plan=dataclasses.replace(plan, outer=outer))
    return found


def _check_memory(found: _Judged, given: GivenPlan) -> None:
    """InfeasibleError if the memory that is given does not hold what the kernels need, or takes more than there is."""
    problem, memory = found.problem, given.memory
    assert memory is not None
    chosen = problem.chosen(found.plan.choice.picks)
    try:
        memory.verify(
            problem.in_memory(chosen),
            scratch=problem.scratch(chosen),
            in_place=in_place_of(problem.graph, chosen, problem.lowered),
            leads=leads_of(problem.graph, chosen, problem.lowered),
            external=problem.gone(chosen),
            complete=True,
        )
    except MemaoptError as error:
        raise InfeasibleError(f"memory: {error}") from None
    beside = found.plan.sram_bytes - found.plan.arena_bytes
    sram, arena = problem.limits.sram, problem.limits.arena
    if sram is not None and memory.arena_bytes + beside > sram:
        raise InfeasibleError(f"memory: {memory.arena_bytes + beside:,} bytes of SRAM, and there are {sram:,}")
    if arena is not None and memory.arena_bytes > arena:
        raise InfeasibleError(f"memory: an arena of {memory.arena_bytes:,} bytes, and there are {arena:,}")


def _made(plan: NetworkPlan, given: GivenPlan, best: NetworkCertificate) -> NetworkEvaluation:
    price, least = plan.choice.price, best.choice.price
    # Of chains that do not pack as they are found, others may be better.
    floor = least if best.chained_bound is None or not plan.chains else best.chained_bound
    if price < floor and best.choice.proof != "none":
        raise DisagreementError(f"{plan.name}: the plan costs {price:,}, less than the optimum, {least:,}")
    totals = network_claims.totals(plan)
    if given.memory is not None:
        scratch = given.memory.arena_bytes - totals.tensor_bytes
        totals = totals.model_copy(update={"arena_bytes": given.memory.arena_bytes, "scratch_bytes": scratch})
    found: dict[str, Access] = {}
    for layer in plan.layers:
        for buffer, moved in layer.promise.buffers.items():
            found[buffer] = found.get(buffer, Access()) + moved
    at_best, figures, bounds = _figures(best.totals), _figures(totals), {"bytes moved": totals.traffic.least}
    return NetworkEvaluation(
        name=plan.name,
        machine=plan.mcu,
        objective=plan.objective,
        given=given,
        feasible=True,
        price=price,
        layers=tuple(network_claims.claim(plan, layer) for layer in plan.layers),
        totals=totals,
        buffers=dict(sorted(found.items())),
        distances={name: Distance.of(figure, at_best[name], bounds.get(name)) for name, figure in figures.items()},
        optimum=best,
    )


def _figures(totals: Totals) -> dict[str, int]:
    """The figures that distances are of."""
    found = {"bytes moved": totals.traffic.bytes, "arena bytes": totals.arena_bytes}
    return found if totals.machine_cycles is None else {"cycles": totals.machine_cycles, **found}
