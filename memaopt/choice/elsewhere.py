"""What the other settings of a machine would give for a network: predicted, with the same budgets and objective."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from memaopt.choice.compile import NetworkPlan, compile_network
from memaopt.errors import InfeasibleError


class Elsewhere(BaseModel):
    """A network in another setting: predicted cycles with its wait states, bytes of arena and of copies in RAM.

    The figures are None where nothing fits; ``problem`` then says what does not.
    """

    model_config = ConfigDict(frozen=True)

    setting: str
    machine_cycles: int | None = None
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    problem: str = ""


def elsewhere(plan: NetworkPlan) -> tuple[Elsewhere, ...]:
    """The network of a plan in each other setting of its machine."""
    return tuple(_in(plan, s.name) for s in plan.mcu.settings if s.name != plan.mcu.setting.name)


def _in(plan: NetworkPlan, setting: str) -> Elsewhere:
    budgets = plan.budgets
    try:
        other = compile_network(
            plan.source,
            plan.mcu.in_setting(setting),
            plan.objective,
            name=plan.name,
            sram=budgets.sram,
            flash=budgets.flash,
            arena=budgets.arena,
            formats=plan.formats,
        )
    except InfeasibleError as error:
        return Elsewhere(setting=setting, problem=str(error))
    return Elsewhere(
        setting=setting, machine_cycles=other.machine_cycles, arena_bytes=other.arena_bytes, ram_bytes=other.ram_bytes
    )
