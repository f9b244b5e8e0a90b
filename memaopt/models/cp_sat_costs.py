"""What a nest costs in the constraint model: the bytes that it moves, and what its kernel spends and waits.

Bounds that follow from the rest are marked redundant: they are there to be refuted sooner.
"""

from ortools.sat.python import cp_model

from memaopt.kernels.gemm.families import Cycles
from memaopt.kernels.schedule import REGISTER_LEVEL, Space
from memaopt.models.cp_sat_variables import BlockLoop, Expr, KernelVars, NestVars, Var, product
from memaopt.models.cycles import (
    code_waits,
    kernel_shape,
    kernel_time,
    rereads,
    stall_per_byte,
    steps_left_over,
    unaligned_shares,
)
from memaopt.models.prices import UnitPrices
from memaopt.models.traffic import Counts, counts, passes, register_bytes
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, REVISITED_BY, Dim, Operand


def crossed_bytes(space: Space, operand: Operand, visits: Var) -> Expr:
    """Bytes of ``operand`` that cross between its memory and SRAM."""
    problem = space.problem
    if operand not in space.staged:
        return 0
    if operand == "C":
        final, partial = problem.elements("C") * problem.width, problem.elements("C") * ACCUMULATOR_BYTES
        return final + (visits - 1) * partial + (visits - 1) * partial
    return visits * problem.bytes_of(operand)


def crossing(
    cp: cp_model.CpModel, nest: NestVars, operand: Operand, rates: UnitPrices, scale: int, moved: Expr
) -> Expr:
    """What the external bytes of a staged operand cost, in ``scale``: those through a tile, or straight ones."""
    staged, direct = (each[operand] // scale for each in (rates.staged_byte, rates.direct_byte))
    cost = cp.new_int_var(0, 1 << 56, f"cost of what crosses of {operand}")
    straight = nest.levels[operand][REGISTER_LEVEL]
    cp.add(cost == staged * moved).only_enforce_if(straight.Not())
    cp.add(cost == direct * moved).only_enforce_if(straight)
    cp.add(cost >= min(staged, direct) * moved)  # redundant, for the bound
    return cost


def chosen_bytes(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop], kernel: KernelVars) -> Expr:
    """Bytes between SRAM and registers: what stays put is moved once a block, what streams once a tile."""
    problem = space.problem
    total = cp.new_int_var(0, 1 << 56, "register bytes")
    moved: Expr = problem.channel_bytes * problem.m * kernel.tiles["n"]
    for operand in OPERANDS:
        d = REVISITED_BY[operand]
        times = cp.new_int_var(1, loops[d].size, f"register visits {operand}")
        cp.add(times == loops[d].trips).only_enforce_if(kernel.keeps[operand])
        cp.add(times == kernel.tiles[d]).only_enforce_if(kernel.keeps[operand].Not())
        if operand == "C":
            moved += problem.elements("C") * (problem.width + 2 * ACCUMULATOR_BYTES * (times - 1))
        else:
            moved += problem.bytes_of(operand) * times
    cp.add(total == moved)
    for chosen, (family, tile) in zip(kernel.chosen, space.kernels, strict=True):
        # Redundant, for the bound: the bytes if one block held everything.
        fewest = counts(problem, problem.m, problem.k, problem.n, tile)
        cp.add(total >= int(register_bytes(problem, family, fewest))).only_enforce_if(chosen)
    return total


def chosen_time(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop], kernel: KernelVars) -> Expr:
    """What the chosen kernel spends over all its tiles, from its family's cost data, and what its code in flash waits,
    in 1/CYCLE of a cycle.
    """
    problem = space.problem
    m, k, n = problem.m, problem.k, problem.n
    rm, rk, rn = kernel.tiles["m"], kernel.tiles["k"], kernel.tiles["n"]
    times = cp.new_int_var(1, k, "passes")
    cp.add(times == loops["k"].trips).only_enforce_if(kernel.keeps["C"])
    cp.add(times == rk).only_enforce_if(kernel.keeps["C"].Not())
    pairs = product(cp, rm, rn, m * n)
    over = {"m": (rn, n), "n": (rm, m), "one": (pairs, m * n)}
    by_steps = {key: product(cp, rk, var, k * most) for key, (var, most) in over.items()}
    by_passes = {key: product(cp, times, var, k * most) for key, (var, most) in over.items()}
    by_once = {key: var for key, (var, _) in over.items()}
    # A call runs over the rows of a tile of C or A, or over the columns of a tile of B.
    inside, outer = cp.new_int_var(1, max(m, n) + 1, "calls for each tile and pass"), cp.new_int_var(1, max(m, n), "")
    calls = product(cp, times, inside, k * (max(m, n) + 1))
    by_calls = product(cp, calls, outer, k * (max(m, n) + 1) * max(m, n))
    # Register tiles of a single element in blocks of one: no kernel ever takes longer.
    most = Counts(m, k, n, m, k, n)
    slowest = max(
        int(kernel_time(space, family, tile, most)) + code_waits(space, family, tile) * m * k * n
        for family, tile in space.kernels
    )
    total = cp.new_int_var(0, slowest, "kernel time")

    def over_tiles(rates: Cycles, times: Expr, products: dict[str, Var], count: int = 1) -> Expr:
        mn, per_m, per_n, one = rates
        inner = per_m * m * products["m"] + per_n * n * products["n"] + one * products["one"]
        return mn * m * n * times + count * inner

    for chosen, (family, tile) in zip(kernel.chosen, space.kernels, strict=True):
        cost, left_over = family.cost(tile, kernel_shape(problem)), steps_left_over(problem, family, tile)
        spent = over_tiles(cost.step, rk, by_steps) + over_tiles(cost.ends, times, by_passes)
        spent += over_tiles(cost.once, 1, by_once) + over_tiles(cost.tail, left_over, by_once, left_over)
        if left_over:
            spent -= over_tiles(cost.step, 1, by_once)
        by_rows = family.stationary != "B"
        ragged = family.stationary == "C" and n % tile.nr > 0
        cp.add(inside == loops["n" if by_rows else "m"].trips + ragged).only_enforce_if(chosen)
        cp.add(outer == (rm if by_rows else rn)).only_enforce_if(chosen)
        spent += (cost.call.m * m if by_rows else cost.call.n * n) * calls + cost.call.one * by_calls
        a_unaligned, b_unaligned = unaligned_shares(space, family)
        waits = code_waits(space, family, tile)
        spent += waits * by_passes["one"]
        cp.add(total == spent + a_unaligned * rn + b_unaligned * rm).only_enforce_if(chosen)
        # Redundant, for the bound: the cost if one block held everything.
        fewest = counts(problem, m, k, n, tile)
        waited = waits * fewest.rm * fewest.rn * passes(family, fewest)
        cp.add(total >= int(kernel_time(space, family, tile, fewest) + waited)).only_enforce_if(chosen)
    return total


def stalls(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop], kernel: KernelVars) -> Expr:
    """What wait states add: a streamed A is read once for each tile of columns, or for each block if it is kept."""
    problem = space.problem
    if "A" not in space.streamed:
        return 0
    times = cp.new_int_var(1, problem.n, "readings of A")
    for chosen, (family, tile) in zip(kernel.chosen, space.kernels, strict=True):
        again = rereads(space, family, tile)
        cp.add(times == (kernel.tiles["n"] if again else loops["n"].trips)).only_enforce_if(chosen)
    home = space.machine.memory(problem.placement.a)
    return stall_per_byte(home) * problem.bytes_of("A") * times
