"""The constraint model's variables of a nest, each with the constraints that say what it is.

Nothing of the closed form's case analysis is used: blocks and trip counts are integer variables tied by what a trip
count is, the loop order is a permutation, a block is revisited when the loop that does not index it runs outside one
that does, and a kernel is one Boolean for each register tile that fits. ``docs/models.md`` writes it out.
"""

from collections.abc import Callable
from typing import NamedTuple

from ortools.sat.python import cp_model

from memaopt.kernels.schedule import BLOCK_LEVEL, ORDERS, REGISTER_LEVEL, Order, Space
from memaopt.models.walks import kept_by
from memaopt.problems.gemm import DIMS, INDEXED_BY, OPERANDS, REVISITED_BY, Dim, Operand

Var = cp_model.IntVar
Expr = cp_model.LinearExpr | int


class BlockLoop(NamedTuple):
    """One loop over blocks: the block, its trip count, and whether it runs more than once."""

    size: int
    block: Var
    trips: Var
    runs: Var
    full: Var


class NestVars(NamedTuple):
    """The order of the loops, whether the middle one turns, and for each operand one Boolean for each hold level;
    ``free`` are the staged ones.
    """

    orders: list[Var]
    turning: Var
    levels: dict[Operand, list[Var]]
    free: tuple[Operand, ...]


class KernelVars(NamedTuple):
    """The register kernel: which operand it keeps, its tile, and the tiles along each loop over all blocks; ``cut``:
    how each loop is cut into them.
    """

    chosen: list[Var]
    tile: dict[Dim, Var]
    tiles: dict[Dim, Var]
    keeps: dict[Operand, Var]
    cut: dict[Dim, "Cut"]


class Cut(NamedTuple):
    """Register tiles in each block but the last of a loop, and in that; how far whole tiles reach beyond each."""

    each: Var
    each_beyond: Expr
    last: Var
    last_beyond: Expr


def nest_of(cp: cp_model.CpModel, space: Space) -> NestVars:
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
    turning = cp.new_bool_var("the middle loop runs there and back")
    if not space.may_turn:
        cp.add(turning == 0)
    for var, order in zip(orders, ORDERS, strict=True):
        stays = kept_by(order)
        tile = [levels[stays][BLOCK_LEVEL]] if stays != "C" and stays in space.staged else []
        cp.add_bool_or(var.Not(), turning.Not(), *tile)
    every = [*orders, turning, *(level for held in levels.values() for level in held)]
    cp.add_decision_strategy(every, cp_model.CHOOSE_FIRST, cp_model.SELECT_MAX_VALUE)
    return NestVars(orders, turning, levels, tuple(x for x in OPERANDS if x in space.staged))


def _where(
    cp: cp_model.CpModel, nest: NestVars, operand: Operand, holds: Callable[[Order, int], bool], name: str
) -> Var:
    """A Boolean that is true in the orders and at the hold levels of ``operand`` where ``holds`` says so."""
    found = cp.new_bool_var(name)
    for var, order in zip(nest.orders, ORDERS, strict=True):
        for level, held in enumerate(nest.levels[operand]):
            cp.add_bool_or(var.Not(), held.Not(), found if holds(order, level) else found.Not())
    return found


def block_loop(cp: cp_model.CpModel, name: str, size: int) -> BlockLoop:
    """A loop of length ``size``: (trips - 1) * block < size <= trips * block."""
    block, trips = cp.new_int_var(1, size, f"{name}c"), cp.new_int_var(1, size, f"t{name}")
    runs = cp.new_bool_var(f"{name} runs more than once")
    cp.add(trips >= 2).only_enforce_if(runs)
    cp.add(trips == 1).only_enforce_if(runs.Not())
    full = cp.new_int_var(0, size - 1, f"{name} in all blocks but the last")
    cp.add_multiplication_equality(full, [trips - 1, block])
    cp.add(full + block >= size)
    return BlockLoop(size, block, trips, runs, full)


