"""The energy of a run, modelled: the machine's power for the time, and energy for the bytes each memory moved."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from memaopt.access import Access
from memaopt.machines.mcu import Mcu


class Energy(BaseModel, frozen=True):
    """Energy in microjoules. It is modelled from the machine's figures (see its TOML), never measured.

    ``core_uj`` is power times time; ``range_uj`` the same with the least and the most power measured.
    ``memory_uj`` adds the energy for each byte; on-chip memories are part of the power, and count nothing.
    """

    kind: Literal["modelled"] = "modelled"
    seconds: float
    core_uj: float
    memory_uj: dict[str, float]
    total_uj: float
    range_uj: tuple[float, float] | None


def energy(mcu: Mcu, cycles: int, memories: Mapping[str, Access]) -> Energy:
    """The modelled energy of ``cycles`` core cycles with those accesses to each memory of ``mcu``."""
    seconds = cycles / mcu.clock_hz
    core = mcu.power_mw * 1e3 * seconds
    moved = {
        m.name: m.energy_pj_per_byte * (memories[m.name].load_bytes + memories[m.name].store_bytes) * 1e-6
        for m in mcu.memories
        if m.name in memories
    }
    extra = sum(moved.values())
    spread = None
    if mcu.power_range_mw is not None:
        low, high = (power * 1e3 * seconds + extra for power in mcu.power_range_mw)
        spread = (low, high)
    return Energy(seconds=seconds, core_uj=core, memory_uj=moved, total_uj=core + extra, range_uj=spread)


def told(mcu: Mcu, microjoules: float) -> str:
    """An energy of ``mcu`` in words; where its power is not known, that."""
    return mcu.unpowered or f"{microjoules:,.1f} uJ (modelled)"
