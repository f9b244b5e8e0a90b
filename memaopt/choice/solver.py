"""The choice of kernels for OR-Tools CP-SAT, written from the statement of the problem.

It is asked where the exact search (:mod:`memaopt.choice.labels`) gives up, and in tests, which hold both against each
other. Nothing of that search's states, labels or bounds is used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from memaopt.choice.choice import Budgets, Stage
from memaopt.choice.clashes import Clash
from memaopt.choice.in_ram import code_room, constants_room
from memaopt.choice.offers import Price
from memaopt.kernels.registry import Format
from memaopt.solver import empty_model, limited

_UNITS = 5.0
_MOST_BYTES = 1 << 30


class Solved(NamedTuple):
    """Picks (None: none were found), their price, what no choice is below, whether the solver finished, and the
    deterministic time that it took."""

    picks: tuple[int, ...] | None
    value: int
    bound: int
    proven: bool
    units: float = 0.0


def solve(
    stages: Sequence[Stage],
    plain: frozenset[int],
    budgets: Budgets,
    price: Price,
    clashes: Sequence[Clash] = (),
    units: float = _UNITS,
    below: int | None = None,
) -> Solved:
    """Minimise the sum of ``price`` over the candidates taken, within ``units`` of deterministic time; only sums below
    ``below`` if that is given."""
    from ortools.sat.python import cp_model

    model: Any = empty_model()
    arena, stack = model.new_int_var(0, _MOST_BYTES, "arena"), model.new_int_var(0, _MOST_BYTES, "stack")
    taken = [[model.new_bool_var(f"x{i}_{j}") for j in range(len(s.candidates))] for i, s in enumerate(stages)]
    used = [(x, c) for row, s in zip(taken, stages, strict=True) for x, c in zip(row, s.candidates, strict=True)]
    for row, stage in zip(taken, stages, strict=True):
        model.add_exactly_one(row)
        model.add(arena >= sum(c.arena_bytes * x for x, c in zip(row, stage.candidates, strict=True)))
        model.add(stack >= sum(c.stack_bytes * x for x, c in zip(row, stage.candidates, strict=True)))
    _agree(model, stages, taken, plain)
    # A kernel is there once, and in one place.
    there = {c.plan.kernels: model.new_bool_var("") for _, c in used if c.plan.kernels}
    in_ram = {kernels: model.new_bool_var("") for kernels in there}
    flash, code = [], []
    for x, c in used:
        kernels = c.plan.kernels
        if kernels:
            model.add_implication(x, there[kernels])
            model.add(in_ram[kernels] == int(c.where.code)).only_enforce_if(x)
        elif c.where.code:
            code.append(code_room(c.plan) * x)
        flash.append((c.flash_bytes - (c.plan.shared_bytes if kernels else 0)) * x)
    size = {c.plan.kernels: c.plan.shared_bytes for _, c in used if c.plan.kernels}
    room = {c.plan.kernels: code_room(c.plan) for _, c in used if c.plan.kernels}
    flash += [size[kernels] * var for kernels, var in there.items()]
    for kernels, var in in_ram.items():
        both = model.new_bool_var("")
        model.add_bool_or(var.negated(), there[kernels].negated(), both)
        code.append(room[kernels] * both)
    for clash in clashes:
        met = [
            sum(x for x, c in zip(taken[i], stages[i].candidates, strict=True) if clash.met(i, c))
            for i in range(clash.first, clash.last + 1)
        ]
        all_met = model.new_bool_var("")
        model.add(sum(met) <= len(met) - 1 + all_met)
        if clash.code:
            model.add(sum(code) < clash.code).only_enforce_if(all_met)
        else:
            model.add(arena >= clash.arena).only_enforce_if(all_met)
    data = [constants_room(c.plan) * x for x, c in used if c.where.data]
    limits = (
        (arena + stack + sum(data) + sum(code), budgets.sram),
        (arena, budgets.arena),
        (sum(code), budgets.code_ram),
        (sum(data), budgets.constants_ram),
        (sum(flash) + budgets.flash_overhead, budgets.flash),
    )
    for what, limit in limits:
        if limit is not None:
            model.add(what <= limit)
    costs = [(x, price(c)) for x, c in used]
    for x, cost in costs:
        if cost is None:
            model.add(x == 0)
    total = sum(cost * x for x, cost in costs if cost is not None)
    if below is not None:
        model.add(total < below)
    model.minimize(total)
    solver = limited(units)
    solver.parameters.linearization_level = 2  # budgets and formats are sums: their relaxation bounds the price tightly
    status = solver.solve(model)
    spent = solver.response_proto.deterministic_time
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solved(None, 0, 0, status == cp_model.INFEASIBLE, spent)
    picks = tuple(next(j for j, x in enumerate(row) if solver.boolean_value(x)) for row in taken)
    bound = round(solver.best_objective_bound)
    return Solved(picks, round(solver.objective_value), bound, status == cp_model.OPTIMAL, spent)


def _agree(model: Any, stages: Sequence[Stage], taken: Sequence[Sequence[Any]], plain: frozenset[int]) -> None:
    """A tensor has one format: the one of the candidate that writes it, and of each that reads it."""
    tensors = sorted({t for stage in stages for t in (*stage.inputs, stage.output) if t is not None})
    formats = {t: {f: model.new_bool_var(f"{f}{t}") for f in Format} for t in tensors}
    for t, has in formats.items():
        model.add_exactly_one(has.values())
        if t in plain:
            model.add(has[Format.S8] == 1)
    for stage, row in zip(stages, taken, strict=True):
        for f in Format:
            reads = sum(x for x, c in zip(row, stage.candidates, strict=True) if c.plan.input_format is f)
            writes = sum(x for x, c in zip(row, stage.candidates, strict=True) if c.plan.output_format is f)
            model.add(writes == formats[stage.output][f])
            for tensor in stage.inputs:
                model.add(reads == (int(f is Format.S8) if tensor is None else formats[tensor][f]))
