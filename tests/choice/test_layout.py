"""The layout of RAM against brute force, and on the machines that there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaopt.choice import best, choice, label_walk, labels, solution, unplaced
from memaopt.choice.best import room_of
from memaopt.choice.choice import Candidate
from memaopt.choice.clashes import Clash, copies_of
from memaopt.choice.layout import Layout, place
from memaopt.choice.problem import Problem, prepare
from memaopt.choice.solution import search
from memaopt.machines.mcu import Mcu, mcu, preset_names
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder

KIB = 1 << 10
#: What addresses of memories are multiples of.
UNIT = 0x1000


def _small(size: int, window: tuple[int, int] | None) -> Mcu:
    """A machine whose SRAM and whose window for code are a few units."""
    data = mcu("stm32f446").model_dump()
    data["memories"] = [m for m in data["memories"] if m["name"] in ("flash", "sram")]
    data["memories"][1] |= {"size": size * UNIT, "regions": ()}
    if window is not None:
        offset, length = window
        alias = {"name": "fast", "memory": "sram", "base": 0x1000_0000}
        data["aliases"] = [alias | {"offset": offset * UNIT, "size": length * UNIT}]
        data["code_ram"] = "fast"
    return Mcu.model_validate(data)


def _possible(size: int, window: tuple[int, int], arena: int, stack: int, code: int, constants: list[int]) -> bool:
    """Whether the code fits the window, and arena and constants beside it: every place of the code, every order."""
    offset, length = window
    for at in range(offset, min(offset + length, size - stack) - code + 1):
        for order in permutations([*constants, arena]):
            for sides in product((False, True), repeat=len(order)):
                low = sum(s for s, behind in zip(order, sides, strict=True) if not behind)
                high = sum(order) - low
                if low <= at and at + code + high <= size - stack:
                    return True
    return False


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(4, 24),
    offset=st.integers(1, 12),
    length=st.integers(1, 12),
    arena=st.integers(0, 12),
    stack=st.integers(0, 3),
    code=st.integers(1, 6),
    constants=st.lists(st.integers(1, 8), max_size=3),
)
def test_a_layout_is_found_if_there_is_one(
    size: int, offset: int, length: int, arena: int, stack: int, code: int, constants: list[int]
) -> None:
    """Catches a choice excluded though it can be linked, and one accepted that cannot."""
    offset = min(offset, size - 1)
    machine = _small(size, (offset, min(length, size - offset)))
    window = (machine.aliases[0].offset // UNIT, machine.aliases[0].size // UNIT)
    unit = UNIT
    found = place(machine, arena * unit, stack * unit, code * unit, [c * unit for c in constants])
    assert (found is not None) == _possible(size, window, arena, stack, code, constants)
    if found is not None:
        _holds(machine, found, arena * unit, stack * unit, code * unit, [c * unit for c in constants])


def _holds(machine: Mcu, found: Layout, arena: int, stack: int, code: int, constants: list[int]) -> None:
    """Nothing meets, everything is where it may be."""
    alias, sram = machine.aliases[0], machine.sram
    assert found.code_at is not None
    assert found.shadow_at is not None
    at = found.shadow_at - sram.base
    assert alias.offset <= at
    assert at + found.code_room <= min(alias.offset + alias.size, sram.size - stack)
    assert found.code_at - alias.base == at - alias.offset
    assert found.code_room >= code
    before = sum(size for i, size in enumerate(constants) if i not in found.behind)
    before += 0 if found.arena_behind else arena
    assert before <= at
    assert before + found.behind_end - found.behind_at >= 0
    behind = sum(constants) + arena - before
    assert found.behind_at == found.shadow_at + found.code_room
    assert found.behind_at + behind <= found.behind_end <= sram.end - stack


@pytest.mark.parametrize("name", preset_names())
def test_what_fills_the_sram_is_placed_and_a_byte_more_is_not(name: str) -> None:
    """Catches bytes that a layout leaves unused, or uses twice."""
    machine = mcu(name)
    assert place(machine, machine.sram.size - KIB, KIB) == Layout()
    assert place(machine, machine.sram.size - KIB + 1, KIB) is None
    # On the STM32L4R5 the code is in the middle: 190 KiB before it, the rest behind it.
    parts = [190 * KIB, 2 * KIB] if machine.code_ram == "sram2" else [KIB]
    elsewhere = any(m.name == machine.code_ram for m in machine.memories if m != machine.sram)
    rest = machine.sram.size - (KIB if elsewhere else 2 * KIB) - sum(parts)
    assert place(machine, rest, KIB, KIB, parts) is not None
    assert place(machine, rest + 1, KIB, KIB, parts) is None


def test_data_go_to_either_side_of_the_code() -> None:
    """Catches an arena above 192 KiB, or constants, that would lie where the code is: SRAM2 is in the middle."""
    machine = mcu("stm32l4r5")
    small = place(machine, 64 * KIB, KIB, 8 * KIB, [KIB])
    assert small is not None
    assert (small.code_at, small.shadow_at) == (0x1000_E000, 0x2003_E000)
    assert not small.arena_behind
    assert not small.behind
    large = place(machine, 260 * KIB, KIB, 8 * KIB, [KIB])
    assert large is not None
    assert large.arena_behind
    assert large.behind_at == 0x2004_0000
    both = place(machine, 240 * KIB, KIB, 8 * KIB, [190 * KIB, 100 * KIB])
    assert both is not None
    assert not both.arena_behind
    assert both.behind == {0, 1}
    # Only with the code at the start of its window do 440 KiB fit behind it.
    moved = place(machine, 440 * KIB - 2 * KIB, KIB, 4 * KIB, [191 * KIB])
    assert moved is not None
    assert moved.shadow_at is not None
    assert 0x2003_0000 <= moved.shadow_at < 0x2003_F000
    assert place(machine, 448 * KIB, KIB, 4 * KIB, [191 * KIB]) is None


def test_code_that_is_greater_than_its_window_has_no_layout() -> None:
    """Catches code that runs out of SRAM2."""
    assert place(mcu("stm32l4r5"), KIB, KIB, 65 * KIB) is None
    assert place(mcu("stm32f446"), KIB, KIB, 65 * KIB) is not None


def _prepared(sram: int) -> Problem:
    """A small network on a machine whose code runs from the middle of a small SRAM.

    Of each layer's candidates, the fastest of those that differ in formats or in what they copy.
    """
    made = Builder("small", (1, 12, 12, 8), 3)
    x = made.depthwise_conv_2d(made.conv_2d(0, 16, Size2D(3, 3), Activation.RELU), Activation.RELU)
    graph = made.finish(made.classify(made.mean(x), 10))
    data = mcu("stm32l4r5", "ram").model_dump()
    data["memories"] = [m for m in data["memories"] if m["name"] in ("flash", "sram")]
    data["memories"][1] |= {"size": sram, "regions": ()}
    data["setting"]["project_ram"] = 256  # these few KiB have no room for a project's own data
    data["aliases"] = [data["aliases"][0] | {"offset": 0x1000, "size": 0x1000}]
    problem = prepare(graph, Mcu.model_validate(data))
    stages = []
    for stage in problem.stages:
        cheap = sorted(stage.candidates, key=lambda c: c.cycles)
        kept = {(c.where, c.plan.input_format, c.plan.output_format): c for c in reversed(cheap)}
        stages.append(dataclasses.replace(stage, candidates=tuple(kept.values())))
    return dataclasses.replace(problem, stages=tuple(stages))


@pytest.mark.parametrize("sram", [0x2700, 0x2800, 0x2900])
def test_the_best_that_has_a_layout_is_found(sram: int) -> None:
    """Catches a choice that cannot be linked, and a neighbour of one excluded with it: against all choices."""
    problem = _prepared(sram)
    best = None
    for picks in product(*(range(len(stage.candidates)) for stage in problem.stages)):
        taken = [stage.candidates[j] for stage, j in zip(problem.stages, picks, strict=True)]
        price = sum(c.cycles for c in taken)
        if (best is not None and price >= best) or not _agree(problem, picks):
            continue
        if choice.ram_code_bytes(taken) > (problem.limits.code_ram or 0):
            continue
        arena = problem.memory_plan(picks).arena_bytes
        if arena <= room_of(problem, picks) and problem.laid_out(picks, arena):
            best = price
    found = search(problem, "cycles")
    assert (None if found.choice is None else found.choice.price) == best
    assert found.choice is not None
    assert found.memory is not None
    assert problem.laid_out(found.choice.picks, found.memory.arena_bytes)
    summed = search(dataclasses.replace(problem, mcu=None), "cycles")
    assert summed.choice is not None
    assert summed.choice.price < found.choice.price, "a choice whose bytes sum up to little enough cannot be linked"


@pytest.mark.parametrize("sram", [0x2400, 0x3000])
def test_what_leaves_a_choice_without_a_layout_leaves_others_without_one(sram: int) -> None:
    """Catches a choice that is excluded though it has a layout: random choices that meet a clash have none."""
    problem, rng = _prepared(sram), np.random.default_rng(sram)
    counts = [len(stage.candidates) for stage in problem.stages]

    def drawn() -> tuple[int, ...]:
        return tuple(int(rng.integers(count)) for count in counts)

    least = max(min(c.arena_bytes for c in stage.candidates) for stage in problem.stages)
    found = beyond = 0
    for _ in range(40):
        picks = drawn()
        size = problem.memory_plan(picks).arena_bytes
        if problem.laid_out(picks, size):
            continue
        clash = unplaced.explain(problem, picks, size)
        assert _meets(clash, list(problem.taken(picks).values()))
        fence = unplaced.fence(problem, picks, size)
        for _ in range(40):
            others = drawn()
            if fence is not None and _is_behind(fence, list(problem.taken(others).values())):
                beyond += 1
                assert not problem.laid_out(others, fence.arena)
            if _meets(clash, list(problem.taken(others).values())):
                found += 1
                assert not problem.laid_out(others, least if clash.demands[0] is None else size)
    assert found
    assert beyond


@pytest.mark.parametrize("sram", [0x2700, 0x2800, 0x2900])
def test_the_solver_finds_the_same_where_the_search_gives_up(sram: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a search that asks for one proof a clash, a choice of the solver's without a layout, and a worse one."""
    problem = _prepared(sram)
    best = search(problem, "cycles")
    assert best.proof == "enumeration"
    monkeypatch.setattr(label_walk, "_MOST_PAIRS", 0)
    monkeypatch.setattr(label_walk, "_MOST_AFTER_CLASHES", 0)
    monkeypatch.setattr(labels, "_BEAMS", (1, 2))
    monkeypatch.setattr(label_walk.LabelWalk, "price_of_ram", 0)
    found = search(problem, "cycles")
    assert found.proof in ("solver", "enumeration")
    assert found.choice is not None
    assert best.choice is not None
    assert found.memory is not None
    assert found.choice.price == best.choice.price
    assert problem.laid_out(found.choice.picks, found.memory.arena_bytes)


