"""What a kernel family answers: a plan (its price and its promises as data) and the C text that keeps them."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Node
from memaopt.kernels.packing import Packing
from memaopt.kernels.turns import Turns, turns_of


class Promise(NamedTuple):
    """What one call of a layer accesses, buffer by buffer. The ``stack`` is accessed by the layer's kernels, what the
    compiled code around them does there is its compiler's. ``channels``: of the constants those that stay on the chip
    while the others (``parameters``) are outside.
    """

    inputs: tuple[Access, ...]
    output: Access
    parameters: Access = Access()
    scratch: Access = Access()
    stack: Access = Access()
    channels: Access = Access()

    @property
    def buffers(self) -> dict[str, Access]:
        """The accesses by the buffers' names, without buffers that are not accessed; of two inputs or more each has
        its number.
        """
        many = len(self.inputs) > 1
        named = {f"input{number if many else ''}": access for number, access in enumerate(self.inputs)}
        named |= {"output": self.output, "parameters": self.parameters, "scratch": self.scratch, "stack": self.stack}
        named |= {"channels": self.channels}
        return {name: access for name, access in named.items() if access}

    @property
    def total(self) -> Access:
        """All accesses."""
        return sum(self.buffers.values(), Access())

    def times(self, count: int) -> "Promise":
        """The promise of ``count`` calls."""
        inputs = tuple(access.times(count) for access in self.inputs)
        return Promise(inputs, *(access.times(count) for access in self[1:]))


def saved(registers: int) -> Access:
    """What a call of a kernel does to the stack that pushes so many registers, and pops them when it returns."""
    return stores(registers, 4) + loads(registers, 4)


class Format(StrEnum):
    """How an activation lies in memory.

    ``S8``: NHWC bytes, signed. ``RAW``: the same, but the bytes of even channels hold value + 128 (the top bit
    is flipped), as the raw-pair kernels read them. ``FUSED``: it lies nowhere; the layer that reads it computes it,
    part by part, from the (S8) input of the operator that would have written it.
    """

    S8 = "s8"
    RAW = "raw"
    FUSED = "fused"


@dataclass(frozen=True)
class Plan:
    """One way to compute a layer: everything that an optimiser needs in order to choose.

    ``cycles`` are predicted at zero wait states. ``code_bytes`` is an estimate for a Cortex-M4; of it
    ``shared_bytes`` belong to kernels that layers with the same ``kernels`` share. ``code`` is what one call
    executes, as a tree from which its waiting for flash is priced. ``words``: its constants are arrays of
    words. ``in_place``: the output may start at
    the (first) input's address. ``lead``: the output may share memory with the (first) input if it starts at least so
    many bytes before it (a negative number: or up to so many behind it), at a distance that is a multiple of
    ``lead_step``; None if it may not. ``fpu``: it needs the registers of an FPU (True), or is meant for cores that have
    none (False). ``alignment``: bytes, of inputs, output and scratch memory. ``streams``: the plan
    without the copy, if this one copies its constants into scratch before it reads them. ``packings``: how its
    arrays of constants, from the first on, may be packed (None: that one not); ``packed``: they lie so, and the copy
    expands them. ``channel_bytes``: constants that stay on the chip beside ``data_bytes`` of others outside.
    ``block``: the output channels whose constants are copied at a time, 0 for all of them; ``dma``: the words of each
    of these blocks in their order, if a DMA copies the next one meanwhile. ``kept``: the copies are
    made beforehand, and lie so many words from the start of its scratch memory. ``fetched``: its input is copied first,
    and lies so many bytes from there. ``without``: the model's name of an operator that the user's C computes, whose
    cycles, accesses, stack and code are in none of these figures.
    """

    family: str
    tile: str
    cycles: int
    promise: Promise
    data_bytes: int
    code_bytes: int
    scratch_bytes: int = 0
    stack_bytes: int = 0
    kernels: tuple[str, ...] = ()
    shared_bytes: int = 0
    code: tuple[Node, ...] = ()
    input_format: Format = Format.S8
    output_format: Format = Format.S8
    in_place: bool = False
    words: bool = True
    lead: int | None = None
    lead_step: int = 1
    alignment: int = 1
    requantization: str = ""
    streams: "Plan | None" = None
    packings: tuple[Packing | None, ...] = ()
    packed: bool = False
    channel_bytes: int = 0
    block: int = 0
    dma: tuple[int, ...] = ()
    kept: int | None = None
    fetched: int | None = None
    without: str = ""
    fpu: bool | None = None
    options: tuple[tuple[str, int], ...] = ()
    """The family's own choices (tile sizes), by name."""

    def option(self, name: str) -> int:
        """The value of one of the family's choices."""
        return dict(self.options)[name]

    @property
    def slides(self) -> bool:
        """Whether rows that strips share are moved, not read again."""
        return dict(self.options).get("slides", 0) > 0

    @cached_property
    def turns(self) -> tuple[Turns, ...]:
        """All of ``code`` but the copy of constants, by the loops that it lies in."""
        return turns_of(self.code) if self.streams is None else self.streams.turns

    @property
    def kernel_bytes(self) -> int:
        """Constants as the kernels read them."""
        return (self.streams or self).data_bytes

    @property
    def kernel_scratch(self) -> int:
        """Scratch memory without copies of constants and of the input."""
        if self.streams is not None:
            return self.streams.scratch_bytes
        return self.scratch_bytes if self.fetched is None else self.fetched

    def runs_on(self, has_fpu: bool) -> bool:
        """Whether a core with such an FPU, or without one, can have the plan."""
        return self.fpu is None or self.fpu is has_fpu

    @property
    def flash_bytes(self) -> int:
        """Weights, parameters and code."""
        return self.data_bytes + self.channel_bytes + self.code_bytes
