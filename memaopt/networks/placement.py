"""Where a layer's kernel and its constants live: in flash, or in RAM, which the start-up code fills once.

Flash has wait states; what they cost is predicted from the machine's figures, so that RAM goes where it saves most.
The fetch rules are those of docs/timing.md, condensed: code that runs for the first time, and a loop that does not fit
the instruction cache each time, waits for each word as the array delivers it.
"""

from __future__ import annotations

from typing import NamedTuple

from memaopt.emit.layers import Plan
from memaopt.emit.layers.result import Loop
from memaopt.mcus import Mcu

#: Words of instructions that a cycle of a kernel fetches: nearly all take one cycle and are 4 bytes long.
_WORDS_PER_CYCLE = 0.9
#: Code of ``invoke`` that runs around the call of a layer.
_CALL_BYTES = 40


class Placement(NamedTuple):
    """Whether the kernel's code, and the layer's constants, are in RAM."""

    code: bool = False
    data: bool = False


IN_FLASH = Placement()


class Waits(NamedTuple):
    """Cycles that the machine waits: for a word of constants in flash, for one that is read apart from others, for a
    word of code that no cache holds, in flash and in the RAM that code runs from; and the bytes of a loop, wherever it
    starts, that the instruction cache holds."""

    data: float
    apart: float
    code: float
    ram_code: float
    cache_bytes: int


def waits(mcu: Mcu) -> Waits:
    """The waits of a machine. Without an accelerator each access waits on its own; with one that fetches ahead, the
    array is busy wait states + 1 cycles for each read, during which a cycle runs for each word (docs/timing.md).
    """
    flash = mcu.memory("flash")
    ram = next(place for place in mcu.places if place.name == mcu.code_ram)
    if flash.accelerator is None:
        return Waits(flash.next, flash.next, max(flash.fetch, flash.next), ram.fetch, 0)
    a = flash.accelerator
    word = flash.first * 4 / a.read_bytes
    fetch = max((flash.first + 1) * 4 / a.read_bytes - 1, 0.0) if a.prefetch else word
    return Waits(word, flash.first, fetch, ram.fetch, max(a.fetch_lines - 2, 0) * a.line_bytes)


def code_bytes(plan: Plan) -> int:
    """The code that moves to RAM: the kernels that layers share, or all of it where there are none."""
    return plan.shared_bytes if plan.kernels else plan.code_bytes


def stall_cycles(plan: Plan, batch: int, where: Placement, machine: Waits) -> int:
    """The cycles that one inference waits for this layer's code and constants."""
    moved = code_bytes(plan) if where.code else 0
    first = (plan.code_bytes - moved + _CALL_BYTES) / 4 * machine.code
    return round(first + batch * _repeated(plan, where, machine))


def _repeated(plan: Plan, where: Placement, machine: Waits) -> float:
    """The cycles that each call waits, but for code that runs for the first time."""
    loads = 0 if where.data else plan.promise.parameters.loads
    # Fewer words than there are: those of a table, here and there.
    reading = loads * (machine.apart if loads < plan.data_bytes // 4 else machine.data)
    if where.code:
        return plan.cycles * _WORDS_PER_CYCLE * machine.ram_code + reading
    if machine.cache_bytes == 0:
        return plan.cycles * _WORDS_PER_CYCLE * machine.code + reading
    return sum(_missed(loop, machine.cache_bytes) for loop in plan.loops) * machine.code + reading


def _missed(loop: Loop, cache_bytes: int) -> float:
    """Words of code that a cache does not hold when they are fetched again: of the loop, or of all around it."""
    runs = [(loop.size, loop.cycles * _WORDS_PER_CYCLE)]
    runs += [(size, size / 4 * times) for size, times in loop.rounds]
    return max(words if size > cache_bytes else 0.0 for size, words in runs)


def staging_pays(plan: Plan, machine: Waits) -> bool:
    """Whether a staged plan saves more than its copy costs."""
    assert plan.streams is not None
    saved = plan.streams.promise.parameters.loads - plan.promise.parameters.loads
    return saved * machine.data > plan.cycles - plan.streams.cycles


def placements(plan: Plan, machine: Waits) -> tuple[Placement, ...]:
    """The placements that can pay: RAM only for what waits in flash again and again."""
    base = _repeated(plan, IN_FLASH, machine)
    code = _repeated(plan, Placement(code=True), machine) < base
    data = plan.data_bytes > 0 and plan.streams is None and _repeated(plan, Placement(data=True), machine) < base
    made = [IN_FLASH]
    made += [Placement(code=True)] if code else []
    made += [Placement(data=True)] if data else []
    made += [Placement(code=True, data=True)] if code and data else []
    return tuple(made)
