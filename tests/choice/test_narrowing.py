"""A problem narrowed to what may cost less than a price."""

from __future__ import annotations

import itertools

import pytest
from choice_helpers import agree, by_price, network, places
from network_helpers import MCU

from memaopt.choice import choice
from memaopt.choice.narrowing import narrowed
from memaopt.choice.prices import Prices
from memaopt.choice.problem import prepare
from memaopt.choice.solution import search


@pytest.mark.parametrize("setting", ["stock", "ram"])
@pytest.mark.parametrize("seed", range(6))
def test_all_that_costs_less_is_left(seed: int, setting: str) -> None:
    """Catches a candidate that is left out although a choice below the price has it, be it one that another replaces
    but for how it packs; picks that stand for others; and a problem that is not narrowed at all."""
    problem = prepare(network(seed), MCU.in_setting(setting))
    prices = Prices(problem.stages, problem.limits, "cycles")
    best = search(problem, "cycles", known=prices).choice
    assert best is not None
    assert narrowed(problem, prices, best.price) is None or search(problem, "cycles", best.price).choice is None
    below = best.price + best.price // 50
    part = narrowed(problem, prices, below)
    assert part is not None
    assert sum(len(kept) for kept in part.kept) < sum(len(stage.candidates) for stage in problem.stages)
    rows = [list(range(len(stage.candidates))) for stage in problem.stages]
    cheap = itertools.takewhile(lambda found: found[0] < below, by_price(problem, rows, "cycles"))
    for _, picks in itertools.islice(cheap, 2000):
        taken = list(problem.taken(picks).values())
        flash = choice.flash_bytes(taken, problem.limits.flash_overhead)
        if agree(problem, picks) and places(taken) and flash <= (problem.limits.flash or flash):
            copied = all(c.pays for c in taken)
            assert not copied or all(j in kept for j, kept in zip(picks, part.kept, strict=True))
    inside = search(part.problem, "cycles", known=prices).choice
    assert inside is not None
    assert (part.whole(inside.picks), inside.price) == (best.picks, best.price)
