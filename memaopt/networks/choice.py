"""The choice of kernels as an optimisation: one plan for each operator, the best together under the budgets.

CP-SAT picks for every operator one of its plans (kernel family, tile, activation formats) and where its code and
constants live. A tensor has one format, so its producer and all its readers agree on it; the network's ends are plain
int8. Two operators computed as one agree on the format ``fused`` (see fusion.py).

Flash is what the plans' constants and code take, a kernel that several layers share counted once. SRAM is the
largest arena that an operator needs, the largest stack, and what was placed in RAM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from memaopt.emit.layers import Format, Plan
from memaopt.errors import DisagreementError, InfeasibleError
from memaopt.networks.placement import IN_FLASH, Placement, code_bytes
from memaopt.solver import limited

Objective = Literal["cycles", "bytes", "energy"]
OBJECTIVES: tuple[Objective, ...] = ("cycles", "bytes", "energy")

Proof = Literal["enumeration", "solver", "none"]

#: The tensors alive that are not plain int8, with their formats.
_Others = frozenset[tuple[int, Format]]

_TIME_LIMIT = 5.0
_MOST_STATES = 1 << 12
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Candidate:
    """A plan of an operator, run ``batch`` times: the arena that it needs (tensors alive and scratch), its stack,
    where its code and constants live, and the cycles that it waits for them."""

    plan: Plan
    batch: int
    arena_bytes: int
    stack_bytes: int = 0
    where: Placement = IN_FLASH
    stall_cycles: int = 0

    @property
    def sram_bytes(self) -> int:
        """What this operator alone needs."""
        return self.arena_bytes + self.stack_bytes + self.ram_bytes

    @property
    def ram_bytes(self) -> int:
        """Code and constants in RAM."""
        return self.where.data * self.plan.data_bytes + self.where.code * code_bytes(self.plan)

    @property
    def cycles(self) -> int:
        """Predicted with the machine's wait states, for all calls."""
        return self.plan.cycles * self.batch + self.stall_cycles

    @property
    def moved_bytes(self) -> int:
        """Bytes that the promise moves, for all calls."""
        p = self.plan.promise
        return self.batch * sum(a.load_bytes + a.store_bytes for a in (*p.inputs, p.output, p.parameters, p.scratch))

    def price(self, objective: Objective) -> int:
        """What is minimised. Energy is power times time while all memories are on the chip, so it prices cycles."""
        return self.moved_bytes if objective == "bytes" else self.cycles


@dataclass(frozen=True)
class Stage:
    """One operator: its candidates, and the tensors (alias roots) whose format it reads and writes.

    None stands for a constant, whose bytes are plain int8.
    """

    candidates: tuple[Candidate, ...]
    inputs: tuple[int | None, ...]
    output: int


@dataclass(frozen=True)
class Budgets:
    """Bytes of flash, SRAM, code and constants copied into it, and the arena; None is no limit. ``flash_overhead`` is
    what the rest of the library takes."""

    flash: int | None = None
    sram: int | None = None
    flash_overhead: int = 0
    code_ram: int | None = None
    arena: int | None = None
    constants_ram: int | None = None


@dataclass(frozen=True)
class Choice:
    """The index of the candidate of each stage, its price, and the bound that the solver proved for it.

    ``sram_limit`` and ``arena_limit`` are what the choice was held to. ``proof`` says why nothing is cheaper:
    ``enumeration`` (all formats were tried, and the cheapest choice fits), else ``solver``, else ``none``.
    """

    picks: tuple[int, ...]
    price: int
    bound: int
    flash_bytes: int
    sram_limit: int | None
    proof: Proof
    arena_limit: int | None = None


def flash_bytes(plans: Sequence[Plan], overhead: int = 0) -> int:
    """Constants and code of the plans together; kernels of the same names are there once."""
    shared = {plan.kernels: plan.shared_bytes for plan in plans if plan.kernels}
    return overhead + sum(plan.flash_bytes - (plan.shared_bytes if plan.kernels else 0) for plan in plans) + sum(
        shared.values()
    )


