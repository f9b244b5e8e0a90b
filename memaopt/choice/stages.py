"""What each operator that runs could be: its candidates, by which tensors are inside and what is alive then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from memaopt.access import Access
from memaopt.alignment import align
from memaopt.choice import fusion
from memaopt.choice.choice import Budgets, Candidate, Stage
from memaopt.choice.in_ram import Where, copyable
from memaopt.choice.placement import Sites
from memaopt.kernels.registry import Format, Plan
from memaopt.machines.memory import Memory
from memaopt.memory import liveness
from memaopt.memory.liveness import ArenaProblem, InPlace, Lead, Leads, elementwise_in_place
from memaopt.models.fetching import FlashTiming, Outside
from memaopt.models.outside import moving
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Lowered, Operator, Pairwise
from memaopt.problems.layers import Conv, FullyConnected

#: What tensors, scratch memory and states begin at multiples of.
ALIGNMENT = 16
#: The frame of ``invoke`` and what the layers' C around the kernels needs; the kernels' own stack comes on top.
_FRAME = 160


def stack_bytes(chosen: Iterable[Plan]) -> int:
    """An estimate of what ``invoke`` puts on the stack with these plans."""
    return align(_FRAME + max((plan.stack_bytes for plan in chosen), default=0), ALIGNMENT)


def places_of(plan: Plan, limits: Budgets, allowed: Sites) -> tuple[Where, ...]:
    """Where a plan's code and constants may live within budgets."""
    code, data = bool(limits.code_ram), bool(limits.constants_ram)
    apart = plan.channel_bytes > 0
    if apart and not allowed.apart:
        return ()
    dma = allowed.dma
    if plan.dma and (dma is None or max(plan.dma) > dma.most_words):
        return ()
    # What is apart is so for what lies outside, and from there a DMA copies.
    choices = tuple(outside for outside in allowed.choices if outside or not (apart or plan.dma))
    return copyable(plan, code=code, data=data, sites=choices)


def in_place_of(graph: Graph, chosen: Mapping[int, Plan], lowered: Mapping[int, Lowered]) -> InPlace:
    """Which inputs the chosen kernels may overwrite, for :func:`memaopt.memory.plan.plan`."""
    by_output = {graph.operators[i].output: i for i in chosen}

    def in_place(graph: Graph, op: Operator) -> tuple[int, ...]:
        i = by_output.get(op.output)
        if i is None or not chosen[i].in_place or graph.tensors[op.input].is_constant:
            return ()
        if isinstance(op, Pairwise):
            # Element by element: either input will do, if no element of it is read again for another output.
            return elementwise_in_place(graph, op)
        if isinstance(lowered[i].layer, Conv | FullyConnected):
            return ()  # only the assembly has read all inputs before it writes; the plain C has not
        sizes = {graph.tensors[op.input].nbytes, graph.tensors[op.output].nbytes}
        return (0,) if lowered[i].batch == 1 or len(sizes) == 1 else ()

    return in_place


def leads_of(graph: Graph, chosen: Mapping[int, Plan], lowered: Mapping[int, Lowered]) -> Leads:
    """How the chosen kernels' outputs may overlap their inputs, for :func:`memaopt.memory.plan.plan`."""
    # A batch's later images would be overwritten by the outputs of its first ones.
    found = {
        graph.operators[i].output: Lead(plan.lead, plan.lead_step)
        for i, plan in chosen.items()
        if plan.lead is not None and lowered[i].batch == 1
    }
    return lambda _, op: found.get(op.output)


class Outer(NamedTuple):
    """The tensors (alias roots) outside the chip, all of them by their roots, and the memory that they are in."""

    away: frozenset[int]
    roots: Mapping[int, int]
    memory: Memory | None

    def accesses(self, plan: Plan, inputs: Sequence[int], output: int) -> Access:
        """What a call of a plan that reads and writes these tensors accesses of those outside."""
        pairs = [*zip(inputs, plan.promise.inputs, strict=True), (output, plan.promise.output)]
        return sum((moved for t, moved in pairs if self.roots.get(t) in self.away), Access())

    def waits(self, moved: Access) -> int:
        """Cycles that these wait."""
        if self.memory is None:
            return 0
        return moving(moved, Outside(self.memory.first, self.memory.next))


