"""Kernels of the networks as schedules of an s8 product with constant weights: a list that each model searches.

A layer kernel computes the whole product. It reads B and writes C where they live, word by word as its plan promises;
its weights, in the form that it reads, lie where A is placed, or are copied from there into scratch first. A plan is
priced as a nest is: by what crosses between memories, or by its cycles with the machine's wait states.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from memaopt.access import Access
from memaopt.errors import InfeasibleError, UnfinishedError
from memaopt.kernels import registry
from memaopt.kernels.gemm.families import CYCLE
from memaopt.kernels.plan import Format, Plan
from memaopt.kernels.schedule import CODE_BYTES, STACK_BYTES, AnySchedule, LayerSchedule, Space
from memaopt.machines.memory import Memory
from memaopt.models import feasibility
from memaopt.models import prices as nest
from memaopt.models.answers import Answer
from memaopt.models.fetching import TABLE_SIXTEENTHS
from memaopt.models.waits import timing, waiting
from memaopt.problems import reference
from memaopt.problems.gemm import Gemm, Operand
from memaopt.problems.layers import Conv, FullyConnected

#: What the kernels use of the core's registers: r0 to r12 and lr.
REGISTERS = 14
#: Weights beyond are left to the nests: their plans hold what takes long to prove, and more flash than chips have.
MOST_WEIGHTS = 1 << 22


class Offer(NamedTuple):
    """A plan of the list: the layer that it computes, and how a schedule names it."""

    layer: Conv | FullyConnected
    plan: Plan
    schedule: LayerSchedule


#: The price of a plan, None if it does not fit.
Price = tuple[int, ...] | None


@lru_cache(maxsize=64)
def _plans(problem: Gemm) -> tuple[tuple[Conv | FullyConnected, Plan], ...]:
    """Every plan that reads and writes plain int8, and its like that copies its constants first."""
    if problem.weights is None or problem.bytes_of("A") > MOST_WEIGHTS:
        return ()
    found = []
    for layer in reference.layers(problem):
        plain = [p for p in registry.plans(layer) if p.input_format == p.output_format == Format.S8]
        copies = [copy for p in plain if (copy := registry.staged(p)) is not None]
        found += [(layer, plan) for plan in (*plain, *copies)]
    return tuple(found)


def offers(space: Space) -> list[Offer]:
    """The plans of a space that are for such a core, those that do not fit included.

    Under ``bytes`` only kernels in assembly: what others do to the stack is their compiler's. Constants in SRAM are not
    copied there again, and what runs from RAM are the kernels of a plan.
    """
    in_sram = space.problem.placement.a == space.machine.sram.name
    of_kernels = space.code == "ram" or space.objective == "bytes"
    return [
        Offer(
            layer,
            plan,
            LayerSchedule(
                layer="Conv" if isinstance(layer, Conv) else "FullyConnected",
                family=plan.family,
                tile=plan.tile,
                options=plan.options,
                code=space.code,
            ),
        )
        for layer, plan in _plans(space.problem)
        if not (in_sram and plan.streams is not None)
        and (plan.kernels or not of_kernels)
        and plan.runs_on(space.machine.core.has_fpu)
    ]


def prices(space: Space) -> list[Price]:
    """The price of each plan of a space."""
    plans = [each.plan for each in offers(space)]
    return [price(space, plan) if why_too_large(space, plan) is None else None for plan in plans]


def offer(space: Space, schedule: LayerSchedule) -> Offer:
    """The plan that a schedule names; InfeasibleError if the space has none of that name."""
    for each in offers(space):
        if each.schedule == schedule:
            return each
    raise InfeasibleError(f"no layer kernel {schedule} computes gemm {space.problem.name}")


def why_too_large(space: Space, plan: Plan) -> str | None:
    """Why the plan does not fit the machine, None if it does."""
    if (need := _need(space, plan)) > space.capacity:
        return f"its scratch and stack need {need:,} bytes of SRAM, and {space.capacity:,} are left for them"
    return _why_not(space, plan)


def _why_not(space: Space, plan: Plan) -> str | None:
    """What else than SRAM keeps the plan out, None if nothing does."""
    problem, machine = space.problem, space.machine
    if plan.kernels and machine.core.core_registers < REGISTERS:
        return f"its kernel uses {REGISTERS} registers, and there are {machine.core.core_registers}"
    home = machine.memory(problem.placement.a)
    # Where A lives lie its constants; the space has set aside room for A itself.
    others: list[Operand] = [x for x in ("B", "C") if problem.placement.of(x) == home.name]
    if home != machine.sram and plan.data_bytes + sum(map(problem.bytes_of, others)) > home.size:
        return f"its constants take {plan.data_bytes:,} bytes, and {home.name} has {home.size:,}"
    if space.code == "ram" and plan.code_bytes > CODE_BYTES:
        return f"its code takes {plan.code_bytes:,} bytes, and {CODE_BYTES:,} of RAM are set aside for code"
    return None


def _need(space: Space, plan: Plan) -> int:
    """Bytes of SRAM that the plan takes beyond the operands that live there and the stack that is set aside."""
    in_sram = space.problem.placement.a == space.machine.sram.name
    constants = plan.data_bytes - space.problem.bytes_of("A") if in_sram else 0
    return plan.scratch_bytes + max(plan.stack_bytes - STACK_BYTES, 0) + constants


def least(space: Space) -> int | None:
    """The fewest bytes of SRAM that a plan of the space takes; None if something else than SRAM keeps all out."""
    return min((_need(space, each.plan) for each in offers(space) if _why_not(space, each.plan) is None), default=None)


def promise(plan: Plan) -> dict[str, Access]:
    """What a call accesses, by buffer: the operands, the constants, scratch, the kernels' stack."""
    names = {"input": "B", "output": "C", "parameters": "weights"}
    return dict(sorted((names.get(name, name), access) for name, access in plan.promise.buffers.items()))