def choose(stages: Sequence[Stage], plain: frozenset[int], objective: Objective, budgets: Budgets) -> Choice | None:
    """The cheapest candidates within the budgets, None if there are none. ``plain`` tensors must be plain int8.

    Raises DisagreementError if the solver and the enumeration contradict each other.
    """
    found = _solve(stages, plain, budgets, lambda candidate: candidate.price(objective))
    least = cheapest(stages, plain, objective, budgets)
    if found is None or least is None:
        return found
    if found.bound > found.price or (found.proof == "solver" and found.price < least):
        raise DisagreementError(f"the solver finds a choice of {found.price}, the enumeration none below {least}")
    return dataclasses.replace(found, proof="enumeration") if found.price == least else found


def cheapest(stages: Sequence[Stage], plain: frozenset[int], objective: Objective, budgets: Budgets) -> int | None:
    """The least price of any choice, without a solver, where each layer by itself is within the SRAM and the arena.

    No choice that is within them, and within the flash, is cheaper. Walks the stages with the cheapest way to each
    combination of formats of the tensors that are still read. None if nothing fits, or there are too many of them.
    """
    last = {t: i for i, stage in enumerate(stages) for t in (*stage.inputs, stage.output) if t is not None}
    states: dict[_Others, int] = {frozenset(): 0}
    for i, stage in enumerate(stages):
        following: dict[_Others, int] = {}
        for others, price in states.items():
            formats = dict(others)
            for candidate in stage.candidates:
                if not _fits(candidate, budgets):
                    continue
                wanted, made = candidate.plan.input_format, candidate.plan.output_format
                if any((Format.S8 if t is None else formats.get(t, Format.S8)) is not wanted for t in stage.inputs):
                    continue
                if made is not Format.S8 and stage.output in plain:
                    continue
                added = {(stage.output, made)} if made is not Format.S8 else set()
                alive = frozenset(item for item in others | added if last[item[0]] > i)
                cost = price + candidate.price(objective)
                following[alive] = min(cost, following.get(alive, cost))
        states = following
        if len(states) > _MOST_STATES:
            return None
    return min(states.values(), default=None)


def _fits(candidate: Candidate, budgets: Budgets) -> bool:
    """Whether the candidate alone is within the SRAM and the arena."""
    sram = budgets.sram is None or candidate.sram_bytes <= budgets.sram
    return sram and (budgets.arena is None or candidate.arena_bytes <= budgets.arena)


def least_sram(stages: Sequence[Stage], plain: frozenset[int]) -> tuple[int, int]:
    """The least SRAM that any choice needs, and the stage that sets its peak."""
    taken, peak = _least(stages, plain, "sram")
    return sram_bytes(taken), peak


def least_arena(stages: Sequence[Stage], plain: frozenset[int]) -> tuple[int, int]:
    """The least arena that any choice needs, and the stage that sets its peak."""
    taken, peak = _least(stages, plain, "arena")
    return taken[peak].arena_bytes, peak


def _least(stages: Sequence[Stage], plain: frozenset[int], what: str) -> tuple[list[Candidate], int]:
    found = _solve(stages, plain, Budgets(), None, least=what)
    assert found is not None
    taken = [stage.candidates[j] for stage, j in zip(stages, found.picks, strict=True)]
    return taken, max(range(len(taken)), key=lambda i: taken[i].arena_bytes)


def sram_bytes(taken: Sequence[Candidate], arena: int | None = None) -> int:
    """What candidates need together with an arena; if none is given, with that of tensors packed without gaps."""
    if arena is None:
        arena = max((c.arena_bytes for c in taken), default=0)
    return arena + max((c.stack_bytes for c in taken), default=0) + ram_bytes(taken)


class Placed(Protocol):
    """A plan, and where its code and constants live."""

    @property
    def plan(self) -> Plan: ...
    @property
    def where(self) -> Placement: ...


def ram_code_bytes(taken: Sequence[Placed]) -> int:
    """Code in RAM; a kernel that several layers share is there once."""
    shared = {c.plan.kernels: code_bytes(c.plan) for c in taken if c.where.code and c.plan.kernels}
    own = sum(code_bytes(c.plan) for c in taken if c.where.code and not c.plan.kernels)
    return sum(shared.values()) + own


def ram_constant_bytes(taken: Sequence[Placed]) -> int:
    """Constants in RAM."""
    return sum(c.plan.data_bytes for c in taken if c.where.data)


