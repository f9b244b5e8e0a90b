"""The chains that a network's operators can make: what they are and take, whatever machine and setting they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from memaopt.alignment import align
from memaopt.choice.problem import options_of
from memaopt.choice.stages import ALIGNMENT, in_place_of, leads_of, sharing, stack_bytes
from memaopt.kernels.chains.least import least_order
from memaopt.kernels.chains.order import ChainRows, shape_of
from memaopt.kernels.registry import CHAINS, Plan
from memaopt.memory import liveness
from memaopt.memory.liveness import ArenaProblem, Lead, elementwise_in_place
from memaopt.networks.chains import as_one, chain_of, is_closed, lowered
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Lowered
from memaopt.problems.layers import LayerChain

#: The lead of an output that may lie anywhere on its input.
_FREELY = Lead(-(1 << 40))


class ChainWay(NamedTuple):
    """A plan of a chain, with the bytes of arena and of stack that it takes."""

    plan: Plan
    arena_bytes: int
    stack_bytes: int


@dataclass(frozen=True, eq=False)
class _Whole:
    """What a chain is whichever tensors are outside the chip: its operators as one, and its plans, made once."""

    graph: Graph
    first: int
    last: int
    chain: LayerChain
    made: dict[tuple[bool, ...], tuple[Plan, ...]] = field(default_factory=dict)

    @cached_property
    def as_one(self) -> Graph:
        return as_one(self.graph, self.first, self.last)

    def plans(self, has_fpu: bool, outside: bool, away: bool) -> tuple[Plan, ...]:
        """Those that read and write plain int8, for a core and where constants and tensors may be."""
        key = has_fpu, outside, away
        if key not in self.made:
            op = self.as_one.operators[self.first]
            low = Lowered(self.chain, (op.input,))
            self.made[key] = options_of(self.as_one, op, low, False, has_fpu, outside, away)
        return self.made[key]


@dataclass(frozen=True, eq=False)
class ChainAt:
    """A chain that may be: the operators of a graph from the position ``first`` to before ``last``, with the tensors
    (alias roots) of ``away`` outside the chip."""

    graph: Graph
    first: int
    last: int
    chain: LayerChain
    shape: ChainRows
    away: frozenset[int]
    _whole: _Whole
    _ways: dict[tuple[bool, ...], tuple[ChainWay, ...]] = field(default_factory=dict)

    def beside(self, away: frozenset[int]) -> ChainAt:
        """The same chain with other tensors outside."""
        return replace(self, away=away, _ways={})

    def ways(self, has_fpu: bool, outside: bool, away: bool = False) -> tuple[ChainWay, ...]:
        """Its plans that read and write plain int8, for a core and where constants and tensors may be; made once."""
        key = has_fpu, outside, away
        if key not in self._ways:
            self._ways[key] = tuple(self._made(self._whole.plans(*key)))
        return self._ways[key]

    @property
    def input(self) -> int:
        """The tensor that it reads."""
        return self.graph.operators[self.first].input

    @property
    def output(self) -> int:
        """The tensor that it writes."""
        return self.graph.operators[self.last - 1].output

    @cached_property
    def arena_floor(self) -> int:
        """Bytes that it takes at least: what waits, its ends on one another, and the widest window of a reader."""
        shape = self.shape
        windows = [
            max(shape.reach(reader).extent for reader in shape.lines[t].readers) * shape.lines[t].row_bytes
            for t in shape.buffered
        ]
        return self._ends + align(max(windows, default=0), ALIGNMENT)

    @cached_property
    def _ends(self) -> int:
        """Bytes of what waits while it runs, its ends on one another."""
        ends = liveness.ruled(self._alive, lambda *_: (), lambda *_: _FREELY, [self.first])
        return ends.during(self.first, self._done)

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """The rows that each part computes at least."""
        heights = (1,) * len(self.shape.parts)
        bands = least_order(self.shape, heights).bands
        return tuple(bands[part] for part in range(len(heights)))

    def least(self, most: int | None, cost: Callable[[Plan], int]) -> int | None:
        """What no plan of it costs less than within so many bytes of arena (None: without a limit), a band of a part
        costing what ``cost`` says; None if there is no plan."""
        return CHAINS.least(self.chain, None if most is None else most - self._ends, cost)

    def _made(self, plans: Iterable[Plan]) -> Iterator[ChainWay]:
        graph, first = self._whole.as_one, self.first
        low = Lowered(self.chain, (graph.operators[first].input,))
        alive: dict[tuple[object, ...], int] = {}
        for plan in plans:
            if sharing(plan) not in alive:
                leads = leads_of(graph, {first: plan}, {first: low})
                view = liveness.ruled(self._alive, in_place_of(graph, {first: plan}, {first: low}), leads, [first])
                alive[sharing(plan)] = view.during(first, self._done)
            arena = alive[sharing(plan)] + align(plan.scratch_bytes, ALIGNMENT)
            yield ChainWay(plan, arena, stack_bytes((plan,)))

    @property
    def _done(self) -> int:
        """What ran before, a mask."""
        return (1 << self.first) - 1

    @cached_property
    def _alive(self) -> ArenaProblem:
        return liveness.problem(self._whole.as_one, ALIGNMENT, elementwise_in_place, {}, self.away)


@lru_cache(maxsize=4)
def segments_of(graph: Graph, away: frozenset[int]) -> Mapping[tuple[int, int], ChainAt]:
    """Every chain that there can be in a graph with these tensors outside the chip, by its ends; found once for all
    settings of a machine."""
    found = {}
    layers = lowered(graph, graph.operators)
    for first in range(len(graph.operators)):
        for last in range(first + 2, len(graph.operators) + 1):
            chain = chain_of(graph, graph.operators[first:last], layers[first:last])
            if chain is None and not graph.operators[last - 1].alias:
                break  # nor is any longer one
            if chain is not None and is_closed(graph, first, last) and (shape := shape_of(chain)) is not None:
                whole = _Whole(graph, first, last, chain)
                found[first, last] = ChainAt(graph, first, last, chain, shape, away, whole)
    return found
