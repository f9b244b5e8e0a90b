"""The certificate of a compiled network: every claim about it as one JSON file, and the check of each claim.

:func:`verify` needs the model beside the certificate and trusts nothing else: it reads and simplifies the model again,
derives each layer's plan (and with it the proof of its rounding, its promise, its price), replays the memory plan,
and proves the choice again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memaopt.emit.layers import Format
from memaopt.emit.layers.result import Access
from memaopt.errors import FalseClaimError, InputError, MemaoptError
from memaopt.files import CERTIFICATE_BYTES, read_text
from memaopt.mcus import Mcu
from memaopt.networks import choice, compile, fusion, simplify, tflite
from memaopt.networks.choice import Objective
from memaopt.networks.compile import LayerPlan, NetworkPlan
from memaopt.networks.graph import Graph
from memaopt.networks.memory import MemoryPlan
from memaopt.networks.names import identifier_of
from memaopt.networks.placement import Placement
from memaopt.networks.problem import Problem, in_place_of, leads_of, prepare
from memaopt.version import __version__

FORMAT: Literal["memaopt-network-certificate-1"] = "memaopt-network-certificate-1"

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LayerClaim(BaseModel):
    """One layer: which kernel, what it promises in one inference, what it costs, why its rounding is exact.

    ``operator`` is a position in the simplified network, ``location`` in the file; ``within`` is the position of the
    operator before it that the layer computes too, if it does. ``cycles`` are predicted at zero
    wait states, ``stall_cycles`` are what the machine's add. ``requantization`` is empty for layers that round nothing.
    """

    model_config = _FROZEN

    name: str
    kind: str
    operator: int
    within: int | None
    location: int
    family: str
    tile: str
    options: tuple[tuple[str, int], ...]
    input_format: Format
    output_format: Format
    code_in_ram: bool
    data_in_ram: bool
    batch: int
    macs: int
    promised: dict[str, Access]
    cycles: int
    stall_cycles: int
    data_bytes: int
    code_bytes: int
    scratch_bytes: int
    stack_bytes: int
    requantization: str


class ChoiceClaim(BaseModel):
    """The sum over the layers of what is minimised, the proven bound, and the SRAM that each layer was held to."""

    model_config = _FROZEN

    price: int
    bound: int
    proof: choice.Proof
    sram_limit: int
    arena_limit: int | None


class Totals(BaseModel):
    """``arena_bytes`` are ``tensor_bytes`` (the largest live set) and what scratch adds; stack, code are estimates."""

    model_config = _FROZEN

    macs: int
    cycles: int
    machine_cycles: int
    ram_bytes: int
    arena_bytes: int
    tensor_bytes: int
    scratch_bytes: int
    stack_bytes: int
    constant_bytes: int
    flash_bytes: int


class NetworkCertificate(BaseModel):
    """A compiled network and everything claimed about it. ``sha256`` is over the canonical JSON of all other fields."""

    model_config = _FROZEN

    format: Literal["memaopt-network-certificate-1"] = FORMAT
    version: str
    name: str
    model: str = Field(min_length=1)
    model_sha256: str
    machine: Mcu
    objective: Objective
    sram_bytes: int
    flash_bytes: int
    arena_bytes: int | None
    formats: bool
    multiple: int = Field(ge=1, le=64)
    simplified: tuple[str, ...]
    layers: tuple[LayerClaim, ...]
    memory: MemoryPlan
    choice: ChoiceClaim
    totals: Totals
    sha256: str

    def to_json(self) -> str:
        """JSON text, indented, in the order of the fields."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "certificate") -> NetworkCertificate:
        """The certificate in ``text``, unverified; InputError if it is malformed."""
        try:
            return NetworkCertificate.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the top level"
            raise InputError(f"{where}: not a network's certificate: {place}: {first['msg']}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not valid JSON: {error}") from None


