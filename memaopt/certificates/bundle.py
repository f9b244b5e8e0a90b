"""The certificate of several networks in one library: theirs, and what all of them take together.

It is given the networks' own premises, and the bytes of SRAM and flash that they have together.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from memaopt.certificates import envelope, network_check
from memaopt.certificates.envelope import Named, Verified
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.network import certify as certify_network
from memaopt.certificates.network_claims import ImageClaim, image_claim
from memaopt.choice import joint
from memaopt.choice.bundle import BundlePlan, together
from memaopt.choice.choice import Proof
from memaopt.choice.joint import Together
from memaopt.choice.placement import sites
from memaopt.choice.solution import cheaper, lower_bound
from memaopt.errors import FalseClaimError
from memaopt.inputs import Strict
from memaopt.machines.memory import Memory


class BundleTotals(Strict):
    """What the networks take together. ``arena_bytes`` are the largest arena's, ``ram_bytes`` the code and constants
    that are copied into RAM, ``shared_bytes`` the constants that several have and that are there once; stack and code
    are estimates. ``outer_bytes``: the largest arena outside the chip; ``outside``: the constants there, all of them as
    one image. ``apart_arena_bytes`` and ``apart_flash_bytes``
    are the sums over the networks with the kernels that they have here; alone, in the arena of its own default, one may
    take less.
    """

    arena_bytes: int
    stack_bytes: int
    state_bytes: int
    ram_bytes: int
    constant_bytes: int
    shared_bytes: int
    flash_bytes: int
    outer_bytes: int
    outside: ImageClaim | None
    apart_arena_bytes: int
    apart_flash_bytes: int


class TogetherClaim(Strict):
    """Kernels chosen for all networks at once, each simplified and in chains as its own claim has it: the sum of their
    prices, what no choice of theirs is below in the same RAM and so many bytes of ``flash_bytes`` and ``arena_bytes``,
    and why. Constants of several networks count for each of them there.
    """

    price: int
    bound: int
    proof: Proof
    flash_bytes: int
    arena_bytes: int


class BundleCertificate(Named):
    """Networks compiled for one library, each with its certificate, and everything claimed of them together: where the
    best of each do not fit, that no choice of all is better.

    Their models are those of the plan that it was made for, or lie beside the file that it was read from.
    """

    what: ClassVar[str] = "a certificate of several networks"

    format: Literal["memaopt-bundle-certificate-6"] = "memaopt-bundle-certificate-6"
    sram_bytes: int = Field(gt=0)
    flash_bytes: int = Field(gt=0)
    networks: tuple[NetworkCertificate, ...] = Field(min_length=2)
    together: TogetherClaim | None
    totals: BundleTotals
    _plan: BundlePlan | None = PrivateAttr(default=None)

    @functools.cached_property
    def plan(self) -> BundlePlan:
        """The plan that it is of; derived from the models if it was read from a file. Raises InputError if one is not
        at hand, FalseClaimError if it is not the one certified or has not the layers that are claimed.
        """
        if self._plan is not None:
            return self._plan
        plans = [each.plan for each in self.networks]
        return together(plans, self.sram_bytes, self.flash_bytes, _chosen(self.together))

    @classmethod
    def found(cls, text: str, path: str | Path) -> Self:
        """With the models beside the file at hand."""
        found = super().found(text, path)
        for each in found.networks:
            each._folder = Path(path).parent
        return found

    def headline(self) -> str:
        names = ", ".join(each.name for each in self.networks)
        return f"{self.name} on {self.machine.name} in setting {self.machine.setting.name}: {names}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        found = self.totals
        return (
            *((each.name, self._of(each)) for each in self.networks),
            (
                "arena",
                f"{found.arena_bytes:,} bytes, the largest; {found.apart_arena_bytes:,} with one each",
            ),
            *self._together(),
            ("RAM besides", f"{found.stack_bytes:,} bytes of stack, {found.ram_bytes:,} of code and constants"),
            *((("state", f"{found.state_bytes:,} bytes, the caller's"),) if found.state_bytes else ()),
            (
                "flash",
                f"{found.flash_bytes:,} bytes: {found.constant_bytes:,} of constants; "
                f"{found.apart_flash_bytes:,} were nothing shared",
            ),
            *self._outside(),
            ("certificate", self.sha256[:16]),
        )

    def _together(self) -> list[tuple[str, str]]:
        """What was chosen at once, and how good that is."""
        said, objective = self.together, self.networks[0].objective
        if said is None:
            return []
        core = self.machine.core
        proof = {
            "enumeration": "the best for all of them, by enumeration",
            "solver": "the best for all of them, the solver said",
        }
        if core.only_orders(objective):
            return [("at once", f"{core.goal(objective)}; {proof.get(said.proof, 'not proven to be the best')}")]
        how = proof.get(said.proof, f"no choice is below {said.bound:,}")
        return [("at once", f"{core.goal(objective)}: {said.price:,}; {how}")]

    def _outside(self) -> list[tuple[str, str]]:
        """What lies outside the chip."""
        found = self.totals.outside
        told = (
            [] if found is None else [(found.memory, f"{found.bytes:,} bytes of constants, CRC-32 {found.crc32:08x}")]
        )
        memory = sites(self.networks[0].placement, self.machine).tensors
        if memory is not None and self.totals.outer_bytes:
            told.append((memory.name, f"{self.totals.outer_bytes:,} bytes of tensors"))
        return told

    @staticmethod
    def _of(network: NetworkCertificate) -> str:
        """What a network takes of the arena, and what is proven of it."""
        return f"{network.totals.arena_bytes:,} bytes of the arena; {dict(network.facts())['objective']}"


def certify(plan: BundlePlan) -> BundleCertificate:
    """The certificate of a plan whose networks were compiled from files."""
    signed = BundleCertificate(
        machine=plan.mcu,
        name=plan.name,
        sram_bytes=plan.sram,
        flash_bytes=plan.flash,
        networks=tuple(certify_network(each) for each in plan.plans),
        together=_claim(plan.together),
        totals=_totals(plan),
    ).signed()
    signed._plan = plan
    return signed


def verify(certificate: BundleCertificate) -> Verified:
    """Verify each network's certificate, then derive what all of them take; FalseClaimError names the first claim that
    is false. No solver is asked.
    """
    verified: list[Verified] = []
    certificate.refuse_false(_false_claims(certificate, verified))
    premises = dict.fromkeys(premise for each in verified for premise in each.premises)
    given = f"together: {certificate.sram_bytes:,} bytes of SRAM, {certificate.flash_bytes:,} of flash"
    unproven = dict.fromkeys(claim for each in verified for claim in each.unproven)
    if certificate.together is not None and certificate.together.proof == "solver":
        unproven["that no choice of kernels for all networks is better (the solver said so)"] = None
    return Verified(subject=certificate.subject, premises=(*premises, given), unproven=tuple(unproven))


def _false_claims(certificate: BundleCertificate, verified: list[Verified]) -> Iterator[str]:
    """What does not hold; of the networks that do, what they take as given is put into ``verified``."""
    names = [each.name for each in certificate.networks]
    if len(set(names)) < len(names):
        yield f"networks: two of {', '.join(names)} have one name"
    for each in certificate.networks:
        if each.machine != certificate.machine:
            yield f"networks: {each.name} is for another machine"
        try:
            verified.append(network_check.verify(each, chosen_together=certificate.together is not None))
        except FalseClaimError as error:
            yield f"networks: {error}"
    sram, flash = certificate.sram_bytes, certificate.flash_bytes
    plan = dataclasses.replace(certificate.plan, sram=sram, flash=flash, together=_chosen(certificate.together))
    if plan.name != certificate.name:
        yield f"name is claimed to be {certificate.name!r}, but it is {plan.name!r}"
    said, derived = (each.model_dump(mode="json") for each in (certificate.totals, _totals(plan)))
    yield from envelope.differences(said, derived, "totals")
    for kernel in plan.split:
        yield f"the kernel {kernel} is in flash and in RAM"
    if len({_may_live(each) for each in certificate.networks}) > 1:
        yield "networks: buffers of one may live where those of another may not"
    for what, taken, most, _ in plan.excesses():
        yield f"they take {taken:,} bytes of {what}, more than the {most:,} given"
    if plan.layout is None:
        yield "arena, stack, and what is copied into RAM have no layout there together"
    if plan.together is not None:
        yield from _false_choice(certificate, plan, plan.together)


def _may_live(network: NetworkCertificate) -> tuple[str, str, Memory | None]:
    """Where a network's buffers may be, which is the same for all: of ends outside, each has as many as it needs."""
    where = network.placement
    return where.weights, where.activations, sites(where, network.machine).tensors


