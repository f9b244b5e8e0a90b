"""What is alive when: tensors that share bytes, execution orders, and the largest live set of an order.

RESHAPE and its kin never copy, so a tensor and its reshapes are one *block* of bytes. An operator that works in
place writes its output into the block of an input that nothing reads afterwards; the block lives on. An operator with
a *lead* writes a block of its own, which may overlap that of such an input if it starts early enough: together they
take fewer bytes than apart.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from memaopt.alignment import align
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator

InPlace = Callable[[Graph, Operator], tuple[int, ...]]
"""For an operator, the positions of the inputs whose bytes its output may take."""


class Lead(NamedTuple):
    """The output may overlap the (first) input if it starts at least ``bytes`` before it (negative: or so many behind
    it), at a distance that is a multiple of ``step``."""

    bytes: int
    step: int = 1

    def allows(self, distance: int) -> bool:
        """Whether the output may start ``distance`` bytes before the input."""
        return distance >= self.bytes and distance % self.step == 0


Leads = Callable[[Graph, Operator], Lead | None]
"""For an operator, how its output may overlap its first input; None if it may not."""

MAX_WORK = 4_000_000
"""Of the search for the best order: steps tried times blocks looked at, a few seconds."""
MAX_GREEDY = 256
"""Operators of a network whose order is chosen greedily where the search takes too long."""


def elementwise_in_place(graph: Graph, op: Operator) -> tuple[int, ...]:
    """Elementwise operators may overwrite an input of the output's size and shape (no broadcasting)."""
    return op.in_place(graph)


def no_leads(graph: Graph, op: Operator) -> Lead | None:
    """No output overlaps an input."""
    return None


@dataclass
class Lifetime:
    """Bytes that are alive from the step ``first`` to the step ``last`` (inclusive), for all its tensors in turn."""

    tensors: list[int]
    size: int
    first: int
    last: int = -1


@dataclass(frozen=True)
class ArenaProblem:
    """A network seen as blocks: what the arena must hold, whatever the order.

    ``roots`` maps each tensor of the arena to the first tensor of its alias class; ``scratch`` has bytes for each
    operator. Sizes are aligned.
    """

    graph: Graph
    alignment: int
    in_place: InPlace
    scratch: Mapping[int, int]
    roots: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    readers: dict[int, int] = field(default_factory=dict)
    """For each root, the operators (as a bit mask) that read its class, aliases themselves not counted."""
    kept: frozenset[int] = frozenset()
    """Roots of the network's outputs, which live to the end."""
    leads: Mapping[int, Lead] = field(default_factory=dict)
    """Of operators (by position) that fill a root and whose first input is in the arena, in aligned bytes."""

    def writes(self, position: int) -> int | None:
        """The root that an operator fills, None for an alias or a tensor outside the arena."""
        output = self.graph.operators[position].output
        return output if self.roots.get(output) == output else None

    def overwritten(self, position: int, done: int) -> int | None:
        """The root whose bytes the operator's output takes, when ``done`` (a mask) ran before it."""
        output = self.writes(position)
        if output is None:
            return None
        op = self.graph.operators[position]
        others = ~(done | 1 << position)
        for i in self.in_place(self.graph, op):
            root = self.roots.get(op.inputs[i])
            if root is None or root in self.kept or self.readers[root] & others:
                continue
            if self.sizes[root] >= self.sizes[output]:
                return root
        return None

    def overlapped(self, position: int, done: int) -> int | None:
        """The root that the operator's output may overlap, when ``done`` ran before it; it dies there."""
        if position not in self.leads or self.overwritten(position, done) is not None:
            return None
        root = self.roots[self.graph.operators[position].inputs[0]]
        return None if root in self.kept or self.readers[root] & ~(done | 1 << position) else root

    def live(self, done: int) -> int:
        """Bytes that are alive between operators, when ``done`` ran."""
        producers, inputs = self.graph.producers, self.graph.inputs
        total = 0
        for root, size in self.sizes.items():
            written = root in inputs or done >> producers[root] & 1
            if written and (root in self.kept or self.readers[root] & ~done):
                total += size
        return total

    def during(self, position: int, done: int) -> int:
        """Bytes that are alive while an operator runs: its inputs, its output, its scratch and what waits."""
        output = self.writes(position)
        extra = self.scratch.get(position, 0)
        if output is not None and self.overwritten(position, done) is None:
            dying = self.overlapped(position, done)
            size = self.sizes[output]
            extra += size if dying is None else joint(self.sizes[dying], size, self.leads[position]) - self.sizes[dying]
        return self.live(done) + extra


