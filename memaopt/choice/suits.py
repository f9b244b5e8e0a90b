"""Which tensors of a network suit its kernels best outside the chip, by what these access there and the room they need.

A shortest path along the order of execution over the tensors inside that are still to be read. A step is an operator,
computed by any of its plans that fit beside them, at the least that it costs with its inputs and its output where they
are, in the formats that they have. So no choice of kernels, with whatever tensors outside, costs less in this order:
what a choice has to agree on besides (flash, addresses, waiting that is not known yet) makes it dearer if anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from memaopt.choice.choice import fits
from memaopt.choice.fusion import DEFERRED
from memaopt.choice.paths import Formats
from memaopt.choice.stages import Stages
from memaopt.errors import UnfinishedError
from memaopt.kernels.registry import Format
from memaopt.problems.words import Objective

_MOST_STATES = 2_000


class Suited(NamedTuple):
    """The tensors (alias roots) outside, and what no choice is below, whichever are there."""

    away: frozenset[int]
    bound: int


class _State(NamedTuple):
    """The tensors inside that are still to be read, the operator that is left to the one after it, and the formats of
    what is still to be read, where they are not plain int8."""

    inside: frozenset[int]
    left: int | None = None
    formats: Formats = frozenset()


#: What was paid, and the tensors outside.
_Path = tuple[int, tuple[int, ...]]


class _Least(NamedTuple):
    """What an operator costs at least by itself, by the formats that it reads and writes, and together with the one
    before it, by that which it writes, as far as something fits. Whether it may be left to the one after it."""

    alone: Mapping[tuple[Format, Format], int]
    fused: Mapping[Format, int]
    deferred: bool


def suited(stages: Stages, objective: Objective) -> Suited | None:
    """The tensors outside of the cheapest path; None if there is none. Inputs and outputs of the network are where they
    are asked for.

    Raises UnfinishedError where too many tensors are alive at once.
    """
    graph, ends = stages.graph, stages.allowed.ends_away(stages.graph)
    everything = stages.inside(ends)
    roots = frozenset(everything.sizes) | ends
    start = frozenset(everything.roots[t] for t in graph.inputs if t in everything.roots)
    fixed = start | everything.kept
    plain = frozenset(stages.roots.get(t, t) for t in (*graph.inputs, *graph.outputs))
    paths: dict[_State, _Path] = {_State(start): (0, ())}
    done = 0
    for i in stages.order:
        made, known = everything.writes(i), dict[frozenset[int], _Least]()
        output = stages.roots.get(graph.operators[i].output, graph.operators[i].output)
        found: dict[_State, _Path] = {}
        for state, (paid, gone) in paths.items():
            for during, out in _places(state.inside, made, fixed):
                more = gone if out is None else tuple(sorted((*gone, out)))
                if i not in stages.lowered:
                    _keep(found, state._replace(inside=during), (paid, more))
                    continue
                if during not in known:
                    known[during] = _least(stages, objective, i, done, roots - during)
                least, lies = known[during], dict(state.formats)
                read = {lies.get(stages.roots.get(t, t), Format.S8) for t in stages.lowered[i].inputs}
                ways = {written: price for (asked, written), price in least.alone.items() if read == {asked}}
                if state.left is not None:
                    ways = dict(least.fused) if state.left == stages.pairs.get(i) else {}
                for written, price in ways.items():
                    if written is Format.S8:
                        _keep(found, _State(during, None, state.formats), (paid + price, more))
                    elif output not in plain:
                        after = state.formats | {(output, written)}
                        _keep(found, _State(during, None, after), (paid + price, more))
                if least.deferred and out is None and state.left is None and read == {Format.S8}:
                    # What it would have written lies nowhere.
                    _keep(found, _State(state.inside, i, state.formats), (paid, gone))
        done |= 1 << i
        paths = {}
        for state, path in found.items():
            held = (
                {everything.roots.get(t) for t in graph.operators[state.left].inputs}
                if state.left is not None
                else set()
            )
            kept = (r for r in state.inside if r in everything.kept or r in held or everything.readers[r] & ~done)
            formats = ((r, f) for r, f in state.formats if r in held or everything.readers[r] & ~done)
            _keep(paths, _State(frozenset(kept), state.left, frozenset(formats)), path)
        if len(paths) > _MOST_STATES:
            raise UnfinishedError(f"{graph.name}: too many tensors are alive at once to place them outside the chip")
    if not paths:
        return None
    price, gone = min(paths.values())
    return Suited(frozenset(gone) | ends, price)


def _places(
    inside: frozenset[int], made: int | None, fixed: frozenset[int]
) -> Iterator[tuple[frozenset[int], int | None]]:
    """What is inside while an operator runs, and its output where that is outside."""
    yield inside if made is None else inside | {made}, None
    if made is not None and made not in fixed:
        yield inside, made


def _keep(paths: dict[_State, _Path], state: _State, path: _Path) -> None:
    """The better of two paths to a state."""
    paths[state] = min(paths.get(state, path), path)


def _least(stages: Stages, objective: Objective, i: int, done: int, away: frozenset[int]) -> _Least:
    """What the operator at position ``i`` costs with these tensors outside."""
    candidates = stages.of(i, done, away, stages.inside(away)).candidates
    alone: dict[tuple[Format, Format], int] = {}
    fused: dict[Format, int] = {}
    for candidate in candidates:
        plan = candidate.plan
        if plan is not DEFERRED and fits(candidate, stages.limits):
            price, written = candidate.floor(objective), plan.output_format
            if plan.input_format is Format.FUSED:
                fused[written] = min(fused.get(written, price), price)
            else:
                formats = plan.input_format, written
                alone[formats] = min(alone.get(formats, price), price)
    return _Least(alone, fused, any(candidate.plan is DEFERRED for candidate in candidates))
