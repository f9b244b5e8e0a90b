"""What is made least: a word, or whole weights on cycles, energy, bytes by memory and RAM, written as a sum.

``bytes``, ``cycles`` and ``energy`` are words of their own. ``4*cycles + 100*qspi + 2*ram`` weighs each predicted cycle
4, each byte to or from the memory ``qspi`` 100, each byte of an arena 2; ``energy`` is in picojoules. The text is the
objective: whoever reads it in a certificate knows what was made least. A name can be registered for one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from memaopt.errors import InputError
from memaopt.extensions import OBJECTIVES as REGISTERED
from memaopt.problems.words import OBJECTIVES
from memaopt.spelling import option

_TERM = re.compile(r"(\d{1,6})\*([a-z][a-z0-9_]*)")
#: ObjectiveWeights that are no memory's.
_CYCLES, _ENERGY, _RAM = "cycles", "energy", "ram"


class ObjectiveWeights(NamedTuple):
    """Whole numbers: of a predicted cycle, a picojoule, a byte of an arena, and of a byte to or from each memory."""

    cycles: int = 0
    energy: int = 0
    ram: int = 0
    bytes: tuple[tuple[str, int], ...] = ()

    def byte_of(self, memory: str) -> int:
        """The weight of a byte to or from a memory."""
        return dict(self.bytes).get(memory, 0)

    def __str__(self) -> str:
        named = ((self.cycles, _CYCLES), (self.energy, _ENERGY), (self.ram, _RAM))
        terms = [*named, *((weight, memory) for memory, weight in sorted(self.bytes))]
        return " + ".join(f"{weight}*{name}" for weight, name in terms if weight)


@lru_cache(maxsize=256)
def weights_of(objective: str) -> ObjectiveWeights | None:
    """The weights of an objective that is a sum, those of ``cycles`` and ``energy``, None of ``bytes``, which has none.

    Raises InputError for a text that is no objective.
    """
    if objective in OBJECTIVES:
        return {_CYCLES: ObjectiveWeights(cycles=1), _ENERGY: ObjectiveWeights(energy=1)}.get(objective)
    found: dict[str, int] = {}
    for term in objective.split("+"):
        match = _TERM.fullmatch(term.strip())
        if match is None or match[2] in found:
            there = ", ".join((*OBJECTIVES, *REGISTERED.all()))
            raise InputError(
                f"no objective {objective[:80]!r}: there are {there}, for networks ram, and sums such as "
                "4*cycles + 1*qspi"
            )
        found[match[2]] = int(match[1])
    cycles, energy, ram = (found.pop(name, 0) for name in (_CYCLES, _ENERGY, _RAM))
    made = ObjectiveWeights(cycles, energy, ram, tuple(sorted(found.items())))
    if not made.cycles and not made.energy:
        asked = option("objective", objective[:80])
        raise InputError(f"{asked}: cycles or energy need a weight, which tells equals apart")
    return made


def resolved(objective: str) -> str:
    """The objective of a word, a sum or a registered name, as it stands in certificates; InputError if it is none."""
    if objective in OBJECTIVES:
        return objective
    registered = REGISTERED.all()
    found = weights_of(str(registered[objective])) if objective in registered else weights_of(objective)
    return objective if found is None else str(found)


def is_sum(objective: str) -> bool:
    """Whether an objective is no word of its own."""
    return objective not in OBJECTIVES
