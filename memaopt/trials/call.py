"""What a call on the virtual board showed, beside what was promised of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic import BaseModel

from memaopt.access import Access

if TYPE_CHECKING:
    from memaopt.board import Run


class CallTrial(BaseModel, frozen=True):
    """A call of a GEMM or of a layer. ``promised`` and ``counted`` are accesses by buffer, ``wrong`` the elements of
    the result that are not the reference's.

    Of the ``stack``, what the kernels do there is promised, and in a nest of blocks the copies of its tiles. ``around``
    are the accesses to it of the compiled code around them and of a network's copies (arguments, saved registers,
    spills): counted, and promised by nobody, since a compiler decides about them. ``cycles`` are with the machine's
    wait states, ``ideal_cycles`` without any; both are None on a core whose timing nobody has validated.
    """

    promised: dict[str, Access]
    counted: dict[str, Access]
    around: Access
    wrong: int
    cycles: int | None
    ideal_cycles: int | None

    @property
    def equal(self) -> bool:
        """Counted = promised, access for access."""
        return self.promised == self.counted

    @property
    def correct(self) -> bool:
        """Whether the whole result is right."""
        return self.wrong == 0

    @property
    def passed(self) -> bool:
        """Counted = promised, and the result is right."""
        return self.equal and self.correct


def verdict(passed: bool, cycles: int | None) -> str:
    """How a trial ended, in a few words; on a core without validated timing no cycles are said."""
    return ("passed" if passed else "failed") + ("" if cycles is None else f": {cycles:,} cycles")


def spent(cycles: int | None, ideal_cycles: int | None, energy_uj: float | None) -> list[tuple[str, str]]:
    """Time and energy as facts, where they are known."""
    facts = [] if cycles is None else [("cycles", f"{cycles:,}, {ideal_cycles:,} without waiting")]
    return facts if energy_uj is None else [*facts, ("energy", f"{energy_uj:.3g} uJ, modelled")]


def stack_of(run: Run, kernels: Collection[str]) -> tuple[Access, Access]:
    """What the functions that are ``kernels`` did to the stack, and what the rest did."""
    own, around = Access(), Access()
    for function, access in run.stack_by_function.items():
        if function in kernels:
            own += access
        else:
            around += access
    return own, around
