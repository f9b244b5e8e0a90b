"""What a file holds, supported or not: the network as far as it is understood, and what is in the way of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from memaopt.networks.graph import Graph
from memaopt.networks.refusals import Refusal, error_of
from memaopt.problems.custom import CustomCode


class Wanted(NamedTuple):
    """What is asked of a file: the C that computes operators of its own, and which of several subgraphs the network is,
    by its name, its signature's, or its number (empty: the first one)."""

    customs: tuple[CustomCode, ...] = ()
    subgraph: str = ""


PLAIN = Wanted()


@dataclass(frozen=True)
class Unread:
    """An operator that is none of ``graph``: its kind, and the tensors that it names (-1 for none)."""

    location: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Reading:
    """``graph`` is the whole network if nothing is refused. Else it has the operators that could be read, and what the
    others write are inputs of it; ``inputs`` and ``outputs`` are the network's own.

    ``notes``: where what is computed may differ from what the file's format says, and by how much; what of the file is
    left out.
    """

    graph: Graph
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    unread: tuple[Unread, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()

    def whole(self) -> Graph:
        """The network; UnsupportedModelError, naming everything that stands in the way."""
        if self.refusals:
            raise error_of(self.graph.name, self.refusals)
        return self.graph
