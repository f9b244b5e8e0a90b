"""What a network's library has outside the chip: a section that its linker script fills, the same bytes as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memaopt.alignment import align
from memaopt.choice.bundle import BundlePlan
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.placement import sites
from memaopt.choice.stages import ALIGNMENT
from memaopt.errors import InputError
from memaopt.files import read_bytes
from memaopt.spelling import either

#: Remainders of the 16 values of four bits, for CRC-32 four bits at a time (the polynomial of IEEE 802.3, reflected).
_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True)
class External:
    """What lies outside, as the templates see it: the memory that it is in, from which address on, how many bytes, each
    array's place in them, their checksum and the table that it is computed by."""

    memory: str
    title: str
    base: int
    bytes: int
    places: tuple[tuple[int, str], ...]
    crc32: int
    table: tuple[int, ...]


def external(plan: NetworkPlan | BundlePlan) -> External | None:
    """What a plan has outside the chip; None if nothing."""
    memory, image = plan.outside, plan.image
    if memory is None or not image.places:
        return None
    return External(
        memory=memory.name,
        title=f"{memory.name} at {memory.base:#010x}",
        base=memory.base,
        bytes=image.nbytes,
        places=tuple((place.offset, place.array.name) for place in image.places),
        crc32=image.checksum,
        table=tuple(_remainder(value) for value in range(16)),
    )


@dataclass(frozen=True)
class OuterArena:
    """The tensors outside the chip, as the templates see them: the memory, and the address and bytes of their arena."""

    memory: str
    base: int
    bytes: int


def outer_arena(plan: NetworkPlan | BundlePlan) -> OuterArena | None:
    """The arena outside the chip, behind the constants if they are in that memory; None if there is none."""
    memory = sites(plan.placement, plan.mcu).tensors
    if memory is None or not plan.outer_bytes:
        return None
    constants = plan.image.nbytes if memory == plan.outside else 0
    return OuterArena(memory.name, memory.base + align(constants, ALIGNMENT), plan.outer_bytes)


def image_file(name: str) -> str:
    """The path of the file in a library's folder that has the bytes of the memory outside."""
    return f"extras/{name}_external.bin"


def images(plan: NetworkPlan | BundlePlan) -> dict[str, bytes]:
    """The files that a programmer writes into memories outside the chip, by path."""
    return {image_file(plan.library): plan.image.data} if plan.image.places else {}


def demand_images(plan: NetworkPlan | BundlePlan, folder: Path) -> None:
    """InputError unless a library's folder has these files, as they are: a programmer would write other bytes."""
    writer = either("solve --out", "emit")
    for file, data in images(plan).items():
        if not (folder / file).is_file():
            raise InputError(f"{folder / file} is missing: {writer} writes it again")
        if read_bytes(folder / file, len(data)) != data:
            raise InputError(f"{folder / file} has other bytes than its library: {writer} writes it again")


def _remainder(value: int) -> int:
    for _ in range(4):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value
