"""What a nest costs in the constraint model: the bytes that it moves, and what its kernel spends and waits.

Bounds that follow from the rest are marked redundant: they are there to be refuted sooner.
"""

from ortools.sat.python import cp_model

from memaopt.kernels.gemm.families import Cycles
from memaopt.kernels.schedule import REGISTER_LEVEL, Space
from memaopt.models.cp_sat_variables import BlockLoop, Expr, KernelVars, NestVars, Var, moved_of, product, runs_of
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
from memaopt.models.traffic import (
    STACK_WORD,
    Counts,
    counts,
    loop_words,
    looped_of,
    passes,
    register_bytes,
    words_on_stack,
)
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, REVISITED_BY, Dim, Operand


def crossed_bytes(
    cp: cp_model.CpModel,
    space: Space,
    operand: Operand,
    loops: dict[Dim, BlockLoop],
    nest: NestVars,
    visits: Var,
) -> Expr:
    """Bytes of ``operand`` that cross between its memory and SRAM."""
    problem = space.problem
    if operand not in space.staged:
        return 0
    if operand == "C":
        final, partial = problem.elements("C") * problem.width, problem.elements("C") * ACCUMULATOR_BYTES
        return final + (visits - 1) * partial + (visits - 1) * partial
    return problem.width * moved_of(cp, space, operand, loops, nest, visits)


def crossing(
    cp: cp_model.CpModel, space: Space, nest: NestVars, operand: Operand, rates: UnitPrices, scale: int, moved: Expr
) -> Expr:
    """What the external bytes of a staged operand cost, in ``scale``: those through a tile, or straight ones.

    Prices are factors of a sum alone: two constraints that hold by turns, each with a large factor between the same
    two variables, have OR-Tools 9.15 multiply the factors, and what wraps at 64 bits is called infeasible.
    """
    staged, direct = (each[operand] // scale for each in (rates.staged_byte, rates.direct_byte))
    most = 2 * ACCUMULATOR_BYTES * space.problem.elements(operand) * space.problem.sizes[REVISITED_BY[operand]]
    straight = cp.new_int_var(0, most, f"bytes of {operand} that move straight")
    is_straight = nest.levels[operand][REGISTER_LEVEL]
    cp.add(straight == moved).only_enforce_if(is_straight)
    cp.add(straight == 0).only_enforce_if(is_straight.Not())
    cp.add(straight <= moved)  # redundant, for the bound
    return staged * moved + (direct - staged) * straight


def chosen_bytes(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop], kernel: KernelVars) -> Expr:
    """Bytes between memory and registers: what stays put is moved once a block, what streams once a tile; and the
    stack's.
    """
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
    cp.add(total == moved + STACK_WORD * _stack(cp, space, loops, kernel))
    for chosen, (family, tile) in zip(kernel.chosen, space.kernels, strict=True):
        # Redundant, for the bound: the bytes if one block held everything.
        fewest = counts(problem, problem.m, problem.k, problem.n, tile)
        cp.add(total >= int(register_bytes(space, family, (tile,), fewest))).only_enforce_if(chosen)
    return total


def _stack(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop], kernel: KernelVars) -> Var:
    """Words that the chosen kernel moves to and from the stack, by its calls and what they go over, in each pass."""
    m, k, n = space.problem.m, space.problem.k, space.problem.n
    longest = max(m, n)
    several = cp.new_bool_var("several passes")
    passes = cp.new_int_var(1, k, "passes")
    outer, calls, over = (cp.new_int_var(1, 2 * longest, what) for what in ("rows of calls", "calls", "turns"))
    runs = runs_of(cp, loops["n"], kernel.cut["n"])
    of: dict[Operand, tuple[Expr, Expr, Expr, Expr]] = {
        "C": (kernel.tiles["m"], runs, kernel.tiles["n"], loops["k"].trips),
        "A": (kernel.tiles["m"], loops["n"].trips, n, kernel.tiles["k"]),
        "B": (kernel.tiles["n"], loops["m"].trips, m, kernel.tiles["k"]),
    }
    for operand, parts in of.items():
        for var, part in zip((outer, calls, over, passes), parts, strict=True):
            cp.add(var == part).only_enforce_if(kernel.keeps[operand])
    cp.add(passes >= 2).only_enforce_if(several)
    cp.add(passes == 1).only_enforce_if(several.Not())
    most = 2 * longest * 2 * longest
    called, turned = product(cp, outer, calls, most), product(cp, outer, over, most)
    by_calls, by_turns = product(cp, called, passes, most * k), product(cp, turned, passes, most * k)
    looped = _loops(cp, space, loops, kernel)
    in_loops: Expr = 0
    if looped is not None:
        in_loops = cp.new_int_var(0, most * 2 * k, "words of the loops over the reduction")
        cp.add_multiplication_equality(in_loops, [turned, looped])
    # A row of a tile after the first: C is kept where there is such a word.
    rests = cp.new_int_var(0, m * n, "rows after the first of a tile")
    cp.add_multiplication_equality(rests, [m - kernel.tiles["m"], kernel.tiles["n"]])
    words = cp.new_int_var(0, 1 << 52, "words of the stack")
    for chosen, (family, tile) in zip(kernel.chosen, space.kernels, strict=True):
        call, turn, row, loops_too = words_on_stack(space, family, (tile,))
        many = call.each * by_calls + call.ends * called + turn.each * by_turns + turn.ends * turned
        once = call.single * called + turn.single * turned
        beside = row * rests + (in_loops if loops_too else 0)
        cp.add(words == many + beside).only_enforce_if(chosen, several)
        cp.add(words == once + beside).only_enforce_if(chosen, several.Not())
    return words


def _loops(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop], kernel: KernelVars) -> Var | None:
    """Words of the loops over the reduction of a tile, by KC; None where no kernel has any."""
    found: Var | None = None
    by_family = {(family, tile.kr) for family, tile in space.kernels if looped_of(space, family, tile) is not None}
    for family, kr in sorted(by_family, key=lambda each: each[0].name):
        words = loop_words(space.problem.k, kr, family.unrolling)
        found = found if found is not None else cp.new_int_var(0, 2 * space.problem.k, "words of loops")
        of = cp.new_int_var(0, int(words.max()), f"words of loops of {family.name}")
        cp.add_element(loops["k"].block, words.tolist(), of)
        for chosen, (other, tile) in zip(kernel.chosen, space.kernels, strict=True):
            if (other, tile.kr) == (family, kr):
                cp.add(found == of).only_enforce_if(chosen)
    return found


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
    most = Counts(m, k, n, m, k, n, n)
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
