"""Which tensors of a network suit its kernels best outside the chip, by what these access there and the room they need.

A shortest path along the order of execution over the tensors inside that are still to be read. A step is an operator,
computed by any of its plans that fit beside them, at the least that it costs with its inputs and its output where they
are, in the formats that they have. So no choice of kernels, with whatever tensors outside, costs less in this order:
what a choice has to agree on besides (flash, addresses, waiting that is not known yet) makes it dearer if anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from memaopt.choice.choice import Candidate, fits
from memaopt.choice.fusion import DEFERRED
from memaopt.choice.paths import Formats
from memaopt.choice.stages import Stages
from memaopt.errors import UnfinishedError
from memaopt.kernels.registry import Format
from memaopt.memory.liveness import ArenaProblem
from memaopt.networks.graph import Graph
from memaopt.problems.words import Objective

_MOST_STATES = 2_000


class Suited(NamedTuple):
    """The tensors (alias roots) outside, and what no choice is below, whichever are there."""

    away: frozenset[int]
    bound: int


class WalkState(NamedTuple):
    """The tensors inside that are still to be read, the operator that is left to the one after it, and the formats of
    what is still to be read, where they are not plain int8."""

    inside: frozenset[int]
    left: int | None = None
    formats: Formats = frozenset()


class WalkStep(NamedTuple):
    """What an operator may do: the state afterwards, its output if that is outside, and the candidates it may do it
    with; None where it does nothing that costs."""

    state: WalkState
    away: int | None
    offer: WalkOffer | None


class WalkOffer(NamedTuple):
    """Candidates that agree in formats, of one operator, with so much inside while it runs."""

    position: int
    during: frozenset[int]
    fused: bool
    formats: tuple[Format, Format]


#: What was paid, and the tensors outside.
_Path = tuple[int, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class PlaceWalk:
    """The steps along the order of execution, operator by operator."""

    stages: Stages
    _made: dict[tuple[int, frozenset[int]], tuple[WalkOffer, ...]] = field(default_factory=dict)
    _candidates: dict[WalkOffer, tuple[Candidate, ...]] = field(default_factory=dict)
    _deferred: set[int] = field(default_factory=set)

    @cached_property
    def everything(self) -> ArenaProblem:
        """What is alive when, if all is inside but the ends that are asked to be outside."""
        return self.stages.inside(self.ends)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Inputs and outputs outside."""
        return self.stages.allowed.ends_away(self.stages.graph)

    @cached_property
    def roots(self) -> frozenset[int]:
        """All tensors, by the first of their alias class."""
        return frozenset(self.everything.sizes) | self.ends

    @cached_property
    def start(self) -> WalkState:
        """That of the network's inputs."""
        known = self.everything.roots
        return WalkState(frozenset(known[t] for t in self.stages.graph.inputs if t in known))

    @cached_property
    def _fixed(self) -> frozenset[int]:
        """What is inside whatever is chosen."""
        return self.start.inside | self.everything.kept

    @cached_property
    def _plain(self) -> frozenset[int]:
        graph, roots = self.stages.graph, self.stages.roots
        return frozenset(roots.get(t, t) for t in (*graph.inputs, *graph.outputs))

    def candidates(self, offer: WalkOffer) -> tuple[Candidate, ...]:
        """Those of an offer of a step, within the limits."""
        return self._candidates[offer]

    def steps(self, i: int, done: int, state: WalkState) -> Iterator[WalkStep]:
        """What the operator at position ``i`` may do, before which those of ``done`` ran, a mask."""
        graph, stages = self.stages.graph, self.stages
        output = stages.roots.get(graph.operators[i].output, graph.operators[i].output)
        after = done | 1 << i
        for during, out in self.places(i, state.inside):
            if i not in stages.lowered:
                yield WalkStep(self.left(state._replace(inside=during), after), out, None)
                continue
            offers = self._offers(i, done, during)
            lies = dict(state.formats)
            read = {lies.get(stages.roots.get(t, t), Format.S8) for t in stages.lowered[i].inputs}
            for offer in offers:
                asked, written = offer.formats
                fits_state = (
                    (not offer.fused and read == {asked})
                    if state.left is None
                    else (offer.fused and state.left == stages.pairs.get(i))
                )
                if fits_state and (written is Format.S8 or output not in self._plain):
                    formats = state.formats if written is Format.S8 else state.formats | {(output, written)}
                    yield WalkStep(self.left(WalkState(during, None, formats), after), out, offer)
            if i in self._deferred and out is None and state.left is None and read == {Format.S8}:
                # What it would have written lies nowhere.
                yield WalkStep(self.left(WalkState(state.inside, i, state.formats), after), None, None)

    def left(self, state: WalkState, done: int) -> WalkState:
        """Of a state what is still to be read when those of ``done`` ran."""
        everything, held = self.everything, set[int | None]()
        if state.left is not None:
            held = {everything.roots.get(t) for t in self.stages.graph.operators[state.left].inputs}
        inside = (r for r in state.inside if r in everything.kept or r in held or everything.readers[r] & ~done)
        formats = ((r, f) for r, f in state.formats if r in held or everything.readers[r] & ~done)
        return WalkState(frozenset(inside), state.left, frozenset(formats))

    def places(self, i: int, inside: frozenset[int]) -> Iterator[tuple[frozenset[int], int | None]]:
        """What is inside while an operator writes its output, and that where it is outside."""
        made = self.everything.writes(i)
        yield inside if made is None else inside | {made}, None
        if made is not None and made not in self._fixed:
            yield inside, made

    def _offers(self, i: int, done: int, during: frozenset[int]) -> tuple[WalkOffer, ...]:
        """What the operator at position ``i`` can be with these tensors inside, as far as it fits."""
        if (i, during) not in self._made:
            away = self.roots - during
            found: dict[WalkOffer, list[Candidate]] = {}
            for candidate in self.stages.of(i, done, away, self.stages.inside(away)).candidates:
                plan = candidate.plan
                if plan is DEFERRED:
                    self._deferred.add(i)
                elif fits(candidate, self.stages.limits):
                    fused, formats = plan.input_format is Format.FUSED, (plan.input_format, plan.output_format)
                    found.setdefault(WalkOffer(i, during, fused, formats), []).append(candidate)
            self._candidates.update((offer, tuple(each)) for offer, each in found.items())
            self._made[i, during] = tuple(found)
        return self._made[i, during]


