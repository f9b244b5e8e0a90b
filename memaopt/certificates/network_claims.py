"""What is claimed of a compiled network: of each layer, of the choice among kernels, of all layers together."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from memaopt.access import Access
from memaopt.choice import choice
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.traffic import MovedBytes, compulsory_bytes, layer_traffic, network_traffic
from memaopt.errors import FalseClaimError
from memaopt.inputs import Strict
from memaopt.kernels.image import ConstantsImage
from memaopt.kernels.registry import Format
from memaopt.machines.memory import Memory
from memaopt.networks.custom_files import SOURCES, code_of, read_code
from memaopt.problems.custom import CodeFile, CustomCode


class LayerClaim(Strict):
    """One layer: which kernel, what it promises in one inference, what it costs, why its rounding is exact.

    ``operator`` is a position in the simplified network, ``location`` in the file; ``within`` is the position of the
    operator before it that the layer computes too, if it does. ``cycles`` are predicted at zero
    wait states, ``stall_cycles`` are what the machine's add, both None on a core whose timing
    nobody has validated. ``traffic`` is what is promised by memory, with the least that there is.
    ``requantization`` is empty for layers that round nothing. ``without``: the operator that C of the user's computes,
    of which nothing is promised, and nothing is in any figure.
    """

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
    data_outside: bool
    batch: int
    macs: int
    promised: dict[str, Access]
    traffic: MovedBytes
    cycles: int | None
    stall_cycles: int | None
    data_bytes: int
    channel_bytes: int
    code_bytes: int
    scratch_bytes: int
    stack_bytes: int
    requantization: str
    without: str | None


class CustomClaim(Strict):
    """An operator of the model that the C in these files computes, beside the library's source: their digests."""

    name: str
    files: tuple[tuple[str, str], ...] = Field(min_length=1, max_length=2)

    def read(self, folder: Path, subject: str) -> CustomCode:
        """The C in a library's folder; FalseClaimError, naming its ``subject``, if it is not that of the claim."""
        code = code_of(self.name, [CodeFile(name, "") for name, _ in self.files])
        found = [read_code(folder / SOURCES / file.name) for file in code.files]
        for file, (name, sha256) in zip(found, self.files, strict=True):
            if file.sha256 != sha256:
                raise FalseClaimError(f"{subject}: {SOURCES}/{name} is not the file that was certified")
        return code_of(self.name, found)

    def describe(self) -> str:
        """``rasp: rasp.h (sha256 0123456789abcdef)``."""
        return f"{self.name}: " + ", ".join(f"{name} (sha256 {sha256[:16]})" for name, sha256 in self.files)


class ChoiceClaim(Strict):
    """The sum over the layers of what is minimised, what no choice is below, and why (see ``choice.Choice``)."""

    price: int
    bound: int
    proof: choice.Proof


class ImageClaim(Strict):
    """The constants outside the chip: in which memory, their bytes as they lie there, and the CRC-32 of these."""

    memory: str
    bytes: int
    crc32: int


class Totals(Strict):
    """``arena_bytes`` are ``tensor_bytes`` (the largest live set) and what scratch adds; stack, code are estimates.

    ``traffic`` is that of all layers, its least theirs one by one; ``compulsory_bytes`` what no order of their rows is
    below. ``state_bytes`` are the caller's, kept from run to run.
    """

    macs: int
    traffic: MovedBytes
    compulsory_bytes: int
    cycles: int | None
    machine_cycles: int | None
    ram_bytes: int
    arena_bytes: int
    tensor_bytes: int
    scratch_bytes: int
    stack_bytes: int
    state_bytes: int
    constant_bytes: int
    flash_bytes: int
    outer_bytes: int
    outside: ImageClaim | None


def claim(network: NetworkPlan, layer: LayerPlan) -> LayerClaim:
    """What is claimed of one layer of a network; cycles only where the core is timed."""
    plan, timed = layer.plan, network.mcu.core.is_timed
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
        data_outside=layer.where.outside,
        batch=layer.batch,
        macs=layer.macs,
        promised=layer.promise.buffers,
        traffic=layer_traffic(network, layer),
        cycles=layer.cycles if timed else None,
        stall_cycles=layer.stall_cycles if timed else None,
        data_bytes=plan.data_bytes,
        channel_bytes=plan.channel_bytes,
        code_bytes=plan.code_bytes,
        scratch_bytes=plan.scratch_bytes,
        stack_bytes=plan.stack_bytes,
        requantization=plan.requantization,
        without=plan.without or None,
    )


def customs(plan: NetworkPlan) -> tuple[CustomClaim, ...]:
    """What is claimed of the user's C."""
    return tuple(
        CustomClaim(name=code.name, files=tuple((file.name, file.sha256) for file in code.files))
        for code in plan.customs
    )


def totals(plan: NetworkPlan) -> Totals:
    """The totals of a plan; cycles only where its core is timed."""
    timed = plan.mcu.core.is_timed
    return Totals(
        macs=plan.macs,
        traffic=network_traffic(plan),
        compulsory_bytes=compulsory_bytes(plan),
        cycles=plan.cycles if timed else None,
        machine_cycles=plan.machine_cycles if timed else None,
        ram_bytes=plan.ram_bytes,
        arena_bytes=plan.arena_bytes,
        tensor_bytes=plan.tensor_bytes,
        scratch_bytes=plan.scratch_bytes,
        stack_bytes=plan.stack_bytes,
        state_bytes=plan.state_bytes,
        constant_bytes=plan.constant_bytes,
        flash_bytes=plan.flash_bytes,
        outer_bytes=plan.outer_bytes,
        outside=image_claim(plan.outside, plan.image),
    )


def image_claim(memory: Memory | None, image: ConstantsImage) -> ImageClaim | None:
    """What is claimed of the constants outside the chip, if some may be there."""
    return None if memory is None else ImageClaim(memory=memory.name, bytes=image.nbytes, crc32=image.checksum)
