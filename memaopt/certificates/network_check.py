"""The check of a network's certificate: every claim derived again from the model, without a solver.

:func:`verify` needs the model beside the certificate and trusts nothing else: it reads and simplifies the model again,
derives each layer's plan (and with it the proof of its rounding, its promise, its price), replays the memory plan byte
by byte, makes the whole certificate again and compares it field by field, and searches for a better choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from memaopt.certificates import envelope
from memaopt.certificates.envelope import Verified
from memaopt.certificates.network import NetworkCertificate, certify, derived
from memaopt.choice import choice, compile, outside_chains, spaces
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.placement import sites
from memaopt.choice.problem import Problem
from memaopt.choice.solution import cheaper
from memaopt.choice.stages import ALIGNMENT, in_place_of, leads_of
from memaopt.choice.weighing import objective_of
from memaopt.errors import FalseClaimError, InfeasibleError, InputError, MemaoptError
from memaopt.kernels.registry import CHAINS, Format
from memaopt.networks.chains import space_of
from memaopt.networks.formats.model import Model
from memaopt.networks.names import identifier_of
from memaopt.problems.layers import LayerChain


def verify(certificate: NetworkCertificate, model: Model | None = None, *, chosen_together: bool = False) -> Verified:
    """Derive every claim again from the model, that at hand if none is given; FalseClaimError names the first false.

    No solver is asked. Of the C text only the board can tell. ``chosen_together``: that none is better is claimed of
    this network and others, not of it alone.
    """
    model = certificate.model_file if model is None else model
    certificate.refuse_false(_all_false_claims(certificate, model, chosen_together))
    return Verified(subject=certificate.subject, premises=premises(certificate), unproven=_unproven(certificate))


def _all_false_claims(certificate: NetworkCertificate, model: Model, chosen_together: bool) -> Iterator[str]:
    """What does not hold; each check relies on those before it."""
    yield from _false_premises(certificate)
    try:
        problem, plan = derived(certificate, model)
    except InfeasibleError as error:
        yield f"room: {error}"
        return
    except InputError as error:
        if certificate.stream is None and not certificate.by_rows:
            raise
        yield f"{'by_rows' if certificate.by_rows else 'stream'}: {error}"
        return
    if (problem.away == frozenset()) != (certificate.outer is None):
        yield "outer: tensors lie outside the chip with an arena there, and only then"
        return
    chosen = problem.chosen(plan.choice.picks)
    try:
        certificate.memory.verify(
            problem.in_memory(chosen),
            scratch=problem.scratch(chosen),
            in_place=in_place_of(plan.graph, chosen, problem.lowered),
            leads=leads_of(plan.graph, chosen, problem.lowered),
            external=problem.gone(chosen),
            complete=True,
        )
        if certificate.outer is not None:
            certificate.outer.verify(
                problem.in_memory(chosen),
                in_place=in_place_of(plan.graph, chosen, problem.lowered),
                leads=leads_of(plan.graph, chosen, problem.lowered),
                external=problem.stays(chosen),
            )
            if certificate.outer.order != certificate.memory.order:
                yield "outer.order is not that of the arena inside"
    except MemaoptError as error:
        yield str(error)
    yield from _false_claims(certificate, problem, plan)
    yield from _false_choice(certificate, plan, chosen_together)


def premises(certificate: NetworkCertificate) -> tuple[str, ...]:
    """What a certificate takes as given, a line each."""
    arena = "any" if certificate.arena_bytes is None else f"{certificate.arena_bytes:,} bytes"
    formats = "any format inside the network" if certificate.formats else "int8 in memory everywhere"
    return (
        f"model {certificate.model} (sha256 {certificate.model_sha256[:16]})",
        envelope.machine_premise(certificate.machine),
        f"objective {certificate.objective}",
        f"budgets: {certificate.sram_bytes:,} bytes of SRAM, {certificate.flash_bytes:,} of flash, arena {arena}",
        f"formats: {formats}",
        f"kernels: compared {space_of(certificate.chains)}",
        *((f"placement: {certificate.placement.describe()}",) if certificate.placement.describe() else ()),
        *(() if certificate.stream is None else (f"stream: {certificate.stream.describe()}",)),
        *(("input: by rows, kept nowhere",) if certificate.by_rows else ()),
        *((f"subgraph {certificate.subgraph}",) if certificate.subgraph else ()),
        *(f"custom operator {each.describe()}" for each in certificate.custom),
    )


def _unproven(certificate: NetworkCertificate) -> tuple[str, ...]:
    """The claims that rest on a solver's word."""
    found = []
    if certificate.choice.proof == "solver":
        found.append("that no choice of kernels is better (the solver said so)")
    if certificate.memory.proof == "solver":
        found.append("that no smaller arena does for these kernels in this order (the solver said so)")
    return tuple(found)


def _false_premises(certificate: NetworkCertificate) -> Iterator[str]:
    """Budgets beyond the machine, and a name that is none."""
    outside = sites(certificate.placement, certificate.machine).weighed
    if objective_of(certificate.objective, certificate.machine, outside) != (certificate.objective, 0):
        yield f"layers have no price under the objective {certificate.objective!r}"
    if identifier_of(certificate.name) != certificate.name:
        yield f"{certificate.name!r} is not a C identifier"
    for what, given, size in (
        ("SRAM", certificate.sram_bytes, certificate.machine.sram.size),
        ("flash", certificate.flash_bytes, certificate.machine.memory("flash").size),
    ):
        if given > size:
            yield f"it speaks of {given:,} bytes of {what}, but the machine has {size:,}"