def external_bytes(space: Space, plan: Plan) -> int:
    """Bytes of B, C and the constants that cross between the memories outside SRAM and the rest."""
    return sum(_crossing(space, plan).values())


def _crossing(space: Space, plan: Plan) -> dict[Operand, int]:
    buffers = promise(plan)
    moved: dict[Operand, int] = {"A": buffers["weights"].bytes, "B": buffers["B"].bytes, "C": buffers["C"].bytes}
    outside = {x for x in moved if space.problem.placement.of(x) != space.machine.sram.name}
    return {x: size for x, size in moved.items() if x in outside}


def register_bytes(plan: Plan) -> int:
    """Bytes that cross to and from registers, those that a copy of the constants moves apart."""
    total = sum(access.bytes for access in promise(plan).values())
    return total - (2 * plan.promise.parameters.load_bytes if plan.streams is not None else 0)


def cycles(space: Space, plan: Plan) -> int:
    """Cycles of a call with the machine's wait states, as predicted."""
    machine, problem = space.machine, space.problem
    figures, in_ram = timing(machine), space.code == "ram"
    home = {x: machine.memory(problem.placement.of(x)) for x in ("A", "B", "C")}
    a_in_flash = home["A"].kind == "flash"
    waits = waiting(plan.code, figures, in_ram, not a_in_flash)
    if figures.first == 0 and a_in_flash and not in_ram:
        waits += plan.promise.parameters.loads * TABLE_SIXTEENTHS / 16
    moved = promise(plan)
    # The constants and B are read in order; the bytes of C lie M apart.
    waits += 0 if a_in_flash else _waits(home["A"], moved["weights"].loads, 1)
    waits += _waits(home["B"], moved["B"].loads, 1)
    waits += _waits(home["C"], moved["C"].stores, moved["C"].stores)
    return plan.cycles + round(waits)


def _waits(memory: Memory, accesses: int, starts: int) -> int:
    """What accesses wait, if ``starts`` of them are not next to the one before."""
    if memory.accelerator is not None:
        return accesses * memory.first * 4 // memory.accelerator.read_bytes + starts * memory.first
    return accesses * memory.next + starts * (memory.first - memory.next)