def joint(size_in: int, size_out: int, lead: Lead) -> int:
    """The fewest bytes that an input and an output which may overlap take together."""
    distance = align(max(lead.bytes, 0), lead.step)
    return min(size_in + size_out, max(size_out, size_in + distance))


def roots_of(graph: Graph, external: Collection[int] = ()) -> dict[int, int]:
    """The first tensor of each activation's alias class; states, an input that comes by rows, ``external`` tensors and
    their aliases have none."""
    roots: dict[int, int] = {}
    outside: set[int] = {*external, *graph.outside, *graph.nowhere}
    for tensor in graph.inputs:
        if tensor not in outside:
            roots[tensor] = tensor
    for op in graph.operators:
        if op.alias and (op.input in roots or op.input in outside):
            if op.input in outside:
                outside.add(op.output)
            elif op.output not in outside:
                roots[op.output] = roots[op.input]
        elif op.output not in outside:
            roots[op.output] = op.output
    return roots


def problem(
    graph: Graph,
    alignment: int,
    in_place: InPlace,
    scratch: Mapping[int, int],
    external: Collection[int],
    leads: Leads = no_leads,
) -> ArenaProblem:
    """Group tensors into alias classes; states, ``external`` tensors and their aliases are not in the arena."""
    roots = roots_of(graph, external)
    sizes = {root: align(graph.tensors[root].nbytes, alignment) for root in roots.values()}
    readers = dict.fromkeys(sizes, 0)
    for position, op in enumerate(graph.operators):
        alias = op.alias and op.output in roots and roots[op.output] != op.output
        for tensor in op.inputs:
            if tensor in roots and not alias:
                readers[roots[tensor]] |= 1 << position
    kept = frozenset(roots[tensor] for tensor in graph.outputs if tensor in roots)
    aligned = {position: align(size, alignment) for position, size in scratch.items() if size}
    bare = ArenaProblem(graph, alignment, in_place, aligned, roots, sizes, readers, kept)
    return ruled(bare, in_place, leads, range(len(graph.operators)))


def ruled(p: ArenaProblem, in_place: InPlace, leads: Leads, positions: Iterable[int]) -> ArenaProblem:
    """The problem with other rules for how operators share bytes; ``leads`` counts for those at ``positions``."""
    found: dict[int, Lead] = {}
    for position in positions:
        op = p.graph.operators[position]
        lead = leads(p.graph, op)
        if lead is None:
            continue
        read = [p.roots.get(tensor) for tensor in op.inputs]
        # What is read as another input too is not done with when the first input is.
        if p.roots.get(op.output) == op.output and read[0] is not None and read.count(read[0]) == 1:
            # Distances between offsets are multiples of the alignment.
            step = math.lcm(lead.step, p.alignment)
            found[position] = Lead(align(lead.bytes, step), step)
    return replace(p, in_place=in_place, leads=found)


def peak(p: ArenaProblem, order: Sequence[int]) -> tuple[int, int]:
    """The largest live set of an order in bytes, and the operator at which it is first reached."""
    done, best, at = 0, p.live(0), order[0] if order else 0
    for position in order:
        during = p.during(position, done)
        if during > best:
            best, at = during, position
        done |= 1 << position
    return best, at


