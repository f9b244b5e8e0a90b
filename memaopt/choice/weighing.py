"""Weights on what a network costs: what its layers are priced by, and the arena, which is no sum over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from memaopt.choice.choice import Choice
from memaopt.errors import InputError
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory
from memaopt.problems.objectives import is_sum, resolved, weights_of
from memaopt.problems.words import Objective
from memaopt.spelling import option


class _Priced(Protocol):
    """A plan: what its layers cost, and its arena."""

    @property
    def choice(self) -> Choice: ...
    @property
    def arena_bytes(self) -> int: ...


_Plan = TypeVar("_Plan", bound=_Priced)


def objective_of(objective: Objective, mcu: Mcu, outside: Memory | None = None) -> tuple[Objective, int]:
    """What a network's layers are priced by on a machine, and the weight of a byte of the arena.

    ``outside``: the memory beyond the chip that constants may live in. The chip's power is one figure, so that of a
    cycle is what a sum has in the place of energy; that of a memory outside is not counted. Raises
    InputError for no objective, or one that the machine has no figures for.
    """
    if objective == "ram":
        raise InputError(
            f"{option('objective', 'ram')}: the least arena is no price of layers: compile_smallest finds it"
        )
    said = resolved(objective)
    weights = weights_of(said)
    if said == "energy" or is_sum(said):
        mcu.core.require_timing(f"objective {said}")
    if weights is not None and weights.energy and mcu.unpowered:
        raise InputError(f"{option('objective', said)}: energy is {mcu.unpowered}")
    if weights is None or not is_sum(said):
        return said, 0
    for memory, _ in weights.bytes:
        if memory not in ("flash", mcu.sram.name, *(() if outside is None else (outside.name,))):
            placed = "flash and sram alone" if outside is None else f"flash, sram and {outside.name}"
            raise InputError(f"{option('objective', said)}: this network moves bytes of {placed}, not of {memory}")
    picojoules = round(mcu.power_mw * 1e9 / mcu.clock_hz)
    priced = weights._replace(cycles=weights.cycles + weights.energy * picojoules, energy=0, ram=0)
    return str(priced), weights.ram


def least_with_arena(best: _Plan, weight: int, cheapest: Callable[[int, int], _Plan | None]) -> _Plan:
    """The plan of the least price with its arena's bytes weighed.

    In ever smaller arenas the best plan costs ever more: it is the best of all once that alone costs as much.
    """
    chosen, limit = best, best.arena_bytes - 1

    def whole(plan: _Plan) -> int:
        return plan.choice.price + weight * plan.arena_bytes

    while limit > 0 and (found := cheapest(limit, whole(chosen))) is not None:
        chosen, limit = min(chosen, found, key=whole), found.arena_bytes - 1
    return chosen