@dataclass(frozen=True, eq=False)
class Stages:
    """The candidates of a graph's operators within ``limits`` on a ``machine``: ``options`` are the plans of each that
    runs; ``pairs``, ``roots`` and ``order`` as in :class:`memaopt.choice.problem.Problem`; ``memory``: that tensors may
    be in outside the chip.
    """

    graph: Graph
    lowered: Mapping[int, Lowered]
    pairs: Mapping[int, int]
    options: Mapping[int, tuple[Plan, ...]]
    roots: Mapping[int, int]
    order: tuple[int, ...]
    machine: FlashTiming
    limits: Budgets
    allowed: Sites

    def every(self, away: frozenset[int]) -> Iterator[Stage]:
        """Those of all operators in execution order, with these tensors (alias roots) outside."""
        done, inside = 0, self.inside(away)
        for i in self.order:
            if i in self.lowered:
                yield self.of(i, done, away, inside)
            done |= 1 << i

    def inside(self, away: frozenset[int]) -> ArenaProblem:
        """What is alive when, of the tensors that are not outside."""
        return liveness.problem(self.graph, ALIGNMENT, elementwise_in_place, {}, away)

    def of(self, i: int, done: int, away: frozenset[int], apart: ArenaProblem) -> Stage:
        """That of the operator at position ``i``, before which those of ``done`` ran, a mask; ``apart`` has the tensors
        inside."""
        graph, lowered, pairs, options = self.graph, self.lowered, self.pairs, self.options
        outer = Outer(away, self.roots, self.allowed.tensors)
        op = graph.operators[i]
        views = {False: apart}
        if i in pairs:
            together = fusion.in_memory(graph, [pairs[i]])
            gone = away - {graph.operators[pairs[i]].output}
            views[True] = liveness.problem(together, ALIGNMENT, elementwise_in_place, {}, gone)
        alive: dict[tuple[object, ...], int] = {}
        for plan in options[i]:
            if sharing(plan) not in alive:
                in_place, leads = in_place_of(graph, {i: plan}, lowered), leads_of(graph, {i: plan}, lowered)
                view = liveness.ruled(views[plan.input_format is Format.FUSED], in_place, leads, [i])
                alive[sharing(plan)] = view.during(i, done)
        read = {False: lowered[i].inputs, True: lowered[pairs[i]].inputs if i in pairs else ()}
        candidates = []
        for plan, places in self._placed[i]:
            moved = outer.accesses(plan, read[plan.input_format is Format.FUSED], op.output)
            candidates += [
                Candidate(
                    plan,
                    lowered[i].batch,
                    alive[sharing(plan)] + align(plan.scratch_bytes, ALIGNMENT),
                    stack_bytes((plan,)),
                    where,
                    self.machine,
                    moved,
                    outer.waits(moved),
                )
                for where in places
            ]
        if fusion.DEFERRED in options[i]:
            candidates.append(Candidate(fusion.DEFERRED, lowered[i].batch, 0))
        inputs = tuple(self.roots.get(t) for t in lowered[i].inputs)
        return Stage(tuple(candidates), inputs, self.roots.get(op.output, op.output))

    @cached_property
    def _placed(self) -> dict[int, list[tuple[Plan, tuple[Where, ...]]]]:
        """The plans of each operator, with where code and constants may live."""
        return {
            i: [(plan, places_of(plan, self.limits, self.allowed)) for plan in found if plan is not fusion.DEFERRED]
            for i, found in self.options.items()
        }


def sharing(plan: Plan) -> tuple[object, ...]:
    """What decides which bytes are alive while a plan runs."""
    return plan.input_format is Format.FUSED, plan.in_place, plan.lead, plan.lead_step
