"""The certificate of several networks in one library: theirs, and what all of them take together.

It is given the networks' own premises, and the bytes of SRAM and flash that they have together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from memaopt.certificates import envelope, network_check
from memaopt.certificates.envelope import Named, Verified
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.network import certify as certify_network
from memaopt.choice.bundle import BundlePlan, together
from memaopt.errors import FalseClaimError
from memaopt.inputs import Strict


class BundleTotals(Strict):
    """What the networks take together. ``arena_bytes`` are the largest arena's, ``shared_bytes`` the constants that
    several have and that are there once; stack and code are estimates. ``apart_arena_bytes`` and ``apart_flash_bytes``
    are the sums over the networks with the kernels that they have here; alone, in the arena of its own default, one may
    take less.
    """

    arena_bytes: int
    stack_bytes: int
    state_bytes: int
    constant_bytes: int
    shared_bytes: int
    flash_bytes: int
    apart_arena_bytes: int
    apart_flash_bytes: int


class BundleCertificate(Named):
    """Networks compiled for one library, each with its certificate, and everything claimed of them together.

    Their models are those of the plan that it was made for, or lie beside the file that it was read from.
    """

    what: ClassVar[str] = "a certificate of several networks"

    format: Literal["memaopt-bundle-certificate-3"] = "memaopt-bundle-certificate-3"
    sram_bytes: int = Field(gt=0)
    flash_bytes: int = Field(gt=0)
    networks: tuple[NetworkCertificate, ...] = Field(min_length=2)
    totals: BundleTotals
    _plan: BundlePlan | None = PrivateAttr(default=None)

    @functools.cached_property
    def plan(self) -> BundlePlan:
        """The plan that it is of; derived from the models if it was read from a file. Raises InputError if one is not
        at hand, FalseClaimError if it is not the one certified or has not the layers that are claimed.
        """
        if self._plan is not None:
            return self._plan
        return together([each.plan for each in self.networks], self.sram_bytes, self.flash_bytes)

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
            ("RAM besides", f"{found.stack_bytes:,} bytes of stack"),
            *((("state", f"{found.state_bytes:,} bytes, the caller's"),) if found.state_bytes else ()),
            (
                "flash",
                f"{found.flash_bytes:,} bytes: {found.constant_bytes:,} of constants; "
                f"{found.apart_flash_bytes:,} were nothing shared",
            ),
            ("certificate", self.sha256[:16]),
        )

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
            verified.append(network_check.verify(each))
        except FalseClaimError as error:
            yield f"networks: {error}"
    plan = certificate.plan
    if plan.name != certificate.name:
        yield f"name is claimed to be {certificate.name!r}, but it is {plan.name!r}"
    said, derived = (each.model_dump(mode="json") for each in (certificate.totals, _totals(plan)))
    yield from envelope.differences(said, derived, "totals")
    for what, taken, most in (
        ("SRAM for arena and stack", plan.arena_bytes + plan.stack_bytes, certificate.sram_bytes),
        ("flash", plan.flash_bytes, certificate.flash_bytes),
    ):
        if taken > most:
            yield f"they take {taken:,} bytes of {what}, more than the {most:,} given"


def _totals(plan: BundlePlan) -> BundleTotals:
    return BundleTotals(
        arena_bytes=plan.arena_bytes,
        stack_bytes=plan.stack_bytes,
        state_bytes=plan.state_bytes,
        constant_bytes=plan.constant_bytes,
        shared_bytes=plan.shared_bytes,
        flash_bytes=plan.flash_bytes,
        apart_arena_bytes=sum(each.arena_bytes for each in plan.plans),
        apart_flash_bytes=sum(each.flash_bytes for each in plan.plans),
    )
