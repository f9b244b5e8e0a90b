"""A network whose constants and tensors lie outside SRAM: which tensors stay inside, and how each layer is staged.

Layer by layer, in the graph's order. Between two layers a tensor that is still to be read is in SRAM, outside, or both;
it may be moved out or in there, whole. A layer reads an input from where it is, and its output goes to SRAM whole, or
outside through a tile. What SRAM is left is for the layer's tiles, and its schedule is the best of its nest
(:mod:`memaopt.models.layer_nest`). The choice is a shortest path over the places of the tensors alive, so nothing of
that space moves fewer bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from memaopt.choice.layer_nests import nests_of
from memaopt.errors import InfeasibleError, UnfinishedError
from memaopt.memory import row_network
from memaopt.memory.packing import pack
from memaopt.memory.rectangles import Rectangle
from memaopt.models import layer_closed_form
from memaopt.models.layer_bounds import layer_io_bytes
from memaopt.models.layer_nest import (
    CHANNELS_OUTSIDE,
    ROWS_OUTSIDE,
    LayerNest,
    LayerSpace,
    NestSchedule,
    external_bytes,
    footprint,
)
from memaopt.models.layer_replay import walk
from memaopt.networks.graph import Graph

_MOST_STATES = 20_000
#: r0 to r15 and s0 to s31, more than any kernel may use, so that the bound holds for all.
_REGISTER_BYTES = 4 * (16 + 32)


class Home(NamedTuple):
    """Where a tensor lies: in SRAM, outside, or both."""

    inside: bool
    outside: bool


_INSIDE, _OUTSIDE, _BOTH = Home(True, False), Home(False, True), Home(True, True)
Homes = tuple[tuple[int, Home], ...]


class StagedLayer(NamedTuple):
    """The operator at ``position``: its schedule, the tensors that are ``inside`` SRAM beside it (its own inputs and
    output among them) and their bytes, and those of tensors that are moved out and in before it, whole (its output
    after it, if that is one of the network's too). No order of its products moves fewer bytes than ``least`` from where
    its operands are."""

    position: int
    space: LayerSpace
    schedule: NestSchedule
    inside: tuple[int, ...]
    resident: int
    evicted: int
    fetched: int
    least: int

    @property
    def bytes(self) -> int:
        """What crosses for it."""
        return external_bytes(self.space, self.schedule) + self.evicted + self.fetched

    @property
    def sram(self) -> int:
        """What lies in SRAM while it runs."""
        return self.resident + footprint(self.space, self.schedule)


@dataclass(frozen=True)
class StagedNetwork:
    """A network staged in ``sram`` bytes; ``compulsory`` is what no order of rows, in any chains, is below: the
    network's inputs and outputs once, and the constants of each layer."""

    graph: Graph
    sram: int
    layers: tuple[StagedLayer, ...]
    compulsory: int

    @cached_property
    def bytes(self) -> int:
        """What crosses in one inference."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def gap(self) -> float:
        """How far that lies above the compulsory traffic, as a fraction."""
        return self.bytes / self.compulsory - 1 if self.compulsory else 0.0

    def packed(self) -> int:
        """The SRAM that does where each tensor that stays has an address of its own while it does, and the tiles of
        a layer another."""
        parts = [Rectangle(step, step, footprint(each.space, each.schedule)) for step, each in enumerate(self.layers)]
        tensors = {t for each in self.layers for t in each.inside}
        for t in tensors:
            steps = [step for step, each in enumerate(self.layers) if t in each.inside]
            for _, run in itertools.groupby(enumerate(steps), lambda pair: pair[1] - pair[0]):
                alive = [step for _, step in run]
                parts.append(Rectangle(alive[0], alive[-1], self.graph.tensors[t].nbytes))
        return pack(parts, (), 1, max(each.sram for each in self.layers), 0)[1] if parts else 0

    def replayed(self) -> tuple[int, int]:
        """Bytes moved and the most that lies in SRAM, as a walk of every layer's blocks finds them."""
        walks = [walk(layer.space, layer.schedule) for layer in self.layers]
        moved = sum(found.loaded + found.stored for found in walks)
        moved += sum(layer.evicted + layer.fetched for layer in self.layers)
        return moved, max((layer.resident + of.peak for layer, of in zip(self.layers, walks, strict=True)), default=0)


def stage(graph: Graph, sram: int) -> StagedNetwork:
    """The schedule of a (simplified) network that moves the fewest bytes with ``sram`` bytes for tensors and tiles.

    Constants, inputs and outputs of the network lie outside. Raises InfeasibleError if a layer fits in no way,
    UnfinishedError where so many tensors are alive at once that the search does not end, or where the best choice
    fits by its bytes but no addresses for it were found.
    """
    return _Search(graph, sram).solve()


class _Path(NamedTuple):
    cost: int
    layers: tuple[StagedLayer, ...]


class _Search:
    """The shortest path over the places of tensors."""

    def __init__(self, graph: Graph, sram: int) -> None:
        self.graph, self.sram = graph, sram
        self.network = row_network.of(graph)
        self.lowered = {i: low for i, op in enumerate(graph.operators) if (low := op.lower(graph)) is not None}
        self.nests = nests_of(graph, self.network, self.lowered)
        self.size = {t: x.rows * x.row_bytes for t, x in self.network.tensors.items()}
        last: dict[int, int] = {}
        for step, op in enumerate(self.network.operators):
            last |= {read.tensor: step for read in op.reads}
        self.last = last
        self._io: dict[int, int] = {}
        self._known: dict[tuple[int, frozenset[int], bool, int], NestSchedule | None] = {}

    def solve(self) -> StagedNetwork:
        start = tuple(sorted((t, _OUTSIDE) for t in self.network.inputs if t in self.last))
        paths: dict[Homes, _Path] = {start: _Path(0, ())}
        for step, nest in enumerate(self.nests):
            found: dict[Homes, _Path] = {}
            for places, path in paths.items():
                for after, layer in self._layers(step, nest, dict(places)):
                    cost = path.cost + layer.bytes
                    if after not in found or cost < found[after].cost:
                        found[after] = _Path(cost, (*path.layers, layer))
            if not found:
                raise self._does_not_fit(step, nest)
            if len(found) > _MOST_STATES:
                raise UnfinishedError(f"{self.graph.name}: too many tensors are alive at once to stage it")
            paths = found
        best = min(paths.values(), key=lambda path: path.cost)
        staged = StagedNetwork(self.graph, self.sram, best.layers, self._compulsory())
        if staged.packed() > self.sram:
            raise UnfinishedError(
                f"{self.graph.name}: tensors that stay and tiles take {self.sram:,} bytes of SRAM or less, but no "
                "addresses for them were found"
            )
        return staged

    def _layers(self, step: int, nest: LayerNest, places: dict[int, Home]) -> Iterator[tuple[Homes, StagedLayer]]:
        """Each way to compute the operator from these places, with the places of what is alive after it."""
        op = self.network.operators[step]
        for moved, evicted, fetched in self._moves(places):
            outside = [i for i, read in enumerate(op.reads) if not moved[read.tensor].inside]
            outside += range(len(op.reads), len(nest.inputs))
            kept = {t: place for t, place in moved.items() if self.last[t] > step}
            beside = sum(self.size[t] for t, place in moved.items() if place.inside)
            for stores in (False, True) if self.last.get(op.output, -1) > step else (True,):
                resident = beside + (0 if stores else self.size[op.output])
                schedule = self._best(step, nest, frozenset(outside), stores, self.sram - resident)
                if schedule is None:
                    continue
                space = LayerSpace(nest, frozenset(outside), stores, self.sram - resident)
                after, out = dict(kept), evicted
                if op.output in self.last:
                    after[op.output] = _OUTSIDE if stores else _INSIDE
                if not stores and op.output in self.network.outputs:
                    after[op.output], out = _BOTH, evicted + self.size[op.output]
                inside = tuple(t for t, place in moved.items() if place.inside) + (() if stores else (op.output,))
                least = space.compulsory
                if stores and len(outside) == len(nest.inputs):
                    least = max(least, self._io_bytes(step))
                layer = StagedLayer(op.position, space, schedule, inside, resident, out, fetched, least)
                yield tuple(sorted(after.items())), layer

    def _moves(self, places: dict[int, Home]) -> Iterator[tuple[dict[int, Home], int, int]]:
        """The places after any tensors were moved out and in, with the bytes of both."""
        options = {_INSIDE: (_INSIDE, _OUTSIDE), _OUTSIDE: (_OUTSIDE, _BOTH), _BOTH: (_BOTH, _OUTSIDE)}
        for chosen in itertools.product(*(options[place] for place in places.values())):
            pairs = list(zip(places, places.values(), chosen, strict=True))
            evicted = sum(self.size[t] for t, old, new in pairs if not old.outside and new.outside)
            fetched = sum(self.size[t] for t, old, new in pairs if not old.inside and new.inside)
            yield {t: new for t, _, new in pairs}, evicted, fetched

    def _best(
        self, step: int, nest: LayerNest, outside: frozenset[int], stores: bool, capacity: int
    ) -> NestSchedule | None:
        key = step, outside, stores, capacity
        if key not in self._known:
            space = LayerSpace(nest, outside, stores, capacity)
            self._known[key] = layer_closed_form.solve(space) if capacity >= 0 else None
        return self._known[key]

    def _io_bytes(self, step: int) -> int:
        """What an operator's products move at least through all SRAM and the registers."""
        if step not in self._io:
            low = self.lowered[self.network.operators[step].position]
            self._io[step] = layer_io_bytes(low.layer, self.sram + _REGISTER_BYTES, low.batch)
        return self._io[step]

    def _does_not_fit(self, step: int, nest: LayerNest) -> InfeasibleError:
        op = self.graph.operators[self.network.operators[step].position]
        outside = LayerSpace(nest, frozenset(range(len(nest.inputs))), True, 1 << 40)
        least = min(
            footprint(outside, NestSchedule(order, band, 1))
            for order in (ROWS_OUTSIDE, CHANNELS_OUTSIDE)
            for band in range(1, nest.rows + 1)
        )
        return InfeasibleError(
            f"{self.graph.name}: {self.graph.place(op)} needs {least:,} bytes of SRAM for its rows and a block of its "
            f"constants, and there are {self.sram:,}"
        )

    def _compulsory(self) -> int:
        moved = dict.fromkeys(self.network.inputs, 0)
        total = 0
        for op, nest in zip(self.network.operators, self.nests, strict=True):
            total += nest.weights + sum(read.moved for read in nest.inputs[len(op.reads) :])
            for read, of in zip(op.reads, nest.inputs, strict=False):
                if read.tensor in moved:
                    moved[read.tensor] = max(moved[read.tensor], of.moved)
        written = {op.output for op in self.network.operators} & self.network.outputs
        return total + sum(moved.values()) + sum(self.size[t] for t in written)
