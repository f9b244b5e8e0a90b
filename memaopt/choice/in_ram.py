"""Where a layer's kernel and its constants live: in flash, in RAM, which the start-up code fills once, or outside.

Flash has wait states; what they cost is predicted (:mod:`memaopt.models.waits`), so that RAM goes where it saves most.
"""

from __future__ import annotations

from typing import NamedTuple

from memaopt.alignment import align
from memaopt.choice import invoke
from memaopt.kernels.around import piece
from memaopt.kernels.chains.pricing import bands_of
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.registry import CHAINS, Plan
from memaopt.models import outside, transfers
from memaopt.models.fetching import TABLE_SIXTEENTHS, FlashTiming
from memaopt.models.least_waits import least_fetching, least_loading
from memaopt.models.loads import loading
from memaopt.models.waits import waiting


class Where(NamedTuple):
    """Whether the kernel's code, and the layer's constants, are in RAM; whether these are outside the chip instead."""

    code: bool = False
    data: bool = False
    outside: bool = False


IN_FLASH = Where()
#: What is kept in RAM is a multiple of it.
ALIGNMENT = 16
#: The share that is claimed of what loads wait: loops that repeat themselves are not executed to their ends.
_LOADS = 0.9


def code_room(plan: Plan) -> int:
    """Bytes to keep for the code that moves to RAM: the kernels that layers share, or all of it where there are none.

    An assembled kernel is as long as its estimate, but for what is around its loops, and begins at a multiple of 32;
    compilers differ by more.
    """
    if plan.kernels:
        return align(plan.shared_bytes + 32 * len(plan.kernels), ALIGNMENT) if plan.shared_bytes else 0
    return align(plan.code_bytes + plan.code_bytes // 2 + 128, ALIGNMENT) if plan.code_bytes else 0


def constants_room(plan: Plan) -> int:
    """Bytes to keep for the constants of a layer: each array is aligned."""
    return align(plan.data_bytes + 64, ALIGNMENT) if plan.data_bytes else 0


def stall_cycles(plan: Plan, batch: int, where: Where, machine: FlashTiming) -> int:
    """The cycles that one inference waits for this layer's code and constants."""
    beside = machine.first == 0 and where == IN_FLASH
    loads = plan.promise.parameters.loads * batch if beside else 0
    return round(_waited(plan, batch, where, machine) + loads * TABLE_SIXTEENTHS / 16)


def constants_stall(plan: Plan, batch: int, where: Where, machine: FlashTiming) -> int:
    """What :func:`stall_cycles` is not below, by its constants alone."""
    return int(batch * _constants_wait(plan, where, machine))


def band_stall(plan: Plan, machine: FlashTiming) -> int:
    """What each band of a chain that a plan computes adds at least to what the chain waits, all in flash."""
    return int(_loads_alone(plan.code, machine)) if _constants_wait(plan, IN_FLASH, machine) else 0


def least_stall(plan: Plan, batch: int, where: Where, machine: FlashTiming) -> int:
    """What :func:`stall_cycles` is not below, found without executing the code."""
    return int(batch * _least_waited(plan, where, machine))


def _constants_wait(plan: Plan, where: Where, machine: FlashTiming) -> float:
    if where.outside:
        assert machine.outside is not None
        if plan.dma:
            return transfers.least_waiting_for(plan.dma, plan.cycles, machine.outside)
        return outside.least_loading(plan.promise.parameters, machine.outside) + _channels_wait(plan, machine)
    return 0.0 if where.data else least_loading(plan.promise.parameters, plan.data_bytes, machine)


def _channels_wait(plan: Plan, machine: FlashTiming) -> float:
    """What channels take from flash while weights come from outside, one after the other: a wait for each read, or for
    each load where reads are not kept."""
    loads = plan.promise.channels
    return (loads.load_bytes / (4 * machine.read) if machine.read else loads.loads) * machine.first


def _loads_wait(plan: Plan, where: Where, machine: FlashTiming) -> float:
    """A better :func:`_constants_wait`, where they stream: found by executing the loads, but no code."""
    least = _constants_wait(plan, where, machine)
    if least == 0 or where.outside or plan.streams is not None:
        return least
    waited = _loads_alone(plan.code, machine)
    if plan.family == CHAINS.name:
        waited = max(waited, sum(count * _loads_alone(code, machine) for count, code in bands_of(plan.code)))
    return max(least, waited)


def _loads_alone(code: tuple[Node, ...], machine: FlashTiming) -> float:
    """What each of several executions waits at least for what code loads from flash, whatever else is waited for."""
    # All but the first may find what the last one left in the cache.
    left = machine.data_lines * machine.line // machine.read * machine.first if machine.read else 0
    alike = machine._replace(prefetch=False, outside=None)  # which is for other things than these loads
    return max(_LOADS * loading(code, alike) - left, 0.0)


def _least_waited(plan: Plan, where: Where, machine: FlashTiming) -> float:
    """What one execution waits at least."""
    constants = _loads_wait(plan, where, machine)
    if where.code or plan.code_bytes <= 4 * machine.instruction_lines * machine.line:
        return constants
    return max(constants, least_fetching(plan.turns, machine))


def _waited(plan: Plan, batch: int, where: Where, machine: FlashTiming) -> float:
    """What of it are wait states, which RAM would save."""
    body = (Loop((piece(invoke.CALL), *plan.code), batch),)
    # What comes from outside takes no read of the flash, nor a line of its cache, but time to fetch code in.
    waited = waiting(body, machine if where.outside else machine._replace(outside=None), where.code, where.data)
    if where.outside and plan.dma:
        assert machine.outside is not None
        computing = plan.cycles + waited / batch + contending(plan, where, machine)
        waited += batch * transfers.waiting_for(plan.dma, computing, machine.outside)
    elif where.outside:
        assert machine.outside is not None
        waited += batch * outside.loading(plan.promise.parameters, plan.code, machine.outside)
        waited += batch * _channels_wait(plan, machine)
    return max(waited, batch * _least_waited(plan, where, machine)) + batch * contending(plan, where, machine)


def contending(plan: Plan, where: Where, machine: FlashTiming) -> int:
    """What code in RAM waits for data that come through the same port: at most a cycle for each access, which is what
    it takes where the code is fetched as fast as the port gives it.
    """
    if not (where.code and machine.shared):
        return 0
    total, parameters = plan.promise.total, plan.promise.parameters
    in_flash = (0 if where.data or where.outside else parameters.loads) + plan.promise.channels.loads
    return total.loads + total.stores - in_flash


def pays(plan: Plan, where: Where, machine: FlashTiming) -> bool:
    """Whether copies save cycles: constants staged by the plan, code or constants that start-up code puts into RAM.

    Constants from outside may be staged in any case: that saves bytes at least."""
    home = Where(outside=where.outside)
    streams = None if where.outside else plan.streams
    if streams is not None:
        # Beside the code, tables cost time without wait states as well.
        here = plan.cycles + stall_cycles(plan, 1, home, machine)
        dear = here < streams.cycles + least_stall(streams, 1, IN_FLASH, machine)
        if not dear and here >= streams.cycles + stall_cycles(streams, 1, IN_FLASH, machine):
            return False
    if where == home:
        return True
    copied = round(_waited(plan, 1, where, machine))
    return copied < round(_least_waited(plan, home, machine)) or copied < round(_waited(plan, 1, home, machine))


def copyable(
    plan: Plan, *, code: bool = True, data: bool = True, sites: tuple[bool, ...] = (False,)
) -> tuple[Where, ...]:
    """Where its code and constants may live: in RAM only if there is something to copy and it may be there, its
    constants outside only if it has some (``sites``: whether they are, one or both)."""
    made = [
        Where(c, d, o)
        for o in (sites if plan.data_bytes else (False,))
        for d in (False, True)
        for c in (False, True)
        if code >= c and data >= d and not (d and o)
    ]
    if plan.data_bytes == 0 or plan.streams is not None:
        made = [where for where in made if not where.data]
    if code_room(plan) == 0:
        made = [where for where in made if not where.code]
    return tuple(made)
