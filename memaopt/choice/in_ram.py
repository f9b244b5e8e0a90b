"""Where a layer's kernel and its constants live: in flash, or in RAM, which the start-up code fills once.

Flash has wait states; what they cost is predicted (:mod:`memaopt.models.waits`), so that RAM goes where it saves most.
"""

from __future__ import annotations

from typing import NamedTuple

from memaopt.choice import invoke
from memaopt.kernels.around import piece
from memaopt.kernels.code import Loop
from memaopt.kernels.registry import Plan
from memaopt.memory.liveness import align
from memaopt.models.fetching import TABLE_SIXTEENTHS, FlashTiming
from memaopt.models.least_waits import least_fetching, least_loading
from memaopt.models.waits import waiting


class InRam(NamedTuple):
    """Whether the kernel's code, and the layer's constants, are in RAM."""

    code: bool = False
    data: bool = False


IN_FLASH = InRam()
#: What is kept in RAM is a multiple of it.
ALIGNMENT = 16


def code_room(plan: Plan) -> int:
    """Bytes to keep for the code that moves to RAM: the kernels that layers share, or all of it where there are none.

    An assembled kernel is as long as its estimate, but for what is around its loops; compilers differ by more.
    """
    if plan.kernels:
        return align(plan.shared_bytes + 32, ALIGNMENT) if plan.shared_bytes else 0
    return align(plan.code_bytes + plan.code_bytes // 2 + 128, ALIGNMENT) if plan.code_bytes else 0


def constants_room(plan: Plan) -> int:
    """Bytes to keep for the constants of a layer: each array is aligned."""
    return align(plan.data_bytes + 64, ALIGNMENT) if plan.data_bytes else 0


def stall_cycles(plan: Plan, batch: int, where: InRam, machine: FlashTiming) -> int:
    """The cycles that one inference waits for this layer's code and constants."""
    beside = machine.first == 0 and where == IN_FLASH
    loads = plan.promise.parameters.loads * batch if beside else 0
    return round(_waited(plan, batch, where, machine) + loads * TABLE_SIXTEENTHS / 16)


def constants_stall(plan: Plan, batch: int, where: InRam, machine: FlashTiming) -> int:
    """What :func:`stall_cycles` is not below, by its constants alone."""
    return int(batch * _constants_wait(plan, where, machine))


def least_stall(plan: Plan, batch: int, where: InRam, machine: FlashTiming) -> int:
    """What :func:`stall_cycles` is not below, found without executing the code."""
    return int(batch * _least_waited(plan, where, machine))


def _constants_wait(plan: Plan, where: InRam, machine: FlashTiming) -> float:
    return 0.0 if where.data else least_loading(plan.promise.parameters, plan.data_bytes, machine)


def _least_waited(plan: Plan, where: InRam, machine: FlashTiming) -> float:
    """What one execution waits at least."""
    constants = _constants_wait(plan, where, machine)
    if where.code or plan.code_bytes <= 4 * machine.instruction_lines * machine.line:
        return constants
    return max(constants, least_fetching(plan.turns, machine))


def _waited(plan: Plan, batch: int, where: InRam, machine: FlashTiming) -> float:
    """What of it are wait states, which RAM would save."""
    waited = waiting((Loop((piece(invoke.CALL), *plan.code), batch),), machine, where.code, where.data)
    return max(waited, batch * _least_waited(plan, where, machine))


def pays(plan: Plan, where: InRam, machine: FlashTiming) -> bool:
    """Whether copies save cycles: constants staged by the plan, code or constants that start-up code puts into RAM."""
    here = plan.cycles + round(_waited(plan, 1, IN_FLASH, machine))
    streams = plan.streams
    dear = streams is not None and here < streams.cycles + least_stall(streams, 1, IN_FLASH, machine)
    if streams is not None and not dear and here >= streams.cycles + round(_waited(streams, 1, IN_FLASH, machine)):
        return False
    return where == IN_FLASH or plan.cycles + round(_waited(plan, 1, where, machine)) < here


def copyable(plan: Plan, *, code: bool = True, data: bool = True) -> tuple[InRam, ...]:
    """Where its code and constants may live: in RAM only if there is something to copy and it may be there."""
    made = [InRam(c, d) for d in (False, True) for c in (False, True) if code >= c and data >= d]
    if plan.data_bytes == 0 or plan.streams is not None:
        made = [where for where in made if not where.data]
    if code_room(plan) == 0:
        made = [where for where in made if not where.code]
    return tuple(made)
