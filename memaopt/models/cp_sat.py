"""The constraint model, written from the statement of the problem, solved to proven optimality by OR-Tools CP-SAT.

Nothing of the closed form's case analysis is used: blocks and trip counts are integer variables tied by what a
trip count is, the loop order is a permutation, a block is revisited when the loop that does not index it runs
outside one that does, and a kernel is one Boolean for each register tile that fits. ``docs/models.md`` writes it
out. Lexicographic objectives are solved part by part, each fixed before the next; where an answer is known already, it
is to be reached and anything better to be refuted.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ortools.sat.python import cp_model

from memaopt.errors import InfeasibleError, UnfinishedError
from memaopt.kernels.gemm.families import Cycles, GemmFamily, RegisterTile
from memaopt.kernels.schedule import BLOCK_LEVEL, ORDERS, REGISTER_LEVEL, Order, Schedule, Space
from memaopt.models import layer_kernels
from memaopt.models.answers import Answer
from memaopt.models.cycles import (
    code_waits,
    fetch_cycles,
    kernel_shape,
    kernel_time,
    rereads,
    stall_per_byte,
    steps_left_over,
    unaligned_shares,
)
from memaopt.models.feasibility import check_feasible
from memaopt.models.prices import UnitPrices, prices
from memaopt.models.traffic import Counts, counts, passes, register_bytes
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, INDEXED_BY, OPERANDS, REVISITED_BY, Dim, Operand
from memaopt.solver import limited

UNITS = 60.0
"""Of deterministic time for each question, about a second each."""
#: The share of it that each of two ways to search has before one of them gets all.
_SHORT = 0.01

Var = cp_model.IntVar
Expr = cp_model.LinearExpr | int


class _Loop(NamedTuple):
    """One loop over blocks: the block, its trip count, and whether it runs more than once."""

    size: int
    block: Var
    trips: Var
    runs: Var
    full: Var


class _Nest(NamedTuple):
    """The order of the loops, and for each operand one Boolean for each hold level; ``free`` are the staged ones."""

    orders: list[Var]
    levels: dict[Operand, list[Var]]
    free: tuple[Operand, ...]


class _Kernel(NamedTuple):
    """The register kernel: which operand it keeps, its tile, and the tiles along each loop over all blocks."""

    chosen: list[Var]
    tile: dict[Dim, Var]
    tiles: dict[Dim, Var]
    keeps: dict[Operand, Var]


class _Model(NamedTuple):
    """The container of variables that the objective and the schedule are read from.

    Costs are multiples of ``scales``; ``parts`` count in these, so that coefficients are small.
    """

    cp: cp_model.CpModel
    loops: dict[Dim, _Loop]
    nest: _Nest
    kernel: _Kernel
    kernels: tuple[tuple[GemmFamily, RegisterTile], ...]
    parts: list[Expr]
    scales: list[int]


def solve(space: Space, known: Answer | None = None, units: float = UNITS) -> Answer:
    """The optimal schedule of ``space``; ``proven`` says whether CP-SAT finished in ``units`` of deterministic time.

    With a ``known`` answer the model has to reach it, and to refute whatever is better, part by part: that is decided
    far sooner than an optimum is found. If it cannot do both, it looks for its own optimum.
    Raises InfeasibleError if no schedule fits, UnfinishedError if it found none.
    """
    if space.layers:
        return layer_kernels.cp_sat(space)
    start = time.perf_counter()
    check_feasible(space)
    answer = None if known is None else _confirmed(space, known, units)
    if answer is None:
        answer = _minimised(space, units)
    return answer.model_copy(update={"milliseconds": 1e3 * (time.perf_counter() - start)})


def _answer(space: Space, model: _Model, solver: cp_model.CpSolver, objective: tuple[int, ...], proven: bool) -> Answer:
    return Answer(
        model="cp_sat", schedule=_schedule(space, model, solver), objective=objective, proven=proven, milliseconds=0.0
    )


def _confirmed(space: Space, known: Answer, units: float) -> Answer | None:
    """The known objective as CP-SAT reaches it, nothing being better; None if it is not reached or not the best."""
    assert isinstance(known.schedule, Schedule)
    values = [value // scale for value, scale in zip(known.objective, build(space).scales, strict=True)]
    reached = build(space)
    for part, value, exact, scale in zip(reached.parts, values, known.objective, reached.scales, strict=True):
        if exact != value * scale:
            return None  # not even a multiple of what every cost is a multiple of
        reached.cp.add(part == value)
    _hint(reached, known.schedule)
    found = limited(units)
    if _solved(found, reached) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    proven = True
    for i, value in enumerate(values):
        status = _search_better(space, known.schedule, values[:i], value, units)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        proven = proven and status == cp_model.INFEASIBLE
    return _answer(space, reached, found, known.objective, proven)


def _search_better(space: Space, known: Schedule, fixed: list[int], value: int, units: float) -> Any:
    """Whether a schedule has the first parts ``fixed`` and the next below ``value``: the solver's status.

    What has no solution is soon refuted walk by walk; what has one is found sooner by the search that CP-SAT chooses.
    """
    status = cp_model.UNKNOWN
    for solver in (_refuting(units * _SHORT), limited(units * _SHORT), _refuting(units)):
        better = build(space)
        for part, at in zip(better.parts, fixed, strict=False):
            better.cp.add(part == at)
        better.cp.add(better.parts[len(fixed)] <= value - 1)
        _hint(better, known)
        status = _solved(solver, better)
        if status != cp_model.UNKNOWN:
            break
    return status


def _refuting(units: float) -> cp_model.CpSolver:
    """A solver for what has no solution: walk by walk, by propagation, without a linear relaxation that says little."""
    solver = limited(units)
    solver.parameters.search_branching = cp_model.FIXED_SEARCH
    solver.parameters.linearization_level = 0
    return solver


def _minimised(space: Space, units: float) -> Answer:
    """The optimum from scratch, part by part, each fixed before the next."""
    model = build(space)
    solver = limited(units)
    values: list[int] = []
    proven = True
    for part, scale in zip(model.parts, model.scales, strict=True):
        model.cp.minimize(part)
        status = _solved(solver, model)
        if status == cp_model.INFEASIBLE:
            raise InfeasibleError(f"no schedule of gemm {space.problem.name} fits {space.machine.name}")
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            raise UnfinishedError(
                f"gemm {space.problem.name} on {space.machine.name}: CP-SAT found no schedule in {units:g} units of "
                f"deterministic time"
            )
        value = int(solver.value(part))
        proven = proven and status == cp_model.OPTIMAL
        values.append(value * scale)
        model.cp.clear_objective()  # type: ignore[no-untyped-call]
        model.cp.add(part == value)
        model.cp.clear_hints()  # type: ignore[no-untyped-call]
        _hint(model, _schedule(space, model, solver))
    return _answer(space, model, solver, tuple(values), proven)


def _solved(solver: cp_model.CpSolver, model: _Model) -> Any:
    """The solver's status. OR-Tools 9.15 can fail on a hint while it simplifies a model: then it looks without one."""
    try:
        return solver.solve(model.cp)
    except IndexError:
        model.cp.clear_hints()  # type: ignore[no-untyped-call]
        return solver.solve(model.cp)


