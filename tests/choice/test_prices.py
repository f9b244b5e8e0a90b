"""Candidates that are priced when the search wants them."""

from __future__ import annotations

from typing import cast

import pytest
from network_helpers import MCU

from memaopt.choice import invoke, labels
from memaopt.choice.in_ram import least_stall
from memaopt.choice.offers import Offers
from memaopt.choice.prices import price_of
from memaopt.choice.problem import Problem, prepare
from memaopt.choice.solution import search
from memaopt.kernels.around import piece
from memaopt.kernels.code import Loop
from memaopt.machines.mcu import Mcu, mcu
from memaopt.models.waits import timing, waiting
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.words import Objective


def _problem(machine: Mcu, arena: int | None = None) -> Problem:
    """A convolution, a depthwise layer and a second convolution."""
    b = Builder("three", (1, 8, 8, 4), 1)
    x = b.conv_2d(b.input, 16, Size2D(1, 1), Activation.RELU)
    x = b.depthwise_conv_2d(x, Activation.RELU)
    return prepare(b.finish(b.conv_2d(x, 16, Size2D(1, 1))), machine, arena=arena)


@pytest.mark.parametrize("code", [0, 700, 1_300, 60_000])
@pytest.mark.parametrize("arena", [None, 2_000, 1_500])
def test_the_best_choice_without_the_price_of_all(code: int, arena: int | None) -> None:
    """Catches a floor above a price, a choice taken before all of it was priced, copies that do not pay, a candidate
    that is passed over though it takes less of a short budget, and waiting that is priced for everything."""
    problem = _problem(MCU.with_ram(code=code, constants=300), arena)
    found = search(problem, "cycles")
    assert found.choice is not None
    candidates = [candidate for stage in problem.stages for candidate in stage.candidates]
    assert sum("stall_cycles" in vars(candidate) for candidate in candidates) < len(candidates) / 3
    assert all(candidate.pays for candidate in problem.taken(found.choice.picks).values())
    assert all(candidate.floor("cycles") <= candidate.cycles for candidate in candidates)
    every = labels.search(Offers(problem.stages, problem.plain, problem.limits), price=price_of("cycles"))
    assert every.proven
    assert found.choice.price == every.value


@pytest.mark.parametrize("objective", ["cycles", "bytes"])
def test_the_answer_does_not_depend_on_what_was_asked_before(objective: str) -> None:
    """Catches prices that are left over from another search and decide between equals."""
    problem, goal = _problem(MCU), cast("Objective", objective)
    first = search(problem, goal)
    for stage in problem.stages:
        assert all(candidate.cycles >= 0 for candidate in stage.candidates)
    assert search(problem, goal) == first


@pytest.mark.parametrize("name", ["stm32l4r5", "stm32f446", "nrf52840"])
def test_floors_are_below_prices(name: str) -> None:
    """Catches a floor above what a candidate costs, one that shows of no kernel that it is hopeless, and one that
    decides what is promised in place of the model of waiting."""
    close = 0
    for setting in mcu(name).settings:
        problem = _problem(mcu(name, setting=setting.name))
        machine = timing(problem.mcu) if problem.mcu is not None else None
        assert machine is not None
        for candidate in (candidate for stage in problem.stages for candidate in stage.candidates):
            floor, least = candidate.floor("cycles"), candidate.least("cycles")
            assert floor <= least <= candidate.cycles
            close += least - floor > (candidate.cycles - floor) / 5
            code = (Loop((piece(invoke.CALL), *candidate.plan.code), candidate.batch),)
            waits = waiting(code, machine, candidate.where.code, candidate.where.data)
            assert least_stall(candidate.plan, candidate.batch, candidate.where, machine) <= waits
    assert close or name == "nrf52840"  # whose cache holds every kernel, and has no branches in this model without it
