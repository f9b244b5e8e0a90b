"""Where a layer's kernel and its constants live: in flash, or in RAM, which the start-up code fills once.

Flash has wait states; what they cost is predicted (:mod:`memaopt.models.waits`), so that RAM goes where it saves most.
"""

from __future__ import annotations

from typing import NamedTuple

from memaopt.kernels.code import Loop, compiled
from memaopt.kernels.registry import Plan
from memaopt.models.fetching import TABLE_SIXTEENTHS, FlashTiming
from memaopt.models.waits import waiting

#: Bytes and cycles of ``invoke`` around the call of a layer.
_CALL = (40, 12)


class InRam(NamedTuple):
    """Whether the kernel's code, and the layer's constants, are in RAM."""

    code: bool = False
    data: bool = False


IN_FLASH = InRam()


def code_bytes(plan: Plan) -> int:
    """The code that moves to RAM: the kernels that layers share, or all of it where there are none."""
    return plan.shared_bytes if plan.kernels else plan.code_bytes


def stall_cycles(plan: Plan, batch: int, where: InRam, machine: FlashTiming) -> int:
    """The cycles that one inference waits for this layer's code and constants."""
    beside = machine.first == 0 and where == IN_FLASH
    loads = plan.promise.parameters.loads * batch if beside else 0
    return round(_waited(plan, batch, where, machine) + loads * TABLE_SIXTEENTHS / 16)


def _waited(plan: Plan, batch: int, where: InRam, machine: FlashTiming) -> float:
    """What of it are wait states, which RAM would save."""
    return waiting((compiled(*_CALL), Loop(plan.code, batch)), machine, where.code, where.data)


def staging_pays(plan: Plan, machine: FlashTiming) -> bool:
    """Whether a staged plan saves more than its copy costs."""
    assert plan.streams is not None
    price, streamed = (p.cycles + round(_waited(p, 1, IN_FLASH, machine)) for p in (plan, plan.streams))
    return price < streamed


def worth_copying(plan: Plan, machine: FlashTiming, *, code: bool = True, data: bool = True) -> tuple[InRam, ...]:
    """The placements that can pay: RAM only for what waits in flash again and again, and only if it may be there."""
    made = [InRam(c, d) for d in (False, True) for c in (False, True) if code >= c and data >= d]
    if plan.data_bytes == 0 or plan.streams is not None:
        made = [where for where in made if not where.data]
    if code_bytes(plan) == 0:
        made = [where for where in made if not where.code]
    if len(made) == 1:
        return (IN_FLASH,)
    base = round(_waited(plan, 1, IN_FLASH, machine))
    return tuple(where for where in made if where == IN_FLASH or round(_waited(plan, 1, where, machine)) < base)
