"""The certificate of a network that is staged from outside SRAM: each layer's schedule, what it moves, and the bounds.

What it claims is of the model of :mod:`memaopt.choice.external`, not of a library: what a schedule moves is counted by
a walk of its blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from memaopt.certificates import envelope
from memaopt.certificates.envelope import Verified
from memaopt.certificates.model_file import OfModel
from memaopt.choice.external import StagedLayer, stage
from memaopt.inputs import Strict
from memaopt.machines.mcu import Mcu
from memaopt.models.layer_nest import ROWS_OUTSIDE
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.names import identifier_of
from memaopt.networks.simplify.simplify import simplify

PREMISES = ("model", "machine", "sram_bytes")
"""Fields that say of what a certificate speaks: with others it is another certificate, true or false as it stands."""


class StagedLayerClaim(Strict):
    """The operator at a position of the simplified network: its schedule, the tensors in SRAM while it runs, and what
    crosses. ``moved`` is for its schedule, ``evicted`` and ``fetched`` are whole tensors beside it; from where its
    operands are, no order of its products moves fewer bytes than ``least``, and ``gap`` is how far ``moved`` is above.
    """

    operator: int
    kind: str
    outside: Literal["rows", "channels"]
    band: int
    block: int
    held: int
    whole: bool
    inside: tuple[int, ...]
    sram_bytes: int
    moved: int
    evicted: int
    fetched: int
    least: int
    gap: float


class StagingCertificate(OfModel):
    """A staged network: what crosses in all, which no other choice of that space undercuts, the same as a walk counts
    it, the SRAM that does, and what no order of rows is below.
    """

    what: ClassVar[str] = "a staging certificate"

    format: Literal["memaopt-staging-certificate-1"] = "memaopt-staging-certificate-1"
    sram_bytes: int = Field(gt=0)
    simplified: tuple[str, ...]
    layers: tuple[StagedLayerClaim, ...]
    moved: int
    walked: int
    peak_bytes: int
    packed_bytes: int
    compulsory: int
    gap: float

    def headline(self) -> str:
        return f"{self.name} staged in {self.sram_bytes:,} bytes of SRAM: {len(self.layers)} layers"

    def facts(self) -> tuple[tuple[str, str], ...]:
        return (
            ("moved", f"{self.moved:,} bytes, the fewest of whole rows and tensors, layer by layer"),
            ("lower bound", f"{self.compulsory:,} bytes, {self.gap:.1%} below" if self.gap else "reached"),
            ("SRAM", f"{self.packed_bytes:,} bytes of {self.sram_bytes:,}"),
            ("model", f"{self.model}, sha256 {self.model_sha256[:16]}"),
            ("certificate", self.sha256[:16]),
        )


def certify(model: Model, machine: Mcu, *, sram: int | None = None, file: str = "model.tflite") -> StagingCertificate:
    """The certificate of a model staged in ``sram`` bytes, by default the machine's; ``file`` is its name beside it.

    Raises InfeasibleError, UnfinishedError as :func:`memaopt.choice.external.stage` does.
    """
    simple = simplify(model.graph)
    budget = machine.sram.size if sram is None else sram
    staged = stage(simple.graph, budget)
    walked, peak = staged.replayed()
    return StagingCertificate(
        name=identifier_of(model.graph.name),
        model=file,
        model_sha256=model.sha256,
        machine=machine,
        sram_bytes=budget,
        simplified=simple.steps,
        layers=tuple(_claim(simple.graph, layer) for layer in staged.layers),
        moved=staged.bytes,
        walked=walked,
        peak_bytes=peak,
        packed_bytes=staged.packed(),
        compulsory=staged.compulsory,
        gap=staged.gap,
    ).signed()


def verify(certificate: StagingCertificate, model: Model | None = None) -> Verified:
    """Derive every claim again from the model, that at hand if none is given; FalseClaimError names the first false."""
    certificate.refuse_false(_false_claims(certificate, certificate.model_file if model is None else model))
    return Verified(
        subject=certificate.subject,
        premises=(
            f"model {certificate.model} (sha256 {certificate.model_sha256[:16]})",
            envelope.machine_premise(certificate.machine),
            f"{certificate.sram_bytes:,} bytes of SRAM for tensors and tiles, all else outside",
        ),
    )


def _false_claims(certificate: StagingCertificate, model: Model) -> Iterator[str]:
    if certificate.sram_bytes > certificate.machine.sram.size:
        have = certificate.machine.sram.size
        yield f"it speaks of {certificate.sram_bytes:,} bytes of SRAM, but the machine has {have:,}"
    certificate.demand(model)
    derived = certify(model, certificate.machine, sram=certificate.sram_bytes, file=certificate.model)
    said, found = (made.model_dump(mode="json", exclude={"sha256"}) for made in (certificate, derived))
    yield from envelope.differences(said, found)
    if derived.walked != derived.moved:
        yield f"a walk of its blocks moves {derived.walked:,} bytes, not {derived.moved:,}"


def _claim(graph: Graph, layer: StagedLayer) -> StagedLayerClaim:
    schedule, moved = layer.schedule, layer.bytes - layer.evicted - layer.fetched
    return StagedLayerClaim(
        operator=layer.position,
        kind=graph.operators[layer.position].kind,
        outside="rows" if schedule.order == ROWS_OUTSIDE else "channels",
        band=schedule.band,
        block=schedule.block,
        held=schedule.held,
        whole=schedule.whole,
        inside=layer.inside,
        sram_bytes=layer.sram,
        moved=moved,
        evicted=layer.evicted,
        fetched=layer.fetched,
        least=layer.least,
        gap=moved / layer.least - 1 if layer.least else 0.0,
    )