def test_without_the_solver_a_search_that_gives_up_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a proof that nobody made: the search gave up, and no solver was asked."""
    problem = _prepared(0x2900)
    known = search(problem, "cycles").choice
    assert known is not None
    monkeypatch.setattr(label_walk, "_MOST_PAIRS", 0)
    monkeypatch.setattr(label_walk, "_MOST_AFTER_CLASHES", 0)
    monkeypatch.setattr(labels, "_BEAMS", (1, 2))
    monkeypatch.setattr(label_walk.LabelWalk, "price_of_ram", 0)
    monkeypatch.setattr(best, "_SOLVER_UNITS", 0)
    monkeypatch.setattr(unplaced, "_MOST_SIDES", -1)
    found = search(problem, "cycles")
    assert found.choice is not None
    assert (found.proof, found.choice.bound) == ("none", 0)
    assert solution.lower_bound(problem, "cycles") <= known.price <= found.choice.price
    assert solution.cheaper(problem, "cycles", known.price) in (None, "unknown")


def _is_behind(fence: unplaced.Fence, taken: Sequence[Candidate]) -> bool:
    """Whether a fence excludes candidates with an arena as large as it speaks of."""
    code = choice.ram_code_bytes(taken) >= fence.code
    return code and all(copies_of(taken[i]).data >= data for i, data in fence.data)


def _meets(clash: Clash, taken: Sequence[Candidate]) -> bool:
    """Whether candidates are what a clash excludes."""
    stages = range(clash.first, clash.last + 1)
    return all(clash.met(i, taken[i]) for i in stages) and choice.ram_code_bytes(taken) >= clash.code


def test_a_small_sram_is_searched_in_a_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches choices without a layout that are excluded one by one: solving took more than ten minutes."""
    problem, passes = _prepared(0x2400), 0
    searched = labels.search

    def counted(*arguments: object, **options: object) -> object:
        nonlocal passes
        passes += 1
        return searched(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(labels, "search", counted)
    assert search(problem, "cycles").proof == "enumeration"
    assert passes <= 60


def _agree(problem: Problem, picks: tuple[int, ...]) -> bool:
    """Whether tensors are read as they were written, ends are plain, and a kernel is in one place."""
    written = dict.fromkeys(problem.plain, "s8")
    places: dict[tuple[str, ...], bool] = {}
    for stage, j in zip(problem.stages, picks, strict=True):
        taken = stage.candidates[j]
        if any(written.get(t, "s8") != taken.plan.input_format for t in stage.inputs if t is not None):
            return False
        if stage.output in problem.plain and taken.plan.output_format != "s8":
            return False
        written[stage.output] = str(taken.plan.output_format)
        if taken.plan.kernels and places.setdefault(taken.plan.kernels, taken.where.code) != taken.where.code:
            return False
    return True
