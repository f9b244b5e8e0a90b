"""What other settings of a machine would give for a network or a GEMM: predicted, budgets and objective the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel

from memaopt.errors import InfeasibleError
from memaopt.machines.mcu import Mcu

if TYPE_CHECKING:
    from memaopt.choice.network_plan import NetworkPlan
    from memaopt.kernels.schedule import Space


class Elsewhere(BaseModel, frozen=True):
    """A problem in another setting: predicted cycles with its wait states, and what it needs there.

    Figures are None where nothing fits, ``problem`` then says what does not: a network's bytes of arena and of copies
    in RAM; of a GEMM whether its kernels run from RAM. ``at_best``: they are those of the best of all, where to compile
    the network there would look for a smaller arena that costs little more.
    """

    setting: str
    machine_cycles: int | None = None
    arena_bytes: int | None = None
    ram_bytes: int | None = None
    code_in_ram: bool | None = None
    at_best: bool = False
    problem: str = ""

    def describe(self) -> str:
        """A phrase for the line that names all settings."""
        if self.problem:
            return f"{self.setting}: does not fit"
        copied = f" with {self.ram_bytes:,} bytes copied into RAM" if self.ram_bytes else ""
        copied += " with its code in RAM" if self.code_in_ram else ""
        arena = "fits" if self.arena_bytes is None else f"arena {self.arena_bytes:,} bytes"
        given = arena if self.machine_cycles is None else f"{self.machine_cycles:,} cycles"
        return f"{self.setting}: {given}{' for the best choice' if self.at_best else ''}{copied}"


def of_network(plan: NetworkPlan) -> tuple[Elsewhere, ...]:
    """The network of a plan in each other setting of its machine: the best there, without a search over arenas."""
    from memaopt.choice.compile import compile_network  # a GEMM does without

    def figures(machine: Mcu) -> Elsewhere:
        budgets = plan.budgets
        other = compile_network(
            plan.source,
            machine,
            plan.objective,
            name=plan.name,
            sram=budgets.sram,
            flash=budgets.flash,
            arena=budgets.arena if plan.within is None else None,
            formats=plan.formats,
            place=plan.placement,
        )
        return Elsewhere(
            setting=machine.setting.name,
            machine_cycles=other.machine_cycles if machine.core.is_timed else None,
            arena_bytes=other.arena_bytes,
            ram_bytes=other.ram_bytes,
            at_best=plan.within is not None and other.choice.proof == "enumeration",
        )

    return _each(plan.mcu, figures)


def of_gemm(where: Space) -> tuple[Elsewhere, ...]:
    """The GEMM of a space in each other setting of its machine, by the closed form."""
    # A network does without.
    from memaopt.kernels.schedule import space, variants
    from memaopt.models import closed_form
    from memaopt.models.agreement import cheapest, solve_each
    from memaopt.models.layer_kernels import predicted_cycles

    def figures(machine: Mcu) -> Elsewhere:
        spaces = variants(space(where.problem, machine, where.objective, where.buffering))
        chosen, best = cheapest(spaces, solve_each(spaces, closed_form.solve))
        return Elsewhere(
            setting=machine.setting.name,
            machine_cycles=predicted_cycles(spaces[chosen], best.schedule) if machine.core.is_timed else None,
            code_in_ram=best.schedule.code == "ram",
        )

    return _each(where.machine, figures)


def _each(mcu: Mcu, figures: Callable[[Mcu], Elsewhere]) -> tuple[Elsewhere, ...]:
    """The figures of each setting that a machine is not in."""
    return tuple(_in(mcu.in_setting(s.name), figures) for s in mcu.settings if s.name != mcu.setting.name)


def _in(mcu: Mcu, figures: Callable[[Mcu], Elsewhere]) -> Elsewhere:
    try:
        return figures(mcu)
    except InfeasibleError as error:
        return Elsewhere(setting=mcu.setting.name, problem=str(error))