def kernel_of(cp: cp_model.CpModel, space: Space, loops: dict[Dim, BlockLoop]) -> KernelVars:
    """One of the kernels that fit the registers; each block is cut into tiles of its own, the last one ragged."""
    kernels = space.kernels
    chosen = [cp.new_bool_var(f"{family.name} {tile}") for family, tile in kernels]
    cp.add_exactly_one(chosen)
    keeps = {operand: cp.new_bool_var(f"{operand} is stationary") for operand in OPERANDS}
    for operand, var in keeps.items():
        cp.add(sum(c for c, (family, _) in zip(chosen, kernels, strict=True) if family.stationary == operand) == var)
    tile, tiles, cut = {}, {}, {}
    for i, d in enumerate(DIMS):
        values = [t[i] for _, t in kernels]
        tile[d] = cp.new_int_var_from_domain(cp_model.Domain.from_values(values), f"{d}r")
        cp.add(sum(v * c for v, c in zip(values, chosen, strict=True)) == tile[d])
        tiles[d], cut[d] = _tiles(cp, loops[d], tile[d], max(values), f"r{d}")
        # Redundant, for the bound: no loop is covered by fewer tiles than if one block held all of it.
        for value in set(values):
            among = [c for v, c in zip(values, chosen, strict=True) if v == value]
            picked = cp.new_bool_var(f"{d}r = {value}")
            cp.add(sum(among) == picked)
            cp.add(tiles[d] >= -(-loops[d].size // value)).only_enforce_if(picked)
    return KernelVars(chosen, tile, tiles, keeps, cut)


def _tiles(cp: cp_model.CpModel, loop: BlockLoop, tile: Var, largest: int, name: str) -> tuple[Var, Cut]:
    """Register tiles along a loop: (trips - 1) * ceil(block / tile) + ceil(last block / tile)."""

    def ceil_of(length: Expr, what: str) -> tuple[Var, Expr]:
        quotient = cp.new_int_var(1, loop.size, what)
        cover = cp.new_int_var(1, loop.size + largest, "")
        cp.add_multiplication_equality(cover, [quotient, tile])
        cp.add(cover >= length)
        cp.add(cover - tile < length)
        return quotient, cover - length

    each, each_beyond = ceil_of(loop.block, f"{name} of a block")
    last, last_beyond = ceil_of(loop.size - loop.full, f"{name} of the last block")
    before = cp.new_int_var(0, loop.size, "")
    cp.add_multiplication_equality(before, [loop.trips - 1, each])
    total = cp.new_int_var(1, loop.size, name)
    cp.add(total == before + last)
    return total, Cut(each, each_beyond, last, last_beyond)


def runs_of(cp: cp_model.CpModel, loop: BlockLoop, cut: Cut) -> Var:
    """Runs of equal register tiles along a loop: one in each block, two where whole tiles are followed by another."""

    def two(tiles: Var, beyond: Expr, what: str) -> Var:
        found, many, ragged = (cp.new_bool_var(f"{what}: {why}") for why in ("two runs", "several tiles", "a rest"))
        cp.add(tiles >= 2).only_enforce_if(many)
        cp.add(tiles == 1).only_enforce_if(many.Not())
        cp.add(beyond >= 1).only_enforce_if(ragged)
        cp.add(beyond == 0).only_enforce_if(ragged.Not())
        cp.add_min_equality(found, [many, ragged])
        return found

    each, last = two(cut.each, cut.each_beyond, "each block"), two(cut.last, cut.last_beyond, "the last block")
    before = cp.new_int_var(0, loop.size, "")
    cp.add_multiplication_equality(before, [loop.trips - 1, each])
    runs = cp.new_int_var(1, 2 * loop.size, "runs")
    cp.add(runs == loop.trips + before + last)
    return runs


def visits_of(cp: cp_model.CpModel, operand: Operand, loops: dict[Dim, BlockLoop], nest: NestVars) -> Var:
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


def turn(cp: cp_model.CpModel, loops: dict[Dim, BlockLoop], nest: NestVars) -> None:
    """The middle loop turns where it and the one outside it run more than once, and the innermost once."""
    for var, (outer, middle, innermost) in zip(nest.orders, ORDERS, strict=True):
        for runs in (loops[outer].runs, loops[middle].runs, loops[innermost].runs.Not()):
            cp.add_bool_or(var.Not(), nest.turning.Not(), runs)


def moved_of(
    cp: cp_model.CpModel, space: Space, operand: Operand, loops: dict[Dim, BlockLoop], nest: NestVars, visits: Var
) -> Expr:
    """Elements of a staged A or B that are moved: all of them at each visit, but for what stays where a loop turns.

    That is the far block of the loop at the first turn, the near one at the next, and so on by turns, so each sweep
    after the first moves the rest. Where there are two blocks the near one is what the far one leaves.
    """
    elements = space.problem.elements(operand)
    if not space.may_turn:
        return visits * elements
    outer = loops[REVISITED_BY[operand]]
    back = cp.new_int_var(0, outer.size, f"turns at the near end, for {operand}")
    cp.add(2 * back <= outer.trips - 1)
    cp.add(2 * back >= outer.trips - 2)
    there = cp.new_int_var(0, outer.size, f"turns at the far end, for {operand}")
    cp.add(there == outer.trips - 1 - back)
    moved = cp.new_int_var(elements, outer.size * elements, f"elements moved of {operand}")
    straight = [nest.turning.Not()]
    for var, order in zip(nest.orders, ORDERS, strict=True):
        if order[0] != REVISITED_BY[operand]:
            straight.append(var)
            continue
        loop = loops[order[1]]
        several = cp.new_bool_var(f"{order[1]} has three blocks or more")
        cp.add(loop.trips >= 3).only_enforce_if(several)
        cp.add(loop.trips <= 2).only_enforce_if(several.Not())
        far_rest, near_rest = (
            cp.new_int_var(0, loop.size, f"{order[1]} but for its {end} block") for end in ("far", "near")
        )
        cp.add(far_rest == loop.size - loop.block)
        cp.add(near_rest == far_rest).only_enforce_if(several)
        cp.add(near_rest == loop.block).only_enforce_if(several.Not())
        after_far, after_near = (cp.new_int_var(0, outer.size * loop.size, "") for _ in range(2))
        cp.add_multiplication_equality(after_far, [there, far_rest])
        cp.add_multiplication_equality(after_near, [back, near_rest])
        row = elements // loop.size
        cp.add(moved == row * (loop.size + after_far + after_near)).only_enforce_if(var, nest.turning)
    for each in straight:
        cp.add(moved == visits * elements).only_enforce_if(each)
    return moved


def tile_of(cp: cp_model.CpModel, space: Space, operand: Operand, loops: dict[Dim, BlockLoop], nest: NestVars) -> Var:
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


def product(cp: cp_model.CpModel, a: Var, b: Var, most: int) -> Var:
    product = cp.new_int_var(1, most, "")
    cp.add_multiplication_equality(product, [a, b])
    return product
