"""The certificate of a compiled network: every claim about it as one JSON file.

What it takes as given are the premises alone, :data:`PREMISES`, and what is chosen: of those any
others would do, if all that is claimed held of them (:mod:`memaopt.certificates.network_check`).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr

from memaopt.certificates import push
from memaopt.certificates.model_file import OfModel
from memaopt.certificates.network_claims import ChoiceClaim, CustomClaim, LayerClaim, Totals, claim, customs, totals
from memaopt.certificates.push import PushClaim
from memaopt.choice import choice, compile, fusion, rows, spaces
from memaopt.choice.customs import custom_facts, without
from memaopt.choice.in_ram import Where
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.paths import Potentials
from memaopt.choice.placement import NetworkPlacement, sites
from memaopt.choice.problem import Problem, prepare
from memaopt.choice.traffic import describe
from memaopt.errors import FalseClaimError, InputError
from memaopt.memory.plan import MemoryPlan
from memaopt.memory.row_bound import bound, told
from memaopt.networks.chains import Chains, depth_first
from memaopt.networks.formats.model import Model
from memaopt.networks.reading import Wanted
from memaopt.networks.streaming.window import Stream, streamed
from memaopt.printable import counted
from memaopt.problems.words import Objective

PREMISES = (
    "name",
    "model",
    "model_sha256",
    "machine",
    "objective",
    "sram_bytes",
    "flash_bytes",
    "arena_bytes",
    "formats",
    "placement",
    "stream",
    "by_rows",
    "custom",
    "subgraph",
)
"""Fields that say of what a certificate speaks: with others it is another certificate, true or false as it stands."""


class NetworkCertificate(OfModel):
    """A compiled network and everything claimed about it.

    Its model is that of the plan that it was made for, or lies beside the file that it was read from.
    """

    what: ClassVar[str] = "a network's certificate"

    format: Literal["memaopt-network-certificate-11"] = "memaopt-network-certificate-11"
    objective: Objective
    sram_bytes: int = Field(gt=0)
    flash_bytes: int = Field(gt=0)
    arena_bytes: int | None = Field(gt=0)
    formats: bool
    placement: NetworkPlacement
    stream: Stream | None
    by_rows: bool = False
    custom: tuple[CustomClaim, ...]
    subgraph: str
    multiple: int
    simplified: tuple[str, ...]
    chains: Chains = ()
    row_bound_bytes: int | None = None
    layers: tuple[LayerClaim, ...]
    memory: MemoryPlan
    room: int | None = None
    outer_bound: int | None = None
    chained_bound: int | None = None
    outer: MemoryPlan | None = None
    choice: ChoiceClaim
    potentials: tuple[Potentials, ...] = ()
    totals: Totals
    push: PushClaim | None
    _plan: NetworkPlan | None = PrivateAttr(default=None)

    @property
    def plan(self) -> NetworkPlan:
        """The plan that it is of; derived from the model if it was read from a file. Raises InputError if there is no
        model at hand, FalseClaimError if it is not the one certified or has not the layers that are claimed.
        """
        return plan_of(self, self.model_file) if self._plan is None else self._plan

    def page(self) -> str:
        from memaopt.api import html_report

        return "" if self._plan is None else html_report(self)

    @property
    def model_file(self) -> Model:
        """The model that it speaks of; InputError if it is not at hand."""
        if self._plan is not None and self._plan.model is not None:
            return self._plan.model
        return super().model_file

    def _asked(self, folder: Path) -> Wanted:
        """The subgraph, and the user's C from its files; FalseClaimError if one is not that which was certified."""
        return Wanted(tuple(claim.read(folder, self.subject) for claim in self.custom), self.subgraph)

    def headline(self) -> str:
        where = f"{self.machine.name} in setting {self.machine.setting.name}"
        return f"{self.name} on {where}: {counted(len(self.layers), 'layer')}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        found, choice = self.totals, self.choice
        proof = {
            "enumeration": "the best of its space, by enumeration",
            "solver": "the best of its space, the solver said",
        }
        core = self.machine.core
        hidden = core.only_orders(self.objective)
        at_least = "not proven to be the best" if hidden else f"no choice is below {choice.bound:,}"
        goal = core.goal(self.objective) if hidden else f"{core.goal(self.objective)}: {choice.price:,}"
        return (
            ("objective", f"{goal}; {proof.get(choice.proof, at_least)}"),
            ("multiply-accumulates", f"{found.macs:,}"),
            ("traffic", f"{describe(found.traffic)}; {found.compulsory_bytes:,} bytes at least"),
            *self._cycles(),
            *custom_facts(each.name for each in self.custom),
            (
                "arena",
                f"{found.arena_bytes:,} bytes: {found.tensor_bytes:,} of tensors, {found.scratch_bytes:,} of scratch",
            ),
            *self._rows(),
            *((("input", "by rows, kept nowhere"),) if self.by_rows else ()),
            ("RAM besides", f"{found.stack_bytes:,} bytes of stack, {found.ram_bytes:,} of code and constants"),
            *((("state", f"{found.state_bytes:,} bytes, the caller's"),) if found.state_bytes else ()),
            *(("" if i else "push", text) for i, text in enumerate(self.push.describe() if self.push else ())),
            ("flash", f"{found.flash_bytes:,} bytes: {found.constant_bytes:,} of constants"),
            *self._outside(),
            ("model", f"{self.model}, sha256 {self.model_sha256[:16]}"),
            ("certificate", self.sha256[:16]),
        )

    def _rows(self) -> list[tuple[str, str]]:
        """What is computed depth first, and what no such schedule takes less than."""
        chains = ", ".join(f"operators {first} to {last - 1}" for first, last in self.chains)
        least = self.row_bound_bytes
        with_row = ", the row that comes included" if self.by_rows else ""
        text = "" if least is None else f"; {told(least, self.totals.arena_bytes)}{with_row}"
        return [("depth first", chains + text)] if self.chains else []

    def _outside(self) -> list[tuple[str, str]]:
        """What lies outside the chip."""
        found, outer = self.totals.outside, self.outer
        told = []
        if found is not None:
            told.append((found.memory, f"{found.bytes:,} bytes of constants, CRC-32 {found.crc32:08x}"))
        memory = sites(self.placement, self.machine).tensors
        if outer is not None and memory is not None:
            told.append((memory.name, f"{outer.arena_bytes:,} bytes of tensors"))
        return told

    def _cycles(self) -> list[tuple[str, str]]:
        """What it takes, where it may be said."""
        found = self.totals
        if found.cycles is None:
            return []
        named = without(each.name for each in self.custom)
        dma = "" if self.machine.dma is None else ", with DMA where that is cheaper"
        return [("cycles", f"{found.machine_cycles:,} predicted{dma}{named}, {found.cycles:,} without waiting")]