def _false_claims(certificate: NetworkCertificate, problem: Problem, plan: NetworkPlan) -> Iterator[str]:
    """What does not hold, cheapest check first; whether another choice is better comes after it."""
    said = certificate.choice
    if plan.chains:
        yield from _false_chains(plan)
    if sites(plan.placement, plan.mcu).between:
        bound = outside_chains.chained_bound(plan)
        choice_, none = plan.choice, said.proof == "none"
        if plan.chains:
            choice_ = compile.bounded(choice_, bound or 0)
        elif none:
            choice_ = dataclasses.replace(choice_, bound=compile.lower_bound_of(plan))
        plan = dataclasses.replace(plan, choice=choice_, chained_bound=bound)
    elif plan.chains:
        try:
            bound = compile.partition_bound(plan)
        except FalseClaimError as error:
            yield str(error)
            return
        plan = dataclasses.replace(plan, choice=compile.bounded(plan.choice, bound))
    elif said.proof == "none":
        bound = compile.lower_bound_of(plan)
        plan = dataclasses.replace(plan, choice=dataclasses.replace(plan.choice, bound=bound))
    said_all, derived = (
        made.model_dump(mode="json", exclude={"sha256"}) for made in (certificate, certify(plan, certificate.model))
    )
    yield from envelope.differences(said_all, derived)
    if certificate.memory.alignment != ALIGNMENT:
        yield f"memory.alignment is {certificate.memory.alignment}, but kernels need {ALIGNMENT}"
    yield from _disagreements(problem, plan)
    yield from _overruns(certificate, problem, plan)


def _false_choice(certificate: NetworkCertificate, plan: NetworkPlan, chosen_together: bool) -> Iterator[str]:
    """What is claimed of all other choices, and does not hold."""
    said, price = certificate.choice, plan.choice.price
    problems = list(spaces.problems_of(plan))
    if plan.room not in [other.room for other in problems]:
        yield f"room is {plan.room}, which is none of those that are tried"
    if chosen_together:
        if said.proof != "none":
            yield f"choice.proof is claimed to be {said.proof!r} of a network whose kernels were chosen with others'"
        return
    found = [cheaper(other, certificate.objective, price) for other in problems]
    for best in found:
        if isinstance(best, int):
            yield f"the choice claims that nothing is cheaper than {price}, but a choice of {best} fits"
        if best == "unknown" and said.proof == "enumeration":
            yield f"the choice claims an enumeration of all that is cheaper than {price}, which does not come to an end"
    if "unknown" not in found and said.proof != "enumeration" and not plan.chains:
        yield f"choice.proof is claimed to be {said.proof!r}, but an enumeration shows that nothing is cheaper"


def _false_chains(plan: NetworkPlan) -> Iterator[str]:
    """Chains replayed byte by byte."""
    for layer in plan.layers:
        if isinstance(layer.lowered.layer, LayerChain):
            try:
                CHAINS.replay(layer.lowered.layer, layer.plan)
            except MemaoptError as error:
                yield f"{layer.name}: {error}"


def _disagreements(problem: Problem, plan: NetworkPlan) -> Iterator[str]:
    """Tensors that a layer reads in another format than they were written in, and kernels that are in two places."""
    written: dict[int | None, Format] = dict.fromkeys([None, *problem.plain], Format.S8)
    places: dict[tuple[str, ...], bool] = {}
    for stage, j in zip(problem.stages, plan.choice.picks, strict=True):
        taken = stage.candidates[j]
        for tensor in stage.inputs:
            if written.get(tensor, Format.S8) != taken.plan.input_format:
                yield f"tensor {tensor} is read as {taken.plan.input_format}, but lies there as {written[tensor]}"
        if stage.output in problem.plain and taken.plan.output_format is not Format.S8:
            yield f"tensor {stage.output} must be plain int8"
        written[stage.output] = taken.plan.output_format
        if taken.plan.kernels and places.setdefault(taken.plan.kernels, taken.where.code) != taken.where.code:
            yield f"the kernels {', '.join(taken.plan.kernels)} are in flash and in RAM"


def _overruns(certificate: NetworkCertificate, problem: Problem, plan: NetworkPlan) -> Iterator[str]:
    """Budgets that the plan exceeds."""
    limits, layers = problem.limits, plan.layers
    if plan.layout is None:
        yield "arena, stack, and what is copied into RAM have no layout there together"
    yield from compile.overflows(plan)
    for what, taken, limit in (
        ("of SRAM for arena, stack and what is in RAM", plan.sram_bytes, certificate.sram_bytes),
        ("of arena", plan.arena_bytes, certificate.arena_bytes),
        ("of flash", plan.flash_bytes, certificate.flash_bytes),
        ("of code in RAM", choice.ram_code_bytes(layers), limits.code_ram),
        ("of constants in RAM", choice.ram_constant_bytes(layers), limits.constants_ram),
    ):
        if limit is not None and taken > limit:
            yield f"it takes {taken:,} bytes {what}, more than the {limit:,} given"