def ram_bytes(taken: Sequence[Placed]) -> int:
    """Code and constants in RAM."""
    return ram_code_bytes(taken) + ram_constant_bytes(taken)


def least_flash(stages: Sequence[Stage], plain: frozenset[int], budgets: Budgets) -> int:
    """The least flash that any choice needs within the SRAM given; InfeasibleError if no choice fits that."""
    found = _solve(stages, plain, dataclasses.replace(budgets, flash=None), None)
    if found is None:
        raise InfeasibleError("no choice of kernels fits the SRAM")
    return found.flash_bytes


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


def _solve(
    stages: Sequence[Stage], plain: frozenset[int], budgets: Budgets, price: Any, least: str = "flash"
) -> Choice | None:
    """Minimise the sum of ``price`` over the candidates taken; if it is None, the flash, the SRAM or the arena."""
    from ortools.sat.python import cp_model

    model: Any = cp_model.CpModel()
    arena, stack = model.new_int_var(0, _MOST_BYTES, "arena"), model.new_int_var(0, _MOST_BYTES, "stack")
    users: dict[tuple[str, ...], set[int]] = {}
    for number, stage in enumerate(stages):
        for candidate in stage.candidates:
            users.setdefault(candidate.plan.kernels, set()).add(number)
    shared: dict[tuple[str, ...], tuple[Any, Any, int]] = {}
    moved: list[Any] = []
    code: list[Any] = []
    costs: list[Any] = []
    flash: list[Any] = []
    taken: list[list[Any]] = []
    for i, stage in enumerate(stages):
        row = [model.new_bool_var(f"x{i}_{j}") for j in range(len(stage.candidates))]
        taken.append(row)
        model.add_exactly_one(row)
        model.add(arena >= sum(c.arena_bytes * x for x, c in zip(row, stage.candidates, strict=True)))
        model.add(stack >= sum(c.stack_bytes * x for x, c in zip(row, stage.candidates, strict=True)))
        for x, candidate in zip(row, stage.candidates, strict=True):
            plan = candidate.plan
            own, where = plan.flash_bytes, candidate.where
            if where.data:
                moved.append(plan.data_bytes * x)
            # A kernel that only one operator can have is part of that operator's own code.
            if plan.kernels and len(users[plan.kernels]) > 1:
                if plan.kernels not in shared:
                    key = "/".join(plan.kernels)
                    shared[plan.kernels] = (model.new_bool_var(key), model.new_bool_var(f"ram {key}"), code_bytes(plan))
                there, in_ram, _ = shared[plan.kernels]
                model.add_implication(x, there)
                # One function has one place.
                model.add(in_ram == int(where.code)).only_enforce_if(x)
                own -= plan.shared_bytes
            elif where.code:
                code.append(code_bytes(plan) * x)
            flash.append(own * x)
            if price is not None:
                costs.append(price(candidate) * x)
    _agree(model, stages, taken, plain)
    flash += [size * there for there, _, size in shared.values()]
    code += [size * in_ram for _, in_ram, size in shared.values()]
    sram = arena + stack + sum(moved) + sum(code)
    if budgets.sram is not None:
        model.add(sram <= budgets.sram)
    if budgets.arena is not None:
        model.add(arena <= budgets.arena)
    if budgets.code_ram is not None:
        model.add(sum(code) <= budgets.code_ram)
    if budgets.constants_ram is not None:
        model.add(sum(moved) <= budgets.constants_ram)
    if budgets.flash is not None:
        model.add(sum(flash) <= budgets.flash - budgets.flash_overhead)
    if price is not None:
        model.minimize(sum(costs))
    else:
        model.minimize({"sram": sram, "arena": arena, "flash": sum(flash)}[least])
    solver = limited(_TIME_LIMIT)
    solver.parameters.linearization_level = 2  # budgets and formats are sums: their relaxation bounds the price tightly
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    picks = tuple(next(j for j, x in enumerate(row) if solver.boolean_value(x)) for row in taken)
    plans = [stage.candidates[j].plan for stage, j in zip(stages, picks, strict=True)]
    return Choice(
        picks,
        round(solver.objective_value),
        round(solver.best_objective_bound),
        flash_bytes(plans, budgets.flash_overhead),
        budgets.sram,
        "solver" if status == cp_model.OPTIMAL else "none",
        budgets.arena,
    )