def certify(plan: NetworkPlan, model: str | None = None) -> NetworkCertificate:
    """The certificate of a plan that was compiled from a file; ``model`` is the name of the file beside it, by default
    the plan's with the format's ending."""
    if plan.model is None:
        raise InputError(f"{plan.name} was not compiled from a file, so there is nothing to certify it against")
    assert plan.budgets.sram is not None
    assert plan.budgets.flash is not None
    signed = NetworkCertificate(
        name=plan.name,
        model=plan.model.file(plan.name) if model is None else model,
        model_sha256=plan.model.sha256,
        machine=plan.mcu,
        objective=plan.objective,
        sram_bytes=plan.budgets.sram,
        flash_bytes=plan.budgets.flash,
        arena_bytes=plan.budgets.arena,
        formats=plan.formats,
        placement=plan.placement,
        stream=plan.slides,
        by_rows=plan.graph.by_rows,
        custom=customs(plan),
        subgraph=plan.model.subgraph,
        multiple=plan.multiple,
        simplified=plan.steps,
        chains=plan.chains,
        row_bound_bytes=_row_bound(plan),
        layers=tuple(claim(plan, layer) for layer in plan.layers),
        memory=plan.memory,
        room=plan.room,
        outer_bound=plan.outer_bound,
        chained_bound=plan.chained_bound,
        outer=plan.outer,
        choice=ChoiceClaim(
            price=plan.choice.price,
            bound=plan.choice.bound,
            proof=plan.choice.proof,
        ),
        potentials=plan.potentials,
        totals=totals(plan),
        push=push.claim(plan),
    ).signed()
    signed._plan = plan
    return signed