def certify(plan: NetworkPlan, model: str = "model.tflite") -> NetworkCertificate:
    """The certificate of a plan that was compiled from a file; ``model`` is the name of the file beside it."""
    if not plan.model_sha256:
        raise InputError(f"{plan.name} was not compiled from a .tflite file, so there is nothing to certify it against")
    assert plan.budgets.sram is not None
    assert plan.budgets.flash is not None
    assert plan.choice.sram_limit is not None
    unsigned = NetworkCertificate(
        version=__version__,
        name=plan.name,
        model=model,
        model_sha256=plan.model_sha256,
        machine=plan.mcu,
        objective=plan.objective,
        sram_bytes=plan.budgets.sram,
        flash_bytes=plan.budgets.flash,
        arena_bytes=plan.budgets.arena,
        formats=plan.formats,
        multiple=plan.multiple,
        simplified=plan.steps,
        layers=tuple(claim(layer) for layer in plan.layers),
        memory=plan.memory,
        choice=ChoiceClaim(
            price=plan.choice.price,
            bound=plan.choice.bound,
            proof=plan.choice.proof,
            sram_limit=plan.choice.sram_limit,
            arena_limit=plan.choice.arena_limit,
        ),
        totals=totals(plan),
        sha256="",
    )
    return unsigned.model_copy(update={"sha256": digest(unsigned)})


def digest(certificate: NetworkCertificate) -> str:
    """SHA-256 over the canonical JSON of everything but the digest itself."""
    data = certificate.model_dump(mode="json", exclude={"sha256"})
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def claim(layer: LayerPlan) -> LayerClaim:
    """What is claimed of one layer."""
    plan, promise = layer.plan, layer.promise
    operands = {f"input{n if len(promise.inputs) > 1 else ''}": access for n, access in enumerate(promise.inputs)}
    operands |= {"output": promise.output, "parameters": promise.parameters, "scratch": promise.scratch}
    return LayerClaim(
        name=layer.name,
        kind=layer.kind,
        operator=layer.position,
        within=layer.within,
        location=layer.op.location,
        family=plan.family,
        tile=plan.tile,
        options=plan.options,
        input_format=plan.input_format,
        output_format=plan.output_format,
        code_in_ram=layer.where.code,
        data_in_ram=layer.where.data,
        batch=layer.batch,
        macs=layer.macs,
        promised={name: access for name, access in operands.items() if any(access)},
        cycles=layer.cycles,
        stall_cycles=layer.stall_cycles,
        data_bytes=plan.data_bytes,
        code_bytes=plan.code_bytes,
        scratch_bytes=plan.scratch_bytes,
        stack_bytes=plan.stack_bytes,
        requantization=plan.requantization,
    )


def totals(plan: NetworkPlan) -> Totals:
    """The totals of a plan."""
    return Totals(
        macs=plan.macs,
        cycles=plan.cycles,
        machine_cycles=plan.machine_cycles,
        ram_bytes=plan.ram_bytes,
        arena_bytes=plan.arena_bytes,
        tensor_bytes=plan.tensor_bytes,
        scratch_bytes=plan.scratch_bytes,
        stack_bytes=plan.stack_bytes,
        constant_bytes=plan.constant_bytes,
        flash_bytes=plan.flash_bytes,
    )


def read(path: str | Path) -> NetworkCertificate:
    """The certificate in a file, unverified; InputError if there is none that can be read."""
    return NetworkCertificate.from_json(read_text(path, CERTIFICATE_BYTES), str(path))


def verify_file(path: str | Path) -> None:
    """Verify the certificate in a file against the model that lies beside it."""
    certificate = read(path)
    if Path(certificate.model).name != certificate.model:
        raise InputError(f"{path}: the model {certificate.model!r} is not the name of a file beside the certificate")
    verify(certificate, Path(path).parent / certificate.model)


def plan_of(certificate: NetworkCertificate, model: str | Path) -> NetworkPlan:
    """The plan that a certificate describes, derived from the model's file; none of its claims is checked but that
    the model is the one certified and that its layers exist (FalseClaimError).
    """
    graph, simple, problem, picks = _derived(certificate, model)
    return _plan(certificate, graph, simple, problem, picks)


