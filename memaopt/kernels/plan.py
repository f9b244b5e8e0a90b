"""What a kernel family answers: a plan (its price and its promises as data) and the C text that keeps them."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from memaopt.kernels.code import Node


class Access(NamedTuple):
    """Loads and stores, in number and in bytes. Each register that a multiple load or store moves counts as one."""

    loads: int = 0
    load_bytes: int = 0
    stores: int = 0
    store_bytes: int = 0

    def __add__(self, other: object) -> "Access":
        if not isinstance(other, Access):
            return NotImplemented
        return Access(
            self.loads + other.loads,
            self.load_bytes + other.load_bytes,
            self.stores + other.stores,
            self.store_bytes + other.store_bytes,
        )

    def times(self, count: int) -> "Access":
        """The accesses of ``count`` repetitions."""
        return Access(self.loads * count, self.load_bytes * count, self.stores * count, self.store_bytes * count)


def loads(count: int, width: int) -> Access:
    """``count`` loads of ``width`` bytes each."""
    return Access(loads=count, load_bytes=count * width)


def stores(count: int, width: int) -> Access:
    """``count`` stores of ``width`` bytes each."""
    return Access(stores=count, store_bytes=count * width)


class Promise(NamedTuple):
    """What one call of a layer accesses; ``stack`` is None where the compiler decides it."""

    inputs: tuple[Access, ...]
    output: Access
    parameters: Access = Access()
    scratch: Access = Access()
    stack: Access | None = None


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
    ``lead_step``; None if it may not. ``alignment``: bytes, of inputs, output and scratch memory. ``streams``: the plan
    without the copy, if this one copies its constants into scratch before it reads them.
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
    options: tuple[tuple[str, int], ...] = ()
    """The family's own choices (tile sizes), by name."""

    def option(self, name: str) -> int:
        """The value of one of the family's choices."""
        return dict(self.options)[name]

    @property
    def flash_bytes(self) -> int:
        """Weights, parameters and code."""
        return self.data_bytes + self.code_bytes


@dataclass(frozen=True)
class Kernel:
    """A function that several layers may share; a file defines it once."""

    name: str
    source: str


@dataclass(frozen=True)
class Emitted:
    """C text of one layer. ``parameters`` are the symbols of its constant data; ``signature`` its prototype.

    A file holds :func:`memaopt.kernels.registry.preamble` of all its layers, the kernels (each once), the sources.
    """

    name: str
    signature: str
    source: str
    plan: Plan
    parameters: tuple[str, ...] = ()
    kernels: tuple[Kernel, ...] = field(default_factory=tuple)
