"""Candidates that are priced when the search wants them."""

from __future__ import annotations

import pytest
from network_helpers import MCU

from memaopt.choice import labels
from memaopt.choice.prices import price_of
from memaopt.choice.problem import prepare
from memaopt.choice.solution import search
from memaopt.networks.zoo import zoo

DS_CNN = zoo.build("ds_cnn")


@pytest.mark.parametrize("setting", ["stock", "ram"])
@pytest.mark.parametrize("arena", [None, 20_000])
def test_the_best_choice_without_the_price_of_all(setting: str, arena: int | None) -> None:
    """Catches a floor above a price, a choice taken before all of it was priced, copies that do not pay, and waiting
    that is priced for everything."""
    problem = prepare(DS_CNN, MCU.in_setting(setting), arena=arena)
    found = search(problem, "cycles")
    assert found.choice is not None
    candidates = [candidate for stage in problem.stages for candidate in stage.candidates]
    assert sum("stall_cycles" in vars(candidate) for candidate in candidates) < len(candidates) / 2
    assert all(candidate.pays for candidate in problem.taken(found.choice.picks).values())
    assert all(candidate.floor("cycles") <= candidate.cycles for candidate in candidates)
    every = labels.search(problem.stages, problem.plain, problem.limits, price=price_of("cycles"))
    assert every.proven
    assert found.choice.price == every.value


@pytest.mark.parametrize("objective", ["cycles", "bytes"])
def test_the_answer_does_not_depend_on_what_was_asked_before(objective: str) -> None:
    """Catches prices that are left over from another search and decide between equals."""
    problem = prepare(DS_CNN, MCU)
    first = search(problem, objective)  # type: ignore[arg-type]
    for stage in problem.stages:
        assert all(candidate.cycles >= 0 for candidate in stage.candidates)
    assert search(problem, objective) == first  # type: ignore[arg-type]