def verify(certificate: NetworkCertificate, model: str | Path) -> None:
    """Derive every claim again from the model's file; FalseClaimError names the first that does not hold.

    Of the version, and of the C text, only the digest and the board can tell.
    """
    where = f"{certificate.name} on {certificate.machine.name}"
    if digest(certificate) != certificate.sha256:
        raise FalseClaimError(f"{where}: the digest is not that of the certificate")
    graph, simple, problem, picks = _derived(certificate, model)
    if simple.steps != certificate.simplified:
        raise FalseClaimError(f"{where}: the network does not simplify as claimed")
    chosen = problem.chosen(picks)
    try:
        certificate.memory.verify(
            problem.in_memory(chosen),
            scratch=problem.scratch(chosen),
            in_place=in_place_of(simple.graph, chosen, problem.lowered),
            leads=leads_of(simple.graph, chosen, problem.lowered),
        )
    except MemaoptError as error:
        raise FalseClaimError(f"{where}: {error}") from None
    for false_claim in _false_claims(problem, certificate, graph, simple, picks):
        raise FalseClaimError(f"{where}: {false_claim}")


def _derived(
    certificate: NetworkCertificate, model: str | Path
) -> tuple[Graph, simplify.Simplified, Problem, tuple[int, ...]]:
    """The network as read and as simplified, what was chosen from, and what the certificate's layers chose."""
    where = f"{certificate.name} on {certificate.machine.name}"
    graph = tflite.read(model)
    if hashlib.sha256(Path(model).read_bytes()).hexdigest() != certificate.model_sha256:
        raise FalseClaimError(f"{where}: {Path(model).name} is not the model that was certified")
    simple = simplify.simplify(graph, multiple=certificate.multiple)
    problem = prepare(
        simple.graph, certificate.machine,
        sram=certificate.sram_bytes, flash=certificate.flash_bytes, arena=certificate.arena_bytes,
        formats=certificate.formats,
    )  # fmt: skip
    return graph, simple, problem, _picks(problem, certificate, where)


def _plan(
    certificate: NetworkCertificate, graph: Graph, simple: simplify.Simplified, problem: Problem, picks: Sequence[int]
) -> NetworkPlan:
    said = certificate.choice
    chosen = choice.Choice(tuple(picks), said.price, said.bound, 0, said.sram_limit, said.proof, said.arena_limit)
    layers = compile.layers_of(problem, certificate.name, certificate.memory.order, picks)
    return NetworkPlan(
        certificate.name, certificate.machine, certificate.objective, problem.limits, graph, simple.graph, simple.kept,
        simple.steps, layers, certificate.memory, chosen, certificate.multiple, certificate.formats,
        certificate.model_sha256,
    )  # fmt: skip


def _picks(problem: Problem, certificate: NetworkCertificate, where: str) -> tuple[int, ...]:
    """The candidate of each stage that the certificate's layer names."""
    by_position = {layer.operator: layer for layer in certificate.layers}
    within = [layer.within for layer in certificate.layers if layer.within is not None]
    computed = [*(layer.operator for layer in certificate.layers), *within]
    if sorted(computed) != sorted(problem.positions):
        raise FalseClaimError(f"{where}: the layers are not those of the simplified network")
    picks = []
    for position, stage in zip(problem.positions, problem.stages, strict=True):
        if position in within:
            deferred = [j for j, candidate in enumerate(stage.candidates) if candidate.plan is fusion.DEFERRED]
            if not deferred:
                raise FalseClaimError(f"{where}: no layer computes operator {position} within itself")
            picks += deferred
            continue
        said = by_position[position]
        where_said = Placement(said.code_in_ram, said.data_in_ram)
        wanted = (said.family, said.tile, said.options, said.input_format, said.output_format, where_said)
        for j, candidate in enumerate(stage.candidates):
            plan = candidate.plan
            found = (plan.family, plan.tile, plan.options, plan.input_format, plan.output_format, candidate.where)
            if found == wanted:
                picks.append(j)
                break
        else:
            raise FalseClaimError(f"{where}: no kernel {said.family} {said.tile} computes {said.name}")
    return tuple(picks)