def _row_bound(plan: NetworkPlan) -> int | None:
    """Beside a plan with chains: what no schedule by whole rows has a smaller arena than."""
    if not plan.chains:
        return None
    simple = dict(spaces.simplifications(plan.source))[plan.multiple]
    found = bound(simple.graph, plan.away)
    return None if found is None else found.bytes


def plan_of(certificate: NetworkCertificate, model: Model) -> NetworkPlan:
    """The plan that a certificate describes, derived from the model; none of its claims is checked but that
    the model is the one certified and that its layers exist (FalseClaimError).
    """
    return derived(certificate, model)[1]


def derived(certificate: NetworkCertificate, model: Model) -> tuple[Problem, NetworkPlan]:
    """What was chosen from, and the plan with what the certificate chose, all else made anew but its proof."""
    where = certificate.subject
    certificate.demand(model)
    pushed, slides = (None, None) if certificate.stream is None else streamed(model.graph, certificate.stream)
    source = model.graph if pushed is None else pushed.graph
    source = rows.by_rows(source) if certificate.by_rows else source
    simple = dict(spaces.simplifications(source)).get(certificate.multiple)
    if simple is None:
        raise FalseClaimError(f"{where}: channels are not kept in multiples of {certificate.multiple}")
    try:
        graph = depth_first(simple.graph, certificate.chains)
    except InputError as error:
        raise FalseClaimError(f"{where}: {error}") from None
    problem = prepare(
        graph,
        certificate.machine,
        sram=certificate.sram_bytes,
        flash=certificate.flash_bytes,
        arena=certificate.arena_bytes,
        formats=certificate.formats,
        place=certificate.placement,
        room=certificate.room,
        objective=certificate.objective,
    )
    picks = _picks(problem, certificate, where)
    memory, goal, said = certificate.memory, certificate.objective, certificate.choice
    if sorted(memory.order) != list(range(len(graph.operators))):
        raise FalseClaimError(f"{where}: the memory plan's order is not a permutation of the operators")
    price = sum(stage.candidates[j].price(goal) for stage, j in zip(problem.stages, picks, strict=True))
    layers = compile.layers_of(problem, certificate.name, memory.order, picks)
    plan = NetworkPlan(
        certificate.name,
        certificate.machine,
        goal,
        problem.limits,
        source,
        graph,
        simple.kept,
        simple.steps,
        layers,
        memory,
        choice.Choice(picks, price, price, said.proof),
        certificate.multiple,
        certificate.formats,
        certificate.chains,
        model,
        push=pushed,
        slides=slides,
        placement=certificate.placement,
        outer=certificate.outer,
        away=problem.away,
        room=certificate.room,
        outer_bound=problem.outer_bound,
        potentials=certificate.potentials,
    )
    return problem, plan


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
        where_said = Where(said.code_in_ram, said.data_in_ram, said.data_outside)
        wanted = (said.family, said.tile, said.options, said.input_format, said.output_format, where_said)
        for j, candidate in enumerate(stage.candidates):
            plan = candidate.plan
            found = (plan.family, plan.tile, plan.options, plan.input_format, plan.output_format, candidate.where)
            if found == wanted and candidate.pays:
                picks.append(j)
                break
        else:
            raise FalseClaimError(f"{where}: no kernel {said.family} {said.tile} computes {said.name}")
    return tuple(picks)
