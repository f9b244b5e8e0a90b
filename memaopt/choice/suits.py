"""Which tensors of a network suit its kernels best outside the chip, by what these access there and the room they need.

A shortest path along the order of execution over the tensors inside that are still to be read. A step is an operator,
computed by any of its plans that fit beside them, at the least that it costs with its inputs and its output where they
are. So no choice of kernels, with whatever tensors outside, costs less in this order: what a choice has to agree on
besides (formats, flash, addresses, waiting that is not known yet) makes it dearer if anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from memaopt.choice.choice import fits
from memaopt.choice.fusion import DEFERRED
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
    """The tensors inside that are still to be read, and the operator that is left to the one after it."""

    inside: frozenset[int]
    left: int | None = None


#: What was paid, and the tensors outside.
_Path = tuple[int, tuple[int, ...]]


class _Least(NamedTuple):
    """What an operator costs at least by itself, and together with the one before it; None where nothing fits. Whether
    it may be left to the one after it."""

    alone: int | None
    fused: int | None
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
    paths: dict[_State, _Path] = {_State(start): (0, ())}
    done = 0
    for i in stages.order:
        made = everything.writes(i)
        found: dict[_State, _Path] = {}
        for state, (paid, gone) in paths.items():
            for during, out in _places(state.inside, made, fixed):
                least = _Least(0, None, False)
                if i in stages.lowered:
                    least = _least(stages, objective, i, done, roots - during)
                price = least.alone if state.left is None else least.fused
                more = gone if out is None else tuple(sorted((*gone, out)))
                if i not in stages.lowered and state.left is not None:
                    _keep(found, _State(during, state.left), (paid, more))
                elif price is not None and state.left in (None, stages.pairs.get(i)):
                    _keep(found, _State(during), (paid + price, more))
                if least.deferred and out is None and state.left is None:
                    # What it would have written lies nowhere.
                    _keep(found, _State(state.inside, i), (paid, gone))
        done |= 1 << i
        paths = {}
        for state, path in found.items():
            held = (
                {everything.roots.get(t) for t in graph.operators[state.left].inputs}
                if state.left is not None
                else set()
            )
            kept = (r for r in state.inside if r in everything.kept or r in held or everything.readers[r] & ~done)
            _keep(paths, _State(frozenset(kept), state.left), path)
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
    prices: dict[bool, int] = {}
    for candidate in candidates:
        if candidate.plan is not DEFERRED and fits(candidate, stages.limits):
            fused, price = candidate.plan.input_format is Format.FUSED, candidate.floor(objective)
            prices[fused] = min(prices.get(fused, price), price)
    deferred = any(candidate.plan is DEFERRED for candidate in candidates)
    return _Least(prices.get(False), prices.get(True), deferred)
