"""Random problems, machines and spaces for the tests of the optimisation models."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from memaopt.kernels.gemm.families import RegisterTile
from memaopt.kernels.schedule import (
    BLOCK_LEVEL,
    BUFFERINGS,
    ORDERS,
    REGISTER_LEVEL,
    STACK_BYTES,
    Schedule,
    Space,
    space,
)
from memaopt.machines.mcu import Mcu, mcu
from memaopt.models.prices import combined, kernel_cost, staging_cost
from memaopt.models.traffic import counts, footprint, looped_of, may_be_direct, passes
from memaopt.models.walks import WalkChoice, choices, kept_by, together, visits, walk
from memaopt.problems.gemm import DIMS, DTYPES, OPERANDS, Dim, Gemm, gemm
from memaopt.problems.words import OBJECTIVES

_BASE = mcu("stm32l4r5")
Draw = st.DrawFn


def machine_with(sram: int, *, external: int = 1 << 20, core: int = 14, fpu: int = 32, waits: int = 0) -> Mcu:
    """A machine with flash, SRAM and one external memory of these sizes and registers, and figures to price them."""
    energies = {"flash": 9.0, "sram": 1.0, "qspi": 50.0}
    memories = [
        memory.model_copy(
            update={
                "next": waits,
                "first": waits,
                "energy_pj_per_byte": energies[memory.name],
                "waits_by_clock": None,
            }
        )
        for memory in _BASE.memories
    ]
    registers: dict[str, object] = {"core_registers": core, "fpu_registers": fpu}
    fewer = _BASE.core.model_copy(update=registers if fpu else {**registers, "gcc_fpu": None})
    changes = {"memories": tuple(memories), "core": fewer, "power_mw": 37.0}
    return _BASE.model_copy(update=changes).with_sizes(sram=sram, qspi=external)


@st.composite
def problems(draw: Draw, most: int = 14) -> Gemm:
    """Gemms of every dtype with each operand in any memory that can hold it; sizes of 1 are frequent."""
    size = st.integers(1, most) | st.sampled_from((1, 2, most))
    m, k, n = draw(size), draw(size), draw(size)
    homes = {x: draw(st.sampled_from(("flash", "sram", "qspi"))) for x in "ab"}
    homes["c"] = draw(st.sampled_from(("sram", "qspi")))
    return gemm(m, k, n, dtype=draw(st.sampled_from(DTYPES)), placement=homes)


@st.composite
def spaces(draw: Draw, most: int = 14, objectives: tuple[str, ...] = OBJECTIVES, small: bool = False) -> Space:
    """Spaces with little SRAM for tiles, sometimes too little, and sometimes no room for partial sums outside.

    ``small``: so few registers that there are only a handful of kernels.
    """
    problem = draw(problems(most))
    inside = [x for x in ("A", "B", "C") if problem.placement.of(x) == "sram"]
    outside = [x for x in ("A", "B", "C") if problem.placement.of(x) == "qspi"]
    whole = 4 * (problem.elements("A") + problem.elements("B") + 2 * problem.elements("C"))
    tiles = draw(st.integers(0, 48) | st.integers(0, whole))
    room = draw(st.sampled_from((0, 4 * problem.elements("C") - 1, 4 * problem.elements("C"), 1 << 16)))
    objective = draw(st.sampled_from(objectives))
    # Without an FPU there is no f32, and what takes cycles has no figures.
    without = [(9, 0), (14, 0)] if problem.dtype != "f32" and objective == "bytes" else []
    registers = draw(st.sampled_from(((8, 9), (9, 11)) if small else ((14, 32), (9, 11), (11, 16), *without)))
    machine = machine_with(
        sum(problem.bytes_of(x) for x in inside) + STACK_BYTES + tiles,
        external=max(1, sum(problem.bytes_of(x) for x in outside) + room),
        core=registers[0],
        fpu=registers[1],
        waits=draw(st.sampled_from((0, 2, 8))),
    )
    return space(problem, machine, objective, draw(st.sampled_from(BUFFERINGS)))


def holds(where: Space) -> Iterator[tuple[int, int, int]]:
    """Every hold level of every staged operand."""
    return product(*(range(REGISTER_LEVEL + 1) if x in where.staged else (BLOCK_LEVEL,) for x in OPERANDS))


def turnings(where: Space) -> Iterator[WalkChoice]:
    """Every order and every hold level with which a middle loop may run there and back."""
    for order, hold in product(ORDERS, holds(where)) if where.may_turn else ():
        kept = kept_by(order)
        if kept != "C" and kept in where.staged and hold[OPERANDS.index(kept)] == BLOCK_LEVEL:
            yield WalkChoice(order, hold, True)


@st.composite
def schedules_in(draw: Draw, where: Space) -> Schedule:
    """Any schedule: blocks, order, hold levels and kernel at will, whether its tiles fit or not."""
    family, tile = draw(st.sampled_from(where.kernels))
    sizes = where.problem.sizes
    turning = draw(st.sampled_from([None, *turnings(where)]))
    if turning is not None and all(sizes[d] > 1 for d in turning.order[:2]):
        block: dict[Dim, int] = {d: draw(st.integers(1, sizes[d] - 1)) for d in turning.order[:2]}
        block[turning.order[2]] = sizes[turning.order[2]]
        mc, kc, nc = (block[d] for d in DIMS)
        c = counts(where.problem, mc, kc, nc, tile)
        direct = [x for x, level in zip(OPERANDS, turning.hold, strict=True) if level == REGISTER_LEVEL]
        if all(may_be_direct(family, c, x) for x in direct):
            return where.schedule(*turning, (mc, kc, nc), family, tile)
    mc, kc, nc = (draw(st.integers(1, size)) for size in sizes.values())
    c = counts(where.problem, mc, kc, nc, tile)
    levels = [
        [level for level in each if level != REGISTER_LEVEL or may_be_direct(family, c, x)]
        for x, each in zip(OPERANDS, zip(*holds(where), strict=True), strict=True)
    ]
    return Schedule(
        order=draw(st.sampled_from(ORDERS)),
        hold=tuple(draw(st.sampled_from(sorted(set(each)))) for each in levels),  # type: ignore[arg-type]
        mc=mc,
        kc=kc,
        nc=nc,
        buffering=where.buffering,
        kernel=family.name,
        mr=tile.mr,
        kr=tile.kr,
        nr=tile.nr,
    )


@st.composite
def spaces_with_schedule(draw: Draw, most: int = 14) -> tuple[Space, Schedule]:
    """A space and any schedule of its problem."""
    where = draw(spaces(most))
    return where, draw(schedules_in(where))


def turns(where: Space, schedule: Schedule) -> bool:
    """Whether the outer two loops run more than once and the innermost does not."""
    *outer, innermost = (schedule.block[d] < where.problem.sizes[d] for d in schedule.order)
    return all(outer) and not innermost


def every_schedule(where: Space) -> Iterator[Schedule]:
    """Every schedule there is, one by one: all MC, KC, NC and kernels in every walk of a cost of its own."""
    p = where.problem
    blocks = product(range(1, p.m + 1), range(1, p.k + 1), range(1, p.n + 1))
    for block, (family, tile) in product(blocks, where.kernels):
        c = counts(p, *block, tile)
        for order, hold, turning in (*choices(where, family.stationary), *turnings(where)):
            direct = [x for x, level in zip(OPERANDS, hold, strict=True) if level == REGISTER_LEVEL]
            schedule = where.schedule(order, hold, turning, block, family, tile)
            if all(may_be_direct(family, c, x) for x in direct) and (not turning or turns(where, schedule)):
                yield schedule


def brute_force(where: Space) -> tuple[int, ...] | None:
    """The optimum over every MC, KC, NC, order, hold level and kernel, dropping nothing; None if none is feasible."""
    p = where.problem
    axes = np.meshgrid(*(np.arange(1, size + 1, dtype=np.int64) for size in (p.m, p.k, p.n)), indexing="ij")
    block = [axis.ravel() for axis in axes]
    # Rows are walks, columns blocks; walks of equal flags are one.
    every = [*(WalkChoice(*each) for each in product(ORDERS, holds(where))), *turnings(where)]
    walks = {(path := walk(where, *each)).key: (each, path) for each in every}
    path = together(where.staged, tuple(each for each, _ in walks.values())).every
    c = counts(p, *block, RegisterTile(1, 1, 1))
    shape = len(np.asarray(path.direct["C"])), len(block[0])
    need = [np.broadcast_to(footprint(where, path, *block, accumulating), shape) for accumulating in (0, 1)]
    staging = np.broadcast_to(staging_cost(where, path, c), shape)
    placed = where.may_spill | np.broadcast_to(visits(path, c.trips, "C") == 1, shape)
    runs = {d: along < p.sizes[d] for d, along in zip(DIMS, block, strict=True)}
    turned = [
        runs[each.order[0]] & runs[each.order[1]] & ~runs[each.order[2]] | (not each.turning)
        for each, _ in walks.values()
    ]
    placed = placed & np.array(turned)
    best: tuple[int, ...] | None = None
    for family, tile in where.kernels:
        c = counts(p, *block, tile, looped_of(where, family, tile))
        fits = placed & (np.where(passes(family, c) > 1, need[1], need[0]) <= where.capacity)
        for x in OPERANDS:
            fits &= np.asarray(may_be_direct(family, c, x)) | (np.asarray(path.direct[x]) == 0)
        if fits.any():
            kernel = np.broadcast_to(kernel_cost(where, family, tile, c), shape)
            found = _least([np.asarray(part) for part in combined(where, staging[fits], kernel[fits])])
            best = found if best is None else min(best, found)
    return best


def _least(cost: list[npt.NDArray[np.int64]]) -> tuple[int, ...]:
    """The lexicographically smallest column."""
    chosen = np.arange(len(cost[0]))
    for part in cost:
        chosen = chosen[part[chosen] == part[chosen].min()]
    return tuple(int(part[chosen[0]]) for part in cost)