def _false_claims(
    problem: Problem, certificate: NetworkCertificate, source: Graph, simple: simplify.Simplified,
    picks: Sequence[int],
) -> Iterator[str]:  # fmt: skip
    if identifier_of(certificate.name) != certificate.name:
        yield f"{certificate.name!r} is not a C identifier"
    plan = _plan(certificate, source, simple, problem, picks)
    for layer, said in zip(plan.layers, certificate.layers, strict=True):
        derived = claim(layer)
        for field in LayerClaim.model_fields:
            if getattr(derived, field) != getattr(said, field):
                yield f"{said.name} claims {field} {getattr(said, field)}, but it is {getattr(derived, field)}"
    said_choice = certificate.choice
    limits = problem.limits
    budgets = dataclasses.replace(limits, sram=said_choice.sram_limit, arena=said_choice.arena_limit)
    price = sum(
        stage.candidates[j].price(certificate.objective) for stage, j in zip(problem.stages, picks, strict=True)
    )
    if price != said_choice.price:
        yield f"the choice claims a price of {said_choice.price}, but it is {price}"
    yield from _disagreeing_formats(problem, picks)
    taken = list(problem.taken(picks).values())
    if choice.sram_bytes(taken) > said_choice.sram_limit:
        yield f"the layers need more than the {said_choice.sram_limit} bytes of SRAM that they were held to"
    copied = (
        ("code", choice.ram_code_bytes(taken), limits.code_ram),
        ("constants", choice.ram_constant_bytes(taken), limits.constants_ram),
    )
    for what, size, limit in copied:
        if limit is not None and size > limit:
            yield f"{size} bytes of {what} are copied into RAM, more than the {limit} that the setting allows"
    least = choice.cheapest(problem.stages, problem.plain, certificate.objective, budgets)
    if said_choice.proof == "enumeration" and least != price:
        yield f"the choice claims that nothing is cheaper than {price}, but enumeration finds {least}"
    if said_choice.proof == "solver":
        again = choice.choose(problem.stages, problem.plain, certificate.objective, budgets)
        if again is None or again.price != price:
            yield f"the choice claims that nothing is cheaper than {price}, but {again and again.price} is"
    if said_choice.bound > price or (said_choice.proof != "none" and said_choice.bound != price):
        yield f"the choice claims the bound {said_choice.bound} for its price {price}"
    for field, value in totals(plan).model_dump().items():
        if getattr(certificate.totals, field) != value:
            yield f"the totals claim {field} {getattr(certificate.totals, field)}, but it is {value}"
    if plan.sram_bytes > certificate.sram_bytes:
        yield f"arena and stack take {plan.sram_bytes} bytes, more than the {certificate.sram_bytes} of SRAM"
    if certificate.arena_bytes is not None and plan.arena_bytes > certificate.arena_bytes:
        yield f"the arena takes {plan.arena_bytes} bytes, more than the {certificate.arena_bytes} given"
    if plan.flash_bytes > certificate.flash_bytes:
        yield f"the library takes {plan.flash_bytes} bytes, more than the {certificate.flash_bytes} of flash"


def _disagreeing_formats(problem: Problem, picks: Sequence[int]) -> Iterator[str]:
    """Tensors that a layer reads in another format than they were written in."""
    written: dict[int | None, Format] = dict.fromkeys([None, *problem.plain], Format.S8)
    for stage, j in zip(problem.stages, picks, strict=True):
        plan = stage.candidates[j].plan
        for tensor in stage.inputs:
            if written.get(tensor, Format.S8) != plan.input_format:
                yield f"tensor {tensor} is read as {plan.input_format}, but lies there as {written[tensor]}"
        if stage.output in problem.plain and plan.output_format is not Format.S8:
            yield f"tensor {stage.output} must be plain int8"
        written[stage.output] = plan.output_format
