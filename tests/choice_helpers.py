"""Random networks for the choice of kernels, and every choice tried by brute force."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterator

import numpy as np

from memaopt.choice import best, choice, solution
from memaopt.choice.choice import Candidate
from memaopt.choice.problem import Problem, prepare
from memaopt.choice.stages import ALIGNMENT, in_place_of, leads_of
from memaopt.errors import UnsupportedModelError
from memaopt.machines.mcu import mcu
from memaopt.memory import plan as memory
from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.words import Objective

MCU = mcu("stm32l4r5")


def network(seed: int, fewest: int = 2, most: int = 5, side: int = 9) -> Graph:
    """A network of convolutions, depthwise layers and residuals: ``fewest`` to ``most`` operators."""
    for attempt in range(20):
        try:
            return _network(np.random.default_rng([seed, attempt]), seed, fewest, most, side)
        except UnsupportedModelError:
            continue  # a layer whose outputs are all alike
    raise AssertionError


def _network(rng: np.random.Generator, seed: int, fewest: int, most: int, side: int) -> Graph:
    height, width = (int(n) for n in rng.integers(2, side, 2))
    b, x = Builder(f"random{seed}", (1, height, width, int(rng.integers(1, 12))), seed), 0
    count = int(rng.integers(fewest, most + 1))
    while len(b.operators) < count:
        rows, columns = b.tensors[x].shape[1:3]
        kernel = ops.ONE if rng.random() < 0.5 else Size2D(*map(int, rng.integers(1, 4, 2)))
        stride = Size2D(2, 2) if min(rows, columns) > 4 and rng.random() < 0.3 else ops.ONE
        left = count - len(b.operators)
        match rng.integers(4):
            case 0 if left >= 2:
                y = b.conv_2d(x, b.channels(x), Size2D(3, 3))
                x = b.add(x, y, Activation.RELU)
            case 1:
                x = b.depthwise_conv_2d(x, Activation.RELU, stride=stride)
            case _:
                x = b.conv_2d(x, int(rng.integers(1, 20)), kernel, Activation.RELU, stride=stride)
    return b.finish(x)


def _alike(problem: Problem, objective: Objective) -> list[list[int]]:
    """For each stage the candidates, cheapest first, one of those that differ in nothing but their price."""
    found = []
    for stage in problem.stages:
        kinds: dict[object, int] = {}
        for j in sorted(range(len(stage.candidates)), key=lambda j: stage.candidates[j].price(objective)):
            c = stage.candidates[j]
            p = c.plan
            if problem.limits.arena is not None and c.arena_bytes > problem.limits.arena:
                continue
            kind = (
                p.input_format,
                p.output_format,
                p.in_place,
                p.lead,
                p.lead_step,
                p.scratch_bytes,
                c.arena_bytes,
                c.stack_bytes,
                c.where,
                p.kernels,
                p.flash_bytes,
            )
            kinds.setdefault(kind, j)
        found.append(list(kinds.values()))
    return found


def by_price(problem: Problem, rows: list[list[int]], objective: Objective) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every combination of candidates, by rising price."""
    prices = [[s.candidates[j].price(objective) for j in row] for s, row in zip(problem.stages, rows, strict=True)]
    if not all(rows):
        return
    start = (0,) * len(rows)
    heap, seen = [(sum(p[0] for p in prices), start)], {start}
    while heap:
        price, at = heapq.heappop(heap)
        yield price, tuple(row[i] for row, i in zip(rows, at, strict=True))
        for n, i in enumerate(at):
            if i + 1 < len(rows[n]):
                following = (*at[:n], i + 1, *at[n + 1 :])
                if following not in seen:
                    seen.add(following)
                    heapq.heappush(heap, (price + prices[n][i + 1] - prices[n][i], following))


def agree(problem: Problem, picks: tuple[int, ...]) -> bool:
    """Whether every tensor is read in the format that it was written in."""
    written: dict[int | None, str] = {}
    for stage, j in zip(problem.stages, picks, strict=True):
        plan = stage.candidates[j].plan
        if any(written.get(t, "s8") != plan.input_format for t in stage.inputs):
            return False
        if stage.output in problem.plain and plan.output_format != "s8":
            return False
        written[stage.output] = plan.output_format
    return True


def places(taken: list[Candidate]) -> bool:
    """Whether each shared kernel is in one place."""
    found = {(c.plan.kernels, c.where.code) for c in taken if c.plan.kernels}
    return len(found) == len({kernels for kernels, _ in found})


def brute(problem: Problem, objective: Objective, most: int = 60_000) -> int | None:
    """The price of the best choice that can be placed, with every one tried by rising price; None if none can."""
    limits, packed = problem.limits, dict[object, int]()
    rows = _alike(problem, objective)
    for tried, (price, picks) in enumerate(by_price(problem, rows, objective)):
        if tried == most:
            raise OverflowError
        taken = list(problem.taken(picks).values())
        if not agree(problem, picks) or not places(taken):
            continue
        plans = [c.plan for c in taken]
        if limits.flash is not None and choice.flash_bytes(taken, limits.flash_overhead) > limits.flash:
            continue
        if choice.ram_code_bytes(taken) > (limits.code_ram or 0):
            continue
        if choice.ram_constant_bytes(taken) > (limits.constants_ram or 0):
            continue
        if max(c.arena_bytes for c in taken) > best.room_of(problem, picks):
            continue
        key = tuple((p.input_format, p.output_format, p.in_place, p.lead, p.lead_step, p.scratch_bytes) for p in plans)
        if key not in packed:
            chosen = problem.chosen(picks)
            packed[key] = memory.plan(
                problem.in_memory(chosen),
                scratch=problem.scratch(chosen),
                alignment=ALIGNMENT,
                in_place=in_place_of(problem.graph, chosen, problem.lowered),
                order=problem.order,
                reorder=False,
                leads=leads_of(problem.graph, chosen, problem.lowered),
            ).arena_bytes
        if packed[key] <= best.room_of(problem, picks):
            return price
    return None


def compare(seed: int) -> tuple[int, int]:
    """Compare in ever tighter arenas, until nothing fits: how many budgets were compared, how many did not fit."""
    graph, arena, compared, none = network(seed), None, 0, 0
    rng = np.random.default_rng([seed, 1])
    for _ in range(6):
        problem = prepare(graph, MCU, arena=arena)
        found = solution.search(problem, "cycles")
        try:
            least = brute(problem, "cycles")
        except OverflowError:
            break
        assert found.proof == "enumeration", (seed, arena)
        assert (found.choice and found.choice.price) == least, (seed, arena, found, least)
        compared += 1
        if found.memory is None:
            none += 1
            break
        arena = found.memory.arena_bytes - ALIGNMENT * int(rng.integers(1, 4))
        if arena <= 0:
            break
    return compared, none


if __name__ == "__main__":
    start, total, infeasible = time.perf_counter(), 0, 0
    for number in range(int(sys.argv[1])):
        more, without = compare(number)
        total, infeasible = total + more, infeasible + without
    spent = time.perf_counter() - start
    print(f"{sys.argv[1]} networks, {total} budgets, {infeasible} without a choice: no difference, {spent:.0f} s")
