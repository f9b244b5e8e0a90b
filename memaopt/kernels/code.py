"""The code of a layer as what it is: straight runs of words and loops, so that its waiting for flash can be priced.

Assembly is read from its text (:mod:`memaopt.kernels.assembly_code`). C around it, which a compiler makes, is described
by its size. Words are 4 bytes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from memaopt.kernels.text.templates import render

#: In the place of a number of loads: the constants are read from the start again; one less, from a word later on.
REWIND = -1
#: So many more loads than this: as many of a table, anywhere in it. What they wait where data are cached
#: :class:`TableLoads` says; where none are, each of them is a read of its own.
TABLE = 1 << 16


class Straight(NamedTuple):
    """Consecutive words of code: the cycles of each at zero wait states, and how many constants each loads, ``step``
    words apart (a quarter for bytes).
    """

    cycles: tuple[float, ...]
    loads: tuple[int, ...]
    step: float = 1.0


class Loop(NamedTuple):
    """A body that runs ``trips`` times (a mean need not be whole). After each time the place where constants start
    has moved on by ``advance`` words. The last time takes ``left`` cycles less, for its branch is not taken.
    """

    body: tuple[Node, ...]
    trips: float
    advance: float = 0.0
    left: float = 0.0


class TableLoads(NamedTuple):
    """``loads`` of constants here and there in a table of ``size`` bytes, by code that stands beside this node. Or by
    code in whose midst this node stands, if it says of how many loads of the whole layer these are. ``marked``: that
    code has the loads themselves (:data:`TABLE`). ``row``: bytes that are loaded in order, by words, if several are.
    """

    size: int
    loads: float
    among: float = 0.0
    marked: bool = False
    row: int = 0


class Scan(NamedTuple):
    """``loads`` of ``size`` bytes of constants, ``times`` times from the first to the last, by code that stands beside
    this node. ``lines``: of the cache, that must be held at once for that; else each load is a read of its own.
    ``seeks``: of the loads, but for each time's first, that do not directly follow the one before.
    """

    size: int
    times: float
    loads: int
    lines: int = 1
    seeks: int = 0


class Literal(NamedTuple):
    """A word in flash that code loads from beside itself, by code that stands beside this node: mostly an address."""


class Call(NamedTuple):
    """A call of assembly or of a small routine, which lies elsewhere. ``trips``: of the loops of the assembly, in the
    order in which they begin in its text; ``advances``: see :class:`Loop`, one for each of them or none.
    ``by_pointer``: its address is in a register. ``slow``: cycles that each load of a word of data takes more than the
    text says, the mean of what they do at addresses that are no multiples of 4. ``behind``: words from where a layer's
    constants start to those that this call is given.
    """

    routine: Assembly | Small
    trips: tuple[float, ...] = ()
    advances: tuple[float, ...] = ()
    by_pointer: bool = False
    slow: float = 0.0
    behind: float = 0.0


class Staged(NamedTuple):
    """Code whose constants lie in RAM wherever the others do."""

    body: tuple[Node, ...]


class Small(NamedTuple):
    """A helper in C, described by its size; those of one ``name`` lie at one place."""

    name: str
    size: int
    body: tuple[Node, ...]


class Assembly(Protocol):
    """A kernel that is all assembly: the text that is emitted, and which registers address constants in it."""

    @property
    def name(self) -> str: ...

    @property
    def constants(self) -> tuple[Constants, ...]: ...

    def text(self, attribute: str = "") -> str:
        """The C text; ``attribute`` says where it lies."""
        ...


def form_of(kernel: Assembly) -> Hashable:
    """What a kernel's text depends on but for numbers, where its class has a ``form`` (else None): kernels of a class
    and form have the same tree."""
    return getattr(kernel, "form", None)


Node = Straight | Loop | TableLoads | Scan | Literal | Call | Staged


class Constants(NamedTuple):
    """A register that addresses constants once it was loaded from ``source`` (as written in the text), or from the
    beginning on if that is empty. ``table``: they are read here and there."""

    register: str
    source: str
    rewinds: bool = True
    table: bool = False


@dataclass(frozen=True)
class Rendered:
    """A kernel that is one template with these values."""

    name: str
    template: str
    values: tuple[tuple[str, object], ...] = ()
    constants: tuple[Constants, ...] = ()

    def text(self, attribute: str = "") -> str:
        return render(self.template, name=self.name, attribute=attribute, **dict(self.values))


def compiled(size: float, cycles: float, loads: float = 0, step: float = 1.0) -> Straight:
    """C as a compiler makes it: ``size`` bytes that take ``cycles`` and load so many constants, in even spread.

    What takes less than a cycle for each word is not all executed.
    """
    words = max(round(min(size / 4, cycles)), 1)
    marks = [int(loads * (i + 1) / words) - int(loads * i / words) for i in range(words)]
    return Straight((cycles / words,) * words, tuple(marks), step)