def best_order(p: ArenaProblem) -> tuple[tuple[int, ...], bool]:
    """An order with the least peak, and whether that was proven; the given order wins ties.

    Dijkstra over sets of executed operators, the cost of a path being its greatest live set. Where that takes too
    long, the better of the given order and a greedy one.
    """
    graph = p.graph
    count = len(graph.operators)
    given = tuple(range(count))
    needs = [sum({1 << i for i in _before(graph, position)}) for position in given]
    everything = (1 << count) - 1
    limit, _ = peak(p, given)
    steps = MAX_WORK // max(count, 1)
    heap: list[tuple[int, int, int]] = [(p.live(0), 0, 0)]
    best: dict[int, int] = {0: p.live(0)}
    previous: dict[int, tuple[int, int]] = {}
    while heap:
        cost, _, done = heapq.heappop(heap)
        if cost > best[done]:
            continue
        if cost >= limit:
            return given, True
        if done == everything:
            return _path(previous, done), True
        steps -= 1
        for position in given:
            if done >> position & 1 or needs[position] & ~done:
                continue
            steps -= 1
            if steps < 0:
                greedy = _greedy_order(p, needs) if count <= MAX_GREEDY else given
                return min(given, greedy, key=lambda order: peak(p, order)[0]), False
            following = done | 1 << position
            reached = max(cost, p.during(position, done))
            if reached < best.get(following, limit):
                best[following] = reached
                previous[following] = (done, position)
                heapq.heappush(heap, (reached, -following.bit_count(), following))
    return given, True


def _before(graph: Graph, position: int) -> set[int]:
    """What runs before an operator: what writes its inputs, and what reads the state that it writes."""
    made = {graph.producers[t] for t in graph.operators[position].inputs if t in graph.producers}
    return made | set(graph.after.get(position, ()))


def _greedy_order(p: ArenaProblem, needs: Sequence[int]) -> tuple[int, ...]:
    """Always the operator that leaves the fewest bytes alive, the given order deciding ties."""
    done, order = 0, []
    for _ in needs:
        ready = [i for i, need in enumerate(needs) if not done >> i & 1 and not need & ~done]
        best = min(ready, key=lambda i: (p.live(done | 1 << i), p.during(i, done), i))
        order.append(best)
        done |= 1 << best
    return tuple(order)


def _path(previous: Mapping[int, tuple[int, int]], done: int) -> tuple[int, ...]:
    order: list[int] = []
    while done:
        done, position = previous[done]
        order.append(position)
    return tuple(reversed(order))


def blocks(p: ArenaProblem, order: Sequence[int]) -> list[Lifetime]:
    """The blocks of an order, steps counted from 0; network inputs are there from step 0."""
    graph = p.graph
    made: dict[int, Lifetime] = {}
    for tensor in graph.inputs:
        if p.roots.get(tensor) == tensor:
            made[tensor] = Lifetime([tensor], p.sizes[tensor], 0, 0)
    done = 0
    for step, position in enumerate(order):
        op = graph.operators[position]
        for tensor in op.inputs:
            if tensor in p.roots:
                made[p.roots[tensor]].last = step
        output = p.writes(position)
        if output is not None:
            taken = p.overwritten(position, done)
            if taken is None:
                made[output] = Lifetime([], p.sizes[output], step)
            else:
                made[output] = made[taken]
            made[output].last = step
        if op.output in p.roots:
            block = made[p.roots[op.output]]
            block.tensors.append(op.output)
        done |= 1 << position
    for root in p.kept:
        made[root].last = len(order) - 1
    unique = {id(block): block for block in made.values()}
    return list(unique.values())


def overlapping(p: ArenaProblem, order: Sequence[int], made: Sequence[Lifetime]) -> list[tuple[int, int, Lead]]:
    """The pairs of blocks (input, output) that may overlap at the step where one ends and the other begins."""
    number = {tensor: i for i, block in enumerate(made) for tensor in block.tensors}
    pairs, done = [], 0
    for step, position in enumerate(order):
        dying = p.overlapped(position, done)
        if dying is not None:
            i, j = number[dying], number[p.graph.operators[position].output]
            # An alias that nobody reads may keep the input's block.
            if made[i].last == step == made[j].first:
                pairs.append((i, j, p.leads[position]))
        done |= 1 << position
    return pairs