def suited(stages: Stages, objective: Objective) -> Suited | None:
    """The tensors outside of the cheapest path; None if there is none. Inputs and outputs of the network are where they
    are asked for.

    Raises UnfinishedError where too many tensors are alive at once.
    """
    walk = PlaceWalk(stages)
    least: dict[WalkOffer, int] = {}
    paths: dict[WalkState, _Path] = {walk.start: (0, ())}
    done = 0
    for i in stages.order:
        found: dict[WalkState, _Path] = {}
        for state, (paid, gone) in paths.items():
            for step in walk.steps(i, done, state):
                if step.offer is not None and step.offer not in least:
                    least[step.offer] = min(c.floor(objective) for c in walk.candidates(step.offer))
                price = 0 if step.offer is None else least[step.offer]
                more = gone if step.away is None else tuple(sorted((*gone, step.away)))
                path = paid + price, more
                found[step.state] = min(found.get(step.state, path), path)
        done |= 1 << i
        paths = found
        demand_few(stages.graph, len(paths))
    if not paths:
        return None
    price, gone = min(paths.values())
    return Suited(frozenset(gone) | walk.ends, price)


def demand_few(graph: Graph, states: int) -> None:
    """UnfinishedError where there are too many states at a position."""
    if states > _MOST_STATES:
        raise UnfinishedError(f"{graph.name}: too many tensors are alive at once to place them outside the chip")