def price(space: Space, plan: Plan) -> tuple[int, ...]:
    """The objective's value, in the units of :func:`memaopt.models.prices.price`."""
    if space.objective == "bytes":
        return external_bytes(space, plan), register_bytes(plan)
    moved = sum(nest.byte_price(space, x) * size for x, size in _crossing(space, plan).items())
    return (nest.time_unit(space) * CYCLE * cycles(space, plan) + CYCLE * moved,)


def price_of(space: Space, schedule: AnySchedule) -> tuple[int, ...]:
    """The objective's value for one schedule, a nest or a layer kernel."""
    if isinstance(schedule, LayerSchedule):
        return price(space, offer(space, schedule).plan)
    return nest.price_of(space, schedule)


def predicted_cycles(space: Space, schedule: AnySchedule) -> int:
    """Cycles of one call of a nest or a layer kernel, with the machine's wait states in its setting, as predicted."""
    if isinstance(schedule, LayerSchedule):
        return cycles(space, offer(space, schedule).plan)
    return nest.predicted_cycles(space, schedule)


def why_infeasible(space: Space, schedule: AnySchedule) -> str | None:
    """Why the schedule is outside the space, or None if it is inside."""
    if isinstance(schedule, LayerSchedule) != space.layers:
        return "layer kernels and nests of blocks are apart"
    if not isinstance(schedule, LayerSchedule):
        return feasibility.why_infeasible(space, schedule)
    try:
        return why_too_large(space, offer(space, schedule).plan)
    except InfeasibleError as error:
        return str(error)


def closed_form(space: Space) -> Answer:
    """The first plan in the order of their prices."""

    def first(prices: list[Price]) -> int | None:
        return next((i for _, i in sorted((price, i) for i, price in enumerate(prices) if price is not None)), None)

    return _answer(space, "closed_form", first)


def exhaustive(space: Space) -> Answer:
    """The best of all plans, looked at one by one."""

    def best(prices: list[Price]) -> int | None:
        least: int | None = None
        for i, price in enumerate(prices):
            if price is not None and (least is None or price < (prices[least] or ())):
                least = i
        return least

    return _answer(space, "exhaustive", best)


def cp_sat(space: Space) -> Answer:
    """The plan that CP-SAT picks: a Boolean for each that fits, exactly one of them true."""

    def picked(prices: list[Price]) -> int | None:
        from ortools.sat.python import cp_model

        from memaopt.solver import empty_model, limited

        costs = {i: price for i, price in enumerate(prices) if price is not None}
        fixed: list[int] = []
        found: int | None = None
        for part in range(max(map(len, costs.values()), default=0)):
            model = empty_model()
            chosen = {i: model.new_bool_var("") for i in costs}
            model.add_exactly_one(chosen.values())
            parts = [sum(costs[i][p] * taken for i, taken in chosen.items()) for p in range(part + 1)]
            for total, value in zip(parts, fixed, strict=False):
                model.add(total == value)
            model.minimize(parts[part])
            solver = limited(1.0)
            if solver.solve(model) != cp_model.OPTIMAL:
                raise UnfinishedError(f"gemm {space.problem.name}: CP-SAT chose no layer kernel within its limit")
            found = next(i for i, taken in chosen.items() if solver.value(taken))
            fixed.append(costs[found][part])
        return found

    return _answer(space, "cp_sat", picked)


def _answer(space: Space, model: str, search: Callable[[list[Price]], int | None]) -> Answer:
    start, found = time.perf_counter(), prices(space)
    picked = search(found)
    cost = None if picked is None else found[picked]
    if picked is None or cost is None:
        raise InfeasibleError(f"no layer kernel of gemm {space.problem.name} fits {space.machine.name}")
    return Answer(
        model=model,
        schedule=offers(space)[picked].schedule,
        objective=cost,
        proven=True,
        milliseconds=1e3 * (time.perf_counter() - start),
    )
