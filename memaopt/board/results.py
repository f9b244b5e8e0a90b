"""What a run on the virtual board returns: plain, frozen, JSON-friendly."""

import math
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from memaopt.access import Access
from memaopt.board.profile import Profile
from memaopt.errors import InputError
from memaopt.machines.energy import Energy

#: How a run ended: the function returned; the program exited by semihosting; it came to where it was to stop; a
#: branch to itself; a WFI or WFE that nothing wakes and nothing follows; a breakpoint.
End = Literal["return", "exit", "until", "loop", "sleep", "breakpoint"]

_Figure = TypeVar("_Figure")


def known(figure: _Figure | None) -> _Figure:
    """Cycles, or energy, where there must be some; InputError on a core whose timing nobody has validated."""
    if figure is None:
        raise InputError("cycles and energy are needed, and nobody has validated the timing of this core")
    return figure


class Run(BaseModel, frozen=True):
    """One call on the board, or a run from reset.

    ``cycles`` are core cycles with the machine's wait states, ``ideal_cycles`` those of the same run without
    any; ``fetch_stalls`` and ``data_stalls`` are the cycles that the core waited for instructions and for
    data. ``stack_bytes`` is the most that the stack held. ``seconds`` is the host's time, not the chip's.

    All of these, and ``energy``, are None on a core whose timing nobody has validated.

    ``buffers`` has every named buffer: the caller's ranges, the ELF's objects, ``stack``, ``literals`` (data within
    code, and those of Zig's compiler-rt), ``peripheral``, and ``MEMORY:other`` for the rest of each memory. ``skipped``
    are the instructions inside IT blocks whose condition was false; ``instructions`` does not include them.

    ``stack_by_function`` are the stack's accesses by the function whose own instructions made them.

    ``ended`` says how the run ended and ``ended_at`` where; ``exit_code`` is that of a semihosting exit, ``output``
    what the program wrote by semihosting.

    ``dma_bytes`` were read by a DMA, if the machine was asked for with one, and written as often: ``buffers`` and
    ``memories`` have these accesses too. Turns of a loop that waits for it are in ``ideal_cycles``.
    """

    function: str
    ended: End
    ended_at: int
    exit_code: int | None
    output: str
    r0: int
    s0: float
    instructions: int
    skipped: int
    cycles: int | None
    ideal_cycles: int | None
    fetch_stalls: int | None
    data_stalls: int | None
    stack_bytes: int
    buffers: dict[str, Access]
    stack_by_function: dict[str, Access]
    memories: dict[str, Access]
    energy: Energy | None
    profile: Profile | None
    seconds: float
    dma_bytes: int = 0

    def accesses(self, buffer: str) -> Access:
        """The accesses to the buffer of that name; InputError if there is no such buffer."""
        if buffer not in self.buffers:
            raise InputError(f"no buffer {buffer!r} in this run: it has {', '.join(sorted(self.buffers))}")
        return self.buffers[buffer]

    @property
    def instructions_per_second(self) -> float:
        """The speed of the virtual board on this host."""
        return self.instructions / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, without the host's time (so it is the same on every run) and without
        the buffers that were not accessed. ``s0`` is None where it is infinite or no number, for JSON has neither.
        """
        data = self.model_dump(mode="json", exclude=self._left_out)
        data["buffers"] = {name: a for name, a in data["buffers"].items() if any(a.values())}
        data["s0"] = self.s0 if math.isfinite(self.s0) else None
        return data

    @property
    def _left_out(self) -> set[str]:
        absent = {"profile": self.profile is None, "dma_bytes": not self.dma_bytes}
        return {"seconds", *(field for field, left_out in absent.items() if left_out)}
