"""The constraint model of a whole space: what fits, and the objective's parts."""

import math
from typing import NamedTuple

from ortools.sat.python import cp_model

from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import REGISTER_LEVEL, Space
from memaopt.models.cp_sat_costs import chosen_bytes, chosen_time, crossed_bytes, crossing, stalls
from memaopt.models.cp_sat_variables import (
    BlockLoop,
    Expr,
    KernelVars,
    NestVars,
    Var,
    block_loop,
    kernel_of,
    nest_of,
    tile_of,
    turn,
    visits_of,
)
from memaopt.models.cycles import fetch_cycles
from memaopt.models.prices import prices
from memaopt.problems.gemm import ACCUMULATOR_BYTES, DIMS, OPERANDS, Dim, Operand
from memaopt.solver import empty_model


class NestModel(NamedTuple):
    """The container of variables that the objective and the schedule are read from.

    Costs are multiples of ``scales``; ``parts`` count in these, so that coefficients are small.
    """

    cp: cp_model.CpModel
    loops: dict[Dim, BlockLoop]
    nest: NestVars
    kernel: KernelVars
    kernels: tuple[tuple[GemmFamily, RegisterTile], ...]
    parts: list[Expr]
    scales: list[int]


def build(space: Space) -> NestModel:
    """The model of the whole space, without an objective."""
    cp = empty_model()
    loops = {d: block_loop(cp, d, space.problem.sizes[d]) for d in DIMS}
    nest, kernel = nest_of(cp, space), kernel_of(cp, space, loops)
    visits = {operand: visits_of(cp, operand, loops, nest) for operand in OPERANDS}
    partial = cp.new_bool_var("partial sums leave the registers")
    for var, leaves in ((kernel.keeps["C"], loops["k"].trips), (kernel.keeps["C"].Not(), kernel.tiles["k"])):
        cp.add(leaves >= 2).only_enforce_if(var, partial)
        cp.add(leaves == 1).only_enforce_if(var, partial.Not())
    for operand in sorted(space.staged):
        stays = [kernel.keeps[operand], *([partial.Not()] if operand == "C" else [])]
        cp.add_bool_or(stays).only_enforce_if(nest.levels[operand][REGISTER_LEVEL])
    _capacity(cp, space, loops, nest, visits, partial)
    turn(cp, loops, nest)
    external = {x: crossed_bytes(cp, space, x, loops, nest, visits[x]) for x in OPERANDS}
    if space.objective == "bytes":
        parts, scales = [sum(external.values()), chosen_bytes(cp, space, loops, kernel)], [1, 1]
    else:
        rates = prices(space)
        # 1 where nothing costs anything, as on a machine that takes no energy
        each_byte = [rate[x] for x in sorted(space.staged) for rate in (rates.staged_byte, rates.direct_byte)]
        scale = math.gcd(rates.unit, *each_byte) or 1
        staging = sum(crossing(cp, space, nest, x, rates, scale, external[x]) for x in sorted(space.staged))
        busy = (1 + fetch_cycles(space)) * chosen_time(cp, space, loops, kernel)
        parts = [rates.unit // scale * (busy + stalls(cp, space, loops, kernel)) + staging]
        scales = [scale]
    return NestModel(cp, loops, nest, kernel, space.kernels, parts, scales)


def _capacity(
    cp: cp_model.CpModel,
    space: Space,
    loops: dict[Dim, BlockLoop],
    nest: NestVars,
    visits: dict[Operand, Var],
    partial: Var,
) -> None:
    """The tiles fit the SRAM left for them, and partial sums that leave it have a place to go."""
    problem, room = space.problem, space.capacity
    inputs: list[Operand] = ["A", "B"]
    need = sum(space.copies * problem.width * tile_of(cp, space, x, loops, nest) for x in inputs if x in space.staged)
    if not space.may_spill:
        cp.add(visits["C"] == 1)
    if "C" in space.staged:
        tile = tile_of(cp, space, "C", loops, nest)
        cp.add(need + space.copies * problem.width * tile <= room).only_enforce_if(partial.Not())
        cp.add(need + space.copies * ACCUMULATOR_BYTES * tile <= room).only_enforce_if(partial)
    elif problem.width < ACCUMULATOR_BYTES:
        cp.add(need <= room)
        sums = tile_of(cp, space, "C", loops, nest)
        cp.add(need + ACCUMULATOR_BYTES * sums <= room).only_enforce_if(partial)
    else:
        cp.add(need <= room)
