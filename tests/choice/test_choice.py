"""The choice of kernels against every choice tried by hand, against CP-SAT, and against its own proof."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable

import numpy as np
import pytest
from choice_helpers import MCU, compare, network

from memaopt.access import Access
from memaopt.choice import choice, labels, solution
from memaopt.choice import solver as choice_solver
from memaopt.choice.choice import Budgets, Candidate, Stage
from memaopt.choice.clashes import Clash, demand_of
from memaopt.choice.compile import compile_network
from memaopt.choice.in_ram import Where, constants_room
from memaopt.choice.offers import Offers
from memaopt.choice.problem import prepare
from memaopt.errors import InfeasibleError
from memaopt.kernels.registry import Format, Plan, Promise


def price_of(goal: str) -> Callable[[Candidate], int]:
    return lambda candidate: candidate.price(goal)  # type: ignore[arg-type]


def _candidate(
    rng: np.random.Generator, formats: tuple[Format, ...] = (Format.S8, Format.RAW, Format.FUSED)
) -> Candidate:
    access = Access(int(rng.integers(50)), int(rng.integers(50)))
    kernels = (f"k{rng.integers(3)}",)
    plan = Plan(
        "family",
        "",
        int(rng.integers(1, 150)),
        Promise((access,), access),
        int(rng.integers(50)),
        20 + int(rng.integers(20)),
        kernels=kernels,
        shared_bytes=20,
        scratch_bytes=16 * int(rng.integers(3)),
        in_place=bool(rng.integers(2)),
        input_format=formats[rng.integers(len(formats))],
        output_format=formats[rng.integers(len(formats))],
    )
    where = Where(bool(rng.integers(2)), bool(rng.integers(2)))
    return Candidate(plan, 1, int(rng.integers(10, 100)), int(rng.integers(30)), where)


@pytest.mark.parametrize("seed", range(12))
def test_choice_equals_brute_force(seed: int) -> None:
    """Catches a wrong format, flash, SRAM, placement or sharing constraint: every combination is priced by hand."""
    rng = np.random.default_rng(seed)
    stages = [
        Stage(tuple(_candidate(rng) for _ in range(int(rng.integers(6, 10)))), ((i - 1,) if i else (99,)), i)
        for i in range(4)
    ]
    # A branch: the last stage also reads the first one's output.
    stages[3] = Stage(stages[3].candidates, (2, 0), 3)
    plain = frozenset({99, 3})
    flash, sram = int(rng.integers(150, 400)), int(rng.integers(80, 500))
    budgets = Budgets(flash=flash, sram=sram, flash_overhead=7, code_ram=150)
    best: dict[str, int | None] = {"cycles": None, "bytes": None}
    lightest: int | None = None
    narrowest: dict[str, int | None] = {"arena": None, "sram": None}
    for combination in itertools.product(*(stage.candidates for stage in stages)):
        written = {99: Format.S8, **{i: c.plan.output_format for i, c in enumerate(combination)}}
        fits = written[3] is Format.S8 and all(
            written[t] is c.plan.input_format
            for stage, c in zip(stages, combination, strict=True)
            for t in stage.inputs
            if t is not None
        )
        shared = {c.plan.kernels for c in combination}
        flash = 7 + 20 * len(shared) + sum(c.plan.flash_bytes - 20 for c in combination)
        assert flash == choice.flash_bytes(combination, 7)
        places = {(c.plan.kernels, c.where.code) for c in combination}
        in_ram = 64 * sum(code for _, code in places)
        sram = max(c.arena_bytes for c in combination) + max(c.stack_bytes for c in combination) + in_ram
        sram += sum(constants_room(c.plan) for c in combination if c.where.data)
        # One function has one place.
        fits = fits and len(places) == len(shared)
        if fits:
            for what, value in (("arena", max(c.arena_bytes for c in combination)), ("sram", sram)):
                narrowest[what] = min(narrowest[what] or value, value)
        fits = fits and in_ram <= 150
        if fits and sram <= budgets.sram:
            lightest = min(lightest or flash, flash)
        if fits and flash <= budgets.flash and sram <= budgets.sram:
            for goal, least in best.items():
                price = sum(c.price(goal) for c in combination)  # type: ignore[arg-type]
                best[goal] = price if least is None else min(least, price)
    for goal, least in best.items():
        found = labels.search(Offers(stages, plain, budgets), price=price_of(goal))
        assert (found.value if found.picks else None) == least
        assert found.proven
        solved = choice_solver.solve(stages, plain, budgets, price_of(goal))
        assert (solved.value if solved.picks else None) == least
        assert solved.proven
        if least is not None:
            none = labels.search(Offers(stages, plain, budgets), price=price_of(goal), below=least)
            assert none.proven
            assert none.picks is None
            assert labels.lower_bound(Offers(stages, plain, budgets), price_of(goal)) <= least
    unlimited = dataclasses.replace(budgets, flash=None)
    light = labels.search(Offers(stages, plain, unlimited), least="flash")
    assert (light.value if light.picks else None) == lightest
    for what, least in narrowest.items():
        narrow = labels.search(Offers(stages, plain, Budgets()), least=what)  # type: ignore[arg-type]
        assert (narrow.value if narrow.picks else None) == least


@pytest.mark.parametrize("seed", range(10))
def test_a_clash_rules_out_what_meets_it_and_nothing_else(seed: int) -> None:
    """Catches a clash that is forgotten, or that takes other choices with it: all are tried, with the solver beside."""
    rng = np.random.default_rng(seed)
    count = 4
    stages = [
        Stage(tuple(_candidate(rng, (Format.S8,)) for _ in range(6)), ((i - 1,) if i else (99,)), i)
        for i in range(count)
    ]
    plain, budgets = frozenset({99, count - 1}), Budgets(sram=120, arena=99)
    clashes = []
    for first, last in ((0, 1), (1, 3), (2, 2)):
        rows = [stages[i].candidates[int(rng.integers(6))].plan for i in range(first, last + 1)]
        clashes.append(Clash(first, tuple(demand_of(plan) for plan in rows), int(rng.choice([95, 1000]))))
    least: int | None = None
    for combination in itertools.product(*(stage.candidates for stage in stages)):
        arena = max(c.arena_bytes for c in combination)
        for clash in clashes:
            if all(clash.met(i, combination[i]) for i in range(clash.first, clash.last + 1)):
                arena = max(arena, clash.arena)
        places = {(c.plan.kernels, c.where.code) for c in combination}
        if len(places) > len({kernels for kernels, _ in places}) or arena > 99:
            continue
        if choice.sram_bytes(combination, arena) <= 120:
            price = sum(c.price("cycles") for c in combination)
            least = min(least or price, price)
    found = labels.search(Offers(stages, plain, budgets), price=price_of("cycles"), clashes=clashes)
    assert (found.value if found.picks else None) == least
    solved = choice_solver.solve(stages, plain, budgets, price_of("cycles"), clashes)
    assert (solved.value if solved.picks else None) == least


# Of 13 there are more choices than can be tried.
@pytest.mark.parametrize("seed", [seed for seed in range(21) if seed != 13])
def test_no_choice_that_can_be_placed_is_better(seed: int) -> None:
    """Catches a choice that is dropped although it packs, and one that is called infeasible although it is not: every
    choice is tried, in ever tighter arenas (``python tests/choice_helpers.py 500`` tries more networks)."""
    compared, _ = compare(seed)
    assert compared


def test_many_layers_under_tight_budgets_are_proven() -> None:
    """Catches a search that explodes: 60 operators whose flash binds, with the solver-free proof."""
    problem = prepare(network(2, 60, 60, 14), MCU)
    free = solution.search(problem, "cycles")
    assert free.choice is not None
    taken = list(problem.taken(free.choice.picks).values())
    light = labels.search(Offers(problem.stages, problem.plain, problem.limits), least="flash").value
    flash = choice.flash_bytes(taken, problem.limits.flash_overhead)
    limits = dataclasses.replace(problem.limits, flash=(light + flash) // 2)
    tight = dataclasses.replace(problem, limits=limits)
    found = solution.search(tight, "cycles")
    assert found.choice is not None
    assert found.proof == "enumeration"
    assert found.choice.price > free.choice.price
    assert solution.cheaper(tight, "cycles", found.choice.price) is None
    assert solution.cheaper(tight, "cycles", found.choice.price + 1) == found.choice.price


def test_two_hundred_layers_in_tight_flash_and_arena_are_proven() -> None:
    """Catches a search in which kernels that few layers share make too many labels: most are for two layers that
    lie far apart, with flash and arena both short."""
    problem = prepare(network(4, 200, 200, 14), MCU)
    free = solution.search(problem, "cycles")
    assert free.choice is not None
    assert free.memory is not None
    taken = list(problem.taken(free.choice.picks).values())
    flash = choice.flash_bytes(taken, problem.limits.flash_overhead)
    arena = free.memory.arena_bytes
    limits = dataclasses.replace(problem.limits, flash=flash * 88 // 100, arena=arena * 60 // 100)
    tight = dataclasses.replace(problem, limits=limits)
    found = solution.search(tight, "cycles")
    assert found.choice is not None
    assert found.proof == "enumeration"
    assert solution.cheaper(tight, "cycles", found.choice.price) is None
    assert solution.cheaper(tight, "cycles", found.choice.price + 1) == found.choice.price


def _sharing(seed: int, count: int) -> tuple[list[Stage], frozenset[int], Budgets]:
    """Stages that are fast with a kernel that one other stage can use too, anywhere in the order, and short flash."""
    rng = np.random.default_rng(seed)
    access = Access(1, 1)
    options: list[list[Candidate]] = [[_plain(int(rng.integers(8000, 9000)), 100)] for _ in range(count)]
    for k in range(2 * count):
        size = 4 * int(rng.integers(50, 250))
        for i in rng.choice(count, 2, replace=False):
            cycles, own = int(rng.integers(1000, 8000)), 4 * int(rng.integers(5, 50))
            plan = Plan(
                "f", "", cycles, Promise((access,), access), own + size, size, kernels=(f"k{k}",), shared_bytes=size
            )
            options[i].append(Candidate(plan, 1, 10))
    stages = [Stage(tuple(row), ((i - 1,) if i else (99,)), i) for i, row in enumerate(options)]
    return stages, frozenset({99, count - 1}), Budgets(flash=count * 350)


@pytest.mark.parametrize("seed", [1, 2])
def test_shared_kernels_are_divided_where_it_matters(seed: int) -> None:
    """Catches a bound with each kernel divided equally, and rows that are kept although no good end has them: few
    labels are allowed, and the solver finds the same."""
    stages, plain, budgets = _sharing(seed, 60)
    found = labels.search(Offers(stages, plain, budgets), price=price_of("cycles"), most=100_000)
    assert found.proven
    solved = choice_solver.solve(stages, plain, budgets, price_of("cycles"), units=20)
    assert solved.proven
    assert found.value == solved.value
    assert labels.search(
        Offers(stages, plain, budgets), price=price_of("cycles"), below=found.value, most=100_000
    ).proven


def test_a_large_layer_at_the_end_is_had_or_not() -> None:
    """Catches a bound that takes a fraction of a layer: everything before it would have to be tried."""
    rng = np.random.default_rng(2)
    options = []
    for _ in range(39):
        cycles, flash = int(rng.integers(5000, 9000)), 4 * int(rng.integers(100, 900))
        faster = [(cycles - int(rng.integers(200, 4000)), flash + 4 * int(rng.integers(50, 600))) for _ in range(3)]
        options.append([(cycles, flash), *faster])
    options.append([(90_000, 1000), (10_000, 81_000)])
    stages = [
        Stage(tuple(_plain(*pair) for pair in pairs), ((i - 1,) if i else (99,)), i) for i, pairs in enumerate(options)
    ]
    budget = sum(min(flash for _, flash in pairs) for pairs in options) + 90_000
    found = labels.search(
        Offers(stages, frozenset({99, 39}), Budgets(flash=budget)), price=price_of("cycles"), most=3000
    )
    least = np.zeros(budget + 1, np.int64)
    for pairs in options:
        following = np.full(budget + 1, 1 << 40)
        for cycles, flash in pairs:
            np.minimum(following[flash:], least[: budget + 1 - flash] + cycles, out=following[flash:])
        least = following
    assert found.proven
    assert found.value == least[budget]


def _plain(cycles: int, flash: int) -> Candidate:
    access = Access(1, 1)
    return Candidate(Plan("family", "", cycles, Promise((access,), access), flash, 0), 1, 10)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_sram_that_is_said_to_do_does_and_a_byte_less_does_not(seed: int) -> None:
    """Catches the SRAM of a choice that does not pack into it, given as the least."""
    graph = network(seed)
    with pytest.raises(InfeasibleError, match="needs") as error:
        compile_network(graph, MCU, sram=170)
    said = re.search(r"or sram=(\d+), would do", str(error.value))  # the machine has more
    assert said is not None
    assert compile_network(graph, MCU, sram=int(said[1])).sram_bytes == int(said[1])
    with pytest.raises(InfeasibleError):
        compile_network(graph, MCU, sram=int(said[1]) - 1)