def _hint(model: _Model, schedule: Schedule) -> None:
    """Where to look first."""
    model.cp.clear_hints()  # type: ignore[no-untyped-call]
    for d, loop in model.loops.items():
        model.cp.add_hint(loop.block, schedule.block[d])
    for var, order in zip(model.nest.orders, ORDERS, strict=True):
        model.cp.add_hint(var, order == schedule.order)
    for x in model.nest.free:
        for i, var in enumerate(model.nest.levels[x]):
            model.cp.add_hint(var, i == schedule.levels[x])
    for var, (family, tile) in zip(model.kernel.chosen, model.kernels, strict=True):
        model.cp.add_hint(var, (family.name, tile) == (schedule.kernel, schedule.tile))


def build(space: Space) -> _Model:
    """The model of the whole space, without an objective."""
    cp = cp_model.CpModel()
    loops = {d: _loop(cp, d, space.problem.sizes[d]) for d in DIMS}
    nest, kernel = _nest(cp, space), _kernel(cp, space, loops)
    visits = {operand: _visits(cp, operand, loops, nest) for operand in OPERANDS}
    partial = cp.new_bool_var("partial sums leave the registers")
    for var, leaves in ((kernel.keeps["C"], loops["k"].trips), (kernel.keeps["C"].Not(), kernel.tiles["k"])):
        cp.add(leaves >= 2).only_enforce_if(var, partial)
        cp.add(leaves == 1).only_enforce_if(var, partial.Not())
    for operand in sorted(space.staged):
        stays = [kernel.keeps[operand], *([partial.Not()] if operand == "C" else [])]
        cp.add_bool_or(stays).only_enforce_if(nest.levels[operand][REGISTER_LEVEL])
    _capacity(cp, space, loops, nest, visits, partial)
    external = {operand: _external(space, operand, visits[operand]) for operand in OPERANDS}
    if space.objective == "bytes":
        parts, scales = [sum(external.values()), _register_bytes(cp, space, loops, kernel)], [1, 1]
    else:
        rates = prices(space)
        # 1 where nothing costs anything, as on a machine that takes no energy
        each_byte = [rate[x] for x in sorted(space.staged) for rate in (rates.staged_byte, rates.direct_byte)]
        scale = math.gcd(rates.unit, *each_byte) or 1
        staging = sum(_crossing(cp, nest, x, rates, scale, external[x]) for x in sorted(space.staged))
        busy = (1 + fetch_cycles(space)) * _kernel_time(cp, space, loops, kernel)
        parts = [rates.unit // scale * (busy + _stall_time(cp, space, loops, kernel)) + staging]
        scales = [scale]
    return _Model(cp, loops, nest, kernel, space.kernels, parts, scales)


def _nest(cp: cp_model.CpModel, space: Space) -> _Nest:
    """Any order, any level for staged operands; others have the one that schedules write for them."""
    orders = [cp.new_bool_var(">".join(order)) for order in ORDERS]
    cp.add_exactly_one(orders)
    levels = {x: [cp.new_bool_var(f"{x} is held at level {i}") for i in range(REGISTER_LEVEL + 1)] for x in OPERANDS}
    for x, held in levels.items():
        cp.add_exactly_one(held)
        if x != "C" and x not in space.staged:
            cp.add(held[BLOCK_LEVEL] == 1)
    if "C" not in space.staged:
        # The sums beside a C in SRAM are kept until they are done: their level is where loop k is.
        for var, order in zip(orders, ORDERS, strict=True):
            cp.add_implication(var, levels["C"][order.index("k")])
    # Another level has as many visits as one of these and no smaller a tile: this excludes no cost.
    for x in sorted(space.staged):
        for var, order in zip(orders, ORDERS, strict=True):
            kept = order.index(REVISITED_BY[x])
            useful = {kept if kept < 2 else BLOCK_LEVEL, BLOCK_LEVEL, REGISTER_LEVEL}
            for level in set(range(REGISTER_LEVEL + 1)) - useful:
                cp.add_bool_or(var.Not(), levels[x][level].Not())
    every = [*orders, *(level for held in levels.values() for level in held)]
    cp.add_decision_strategy(every, cp_model.CHOOSE_FIRST, cp_model.SELECT_MAX_VALUE)
    return _Nest(orders, levels, tuple(x for x in OPERANDS if x in space.staged))


def _where(cp: cp_model.CpModel, nest: _Nest, operand: Operand, holds: Callable[[Order, int], bool], name: str) -> Var:
    """A Boolean that is true in the orders and at the hold levels of ``operand`` where ``holds`` says so."""
    found = cp.new_bool_var(name)
    for var, order in zip(nest.orders, ORDERS, strict=True):
        for level, held in enumerate(nest.levels[operand]):
            cp.add_bool_or(var.Not(), held.Not(), found if holds(order, level) else found.Not())
    return found


def _loop(cp: cp_model.CpModel, name: str, size: int) -> _Loop:
    """A loop of length ``size``: (trips - 1) * block < size <= trips * block."""
    block, trips = cp.new_int_var(1, size, f"{name}c"), cp.new_int_var(1, size, f"t{name}")
    runs = cp.new_bool_var(f"{name} runs more than once")
    cp.add(trips >= 2).only_enforce_if(runs)
    cp.add(trips == 1).only_enforce_if(runs.Not())
    full = cp.new_int_var(0, size - 1, f"{name} in all blocks but the last")
    cp.add_multiplication_equality(full, [trips - 1, block])
    cp.add(full + block >= size)
    return _Loop(size, block, trips, runs, full)


def _kernel(cp: cp_model.CpModel, space: Space, loops: dict[Dim, _Loop]) -> _Kernel:
    """One of the kernels that fit the registers; each block is cut into tiles of its own, the last one ragged."""
    kernels = space.kernels
    chosen = [cp.new_bool_var(f"{family.name} {tile}") for family, tile in kernels]
    cp.add_exactly_one(chosen)
    keeps = {operand: cp.new_bool_var(f"{operand} is stationary") for operand in OPERANDS}
    for operand, var in keeps.items():
        cp.add(sum(c for c, (family, _) in zip(chosen, kernels, strict=True) if family.stationary == operand) == var)
    tile, tiles = {}, {}
    for i, d in enumerate(DIMS):
        values = [t[i] for _, t in kernels]
        tile[d] = cp.new_int_var_from_domain(cp_model.Domain.from_values(values), f"{d}r")
        cp.add(sum(v * c for v, c in zip(values, chosen, strict=True)) == tile[d])
        tiles[d] = _tiles(cp, loops[d], tile[d], max(values), f"r{d}")
        # Redundant, for the bound: no loop is covered by fewer tiles than if one block held all of it.
        for value in set(values):
            among = [c for v, c in zip(values, chosen, strict=True) if v == value]
            picked = cp.new_bool_var(f"{d}r = {value}")
            cp.add(sum(among) == picked)
            cp.add(tiles[d] >= -(-loops[d].size // value)).only_enforce_if(picked)
    return _Kernel(chosen, tile, tiles, keeps)


def _tiles(cp: cp_model.CpModel, loop: _Loop, tile: Var, largest: int, name: str) -> Var:
    """Register tiles along a loop: (trips - 1) * ceil(block / tile) + ceil(last block / tile)."""

    def ceil_of(length: Expr, what: str) -> Var:
        quotient = cp.new_int_var(1, loop.size, what)
        cover = cp.new_int_var(1, loop.size + largest, "")
        cp.add_multiplication_equality(cover, [quotient, tile])
        cp.add(cover >= length)
        cp.add(cover - tile < length)
        return quotient

    each, last = ceil_of(loop.block, f"{name} of a block"), ceil_of(loop.size - loop.full, f"{name} of the last block")
    before = cp.new_int_var(0, loop.size, "")
    cp.add_multiplication_equality(before, [loop.trips - 1, each])
    total = cp.new_int_var(1, loop.size, name)
    cp.add(total == before + last)
    return total


def _visits(cp: cp_model.CpModel, operand: Operand, loops: dict[Dim, _Loop], nest: _Nest) -> Var:
    """How often each tile of ``operand`` is moved.

    Running the loop that does not index the operand, with a loop running inside it that cuts its tiles, brings every
    tile back; without one the tile is still held. Registers hold no tile from one block to the next.
    """
    outer = REVISITED_BY[operand]
    again = cp.new_bool_var(f"{operand} is moved again")
    reasons = [nest.levels[operand][REGISTER_LEVEL]]
    for d in INDEXED_BY[operand]:

        def inside(order: Order, level: int, d: Dim = d) -> bool:
            return order.index(outer) < order.index(d) < level

        cuts = _where(cp, nest, operand, inside, f"{d} cuts {operand} inside {outer}")
        reason = cp.new_bool_var(f"{d} runs inside {outer}")
        cp.add_implication(reason, cuts)
        cp.add_implication(reason, loops[d].runs)
        cp.add_bool_or(cuts.Not(), loops[d].runs.Not(), reason)
        reasons.append(reason)
    cp.add_max_equality(again, reasons)
    visits = cp.new_int_var(1, loops[outer].size, f"visits {operand}")
    cp.add(visits == loops[outer].trips).only_enforce_if(again)
    cp.add(visits == 1).only_enforce_if(again.Not())
    return visits


def _tile(cp: cp_model.CpModel, space: Space, operand: Operand, loops: dict[Dim, _Loop], nest: _Nest) -> Var:
    """Elements of the largest tile of ``operand``, 0 if it has none."""
    extents = []
    for d in INDEXED_BY[operand]:
        cut = _where(cp, nest, operand, lambda order, level, d=d: order.index(d) < level, f"{d} cuts {operand}")  # type: ignore[misc]
        extent = cp.new_int_var(1, loops[d].size, f"{d} of a tile of {operand}")
        cp.add(extent == loops[d].block).only_enforce_if(cut)
        cp.add(extent == loops[d].size).only_enforce_if(cut.Not())
        extents.append(extent)
    area = cp.new_int_var(1, space.problem.elements(operand), f"area of a tile of {operand}")
    cp.add_multiplication_equality(area, extents)
    tile, direct = cp.new_int_var(0, space.problem.elements(operand), f"tile of {operand}"), nest.levels[operand][-1]
    cp.add(tile == 0).only_enforce_if(direct)
    cp.add(tile == area).only_enforce_if(direct.Not())
    return tile


def _capacity(
    cp: cp_model.CpModel,
    space: Space,
    loops: dict[Dim, _Loop],
    nest: _Nest,
    visits: dict[Operand, Var],
    partial: Var,
) -> None:
    """The tiles fit the SRAM left for them, and partial sums that leave it have a place to go."""
    problem, room = space.problem, space.capacity
    inputs: list[Operand] = ["A", "B"]
    need = sum(space.copies * problem.width * _tile(cp, space, x, loops, nest) for x in inputs if x in space.staged)
    if not space.may_spill:
        cp.add(visits["C"] == 1)
    if "C" in space.staged:
        tile = _tile(cp, space, "C", loops, nest)
        cp.add(need + space.copies * problem.width * tile <= room).only_enforce_if(partial.Not())
        cp.add(need + space.copies * ACCUMULATOR_BYTES * tile <= room).only_enforce_if(partial)
    elif problem.width < ACCUMULATOR_BYTES:
        cp.add(need <= room)
        sums = _tile(cp, space, "C", loops, nest)
        cp.add(need + ACCUMULATOR_BYTES * sums <= room).only_enforce_if(partial)
    else:
        cp.add(need <= room)


def _external(space: Space, operand: Operand, visits: Var) -> Expr:
    """Bytes of ``operand`` that cross between its memory and SRAM."""
    problem = space.problem
    if operand not in space.staged:
        return 0
    if operand == "C":
        final, partial = problem.elements("C") * problem.width, problem.elements("C") * ACCUMULATOR_BYTES
        return final + (visits - 1) * partial + (visits - 1) * partial
    return visits * problem.bytes_of(operand)


def _crossing(cp: cp_model.CpModel, nest: _Nest, operand: Operand, rates: UnitPrices, scale: int, moved: Expr) -> Expr:
    """What the external bytes of a staged operand cost, in ``scale``: those through a tile, or straight ones."""
    staged, direct = (each[operand] // scale for each in (rates.staged_byte, rates.direct_byte))
    cost = cp.new_int_var(0, 1 << 56, f"cost of what crosses of {operand}")
    straight = nest.levels[operand][REGISTER_LEVEL]
    cp.add(cost == staged * moved).only_enforce_if(straight.Not())
    cp.add(cost == direct * moved).only_enforce_if(straight)
    cp.add(cost >= min(staged, direct) * moved)  # redundant, for the bound
    return cost


def _register_bytes(cp: cp_model.CpModel, space: Space, loops: dict[Dim, _Loop], kernel: _Kernel) -> Expr:
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


def _kernel_time(cp: cp_model.CpModel, space: Space, loops: dict[Dim, _Loop], kernel: _Kernel) -> Expr:
    """What the chosen kernel spends over all its tiles, from its family's cost data, and what its code in flash waits,
    in 1/CYCLE of a cycle.
    """
    problem = space.problem
    m, k, n = problem.m, problem.k, problem.n
    rm, rk, rn = kernel.tiles["m"], kernel.tiles["k"], kernel.tiles["n"]
    times = cp.new_int_var(1, k, "passes")
    cp.add(times == loops["k"].trips).only_enforce_if(kernel.keeps["C"])
    cp.add(times == rk).only_enforce_if(kernel.keeps["C"].Not())
    pairs = _product(cp, rm, rn, m * n)
    over = {"m": (rn, n), "n": (rm, m), "one": (pairs, m * n)}
    by_steps = {key: _product(cp, rk, var, k * most) for key, (var, most) in over.items()}
    by_passes = {key: _product(cp, times, var, k * most) for key, (var, most) in over.items()}
    by_once = {key: var for key, (var, _) in over.items()}
    # A call runs over the rows of a tile of C or A, or over the columns of a tile of B.
    inside, outer = cp.new_int_var(1, max(m, n) + 1, "calls for each tile and pass"), cp.new_int_var(1, max(m, n), "")
    calls = _product(cp, times, inside, k * (max(m, n) + 1))
    by_calls = _product(cp, calls, outer, k * (max(m, n) + 1) * max(m, n))
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


def _stall_time(cp: cp_model.CpModel, space: Space, loops: dict[Dim, _Loop], kernel: _Kernel) -> Expr:
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


def _product(cp: cp_model.CpModel, a: Var, b: Var, most: int) -> Var:
    product = cp.new_int_var(1, most, "")
    cp.add_multiplication_equality(product, [a, b])
    return product


def _schedule(space: Space, model: _Model, solver: cp_model.CpSolver) -> Schedule:
    def first(chosen: list[Var]) -> int:
        return next(i for i, var in enumerate(chosen) if solver.value(var))

    tile: RegisterTile
    family: GemmFamily
    family, tile = space.kernels[first(model.kernel.chosen)]
    mc, kc, nc = (solver.value(model.loops[d].block) for d in DIMS)
    a, b, c = (first(model.nest.levels[x]) if x in space.staged else BLOCK_LEVEL for x in OPERANDS)
    return space.schedule(ORDERS[first(model.nest.orders)], (a, b, c), (mc, kc, nc), family, tile)