def _false_choice(certificate: BundleCertificate, plan: BundlePlan, said: Together) -> Iterator[str]:
    """What is claimed of all choices for the networks at once, and does not hold."""
    budgets = certificate.sram_bytes, said.flash, said.arena
    if said.flash < certificate.flash_bytes:
        yield f"together.flash_bytes is {said.flash:,}, less than the {certificate.flash_bytes:,} given"
    for each in certificate.networks:
        if (each.sram_bytes, each.flash_bytes, each.arena_bytes) != budgets:
            yield f"networks: {each.name} was not chosen within the budgets of all of them"
        if each.objective != certificate.networks[0].objective:
            yield f"networks: {each.name} has another objective"
    objective = certificate.networks[0].objective
    problem = joint.joint(plan.plans, said.flash, certificate.sram_bytes, said.arena)
    price = sum(each.choice.price for each in plan.plans)
    best = cheaper(problem, objective, price)
    bound = min(price, lower_bound(problem, objective)) if said.proof == "none" else price
    for name, claimed, found in (("price", said.price, price), ("bound", said.bound, bound)):
        if claimed != found:
            yield f"together.{name} is claimed to be {claimed:,}, but it is {found:,}"
    if isinstance(best, int):
        yield f"together: it is claimed that nothing is cheaper than {price:,}, but a choice of {best:,} fits"
    if best == "unknown" and said.proof == "enumeration":
        yield f"together: an enumeration of all that is cheaper than {price:,} does not come to an end"
    if best is None and said.proof != "enumeration":
        yield f"together.proof is claimed to be {said.proof!r}, but an enumeration shows that nothing is cheaper"


def _chosen(said: TogetherClaim | None) -> Together | None:
    if said is None:
        return None
    return Together(said.price, said.bound, said.proof, said.flash_bytes, said.arena_bytes)


def _claim(chosen: Together | None) -> TogetherClaim | None:
    if chosen is None:
        return None
    budgets = {"flash_bytes": chosen.flash, "arena_bytes": chosen.arena}
    return TogetherClaim(price=chosen.price, bound=chosen.bound, proof=chosen.proof, **budgets)


def _totals(plan: BundlePlan) -> BundleTotals:
    return BundleTotals(
        arena_bytes=plan.arena_bytes,
        stack_bytes=plan.stack_bytes,
        state_bytes=plan.state_bytes,
        ram_bytes=plan.ram_bytes,
        constant_bytes=plan.constant_bytes,
        shared_bytes=plan.shared_bytes,
        flash_bytes=plan.flash_bytes,
        outer_bytes=plan.outer_bytes,
        outside=image_claim(plan.outside, plan.image),
        apart_arena_bytes=sum(each.arena_bytes for each in plan.plans),
        apart_flash_bytes=sum(each.flash_bytes for each in plan.plans),
    )
