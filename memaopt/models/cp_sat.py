"""The constraint model, solved to proven optimality by OR-Tools CP-SAT.

Lexicographic objectives are solved part by part, each fixed before the next; where an answer is known already, it
is to be reached and anything better to be refuted.
"""

import time
from collections.abc import Iterator
from typing import Any

from ortools.sat.python import cp_model

from memaopt.errors import ContradictionError, InfeasibleError, UnfinishedError
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import BLOCK_LEVEL, ORDERS, Schedule, Space
from memaopt.models import layer_kernels
from memaopt.models.answers import Answer
from memaopt.models.cp_sat_model import NestModel, build
from memaopt.models.cp_sat_variables import Var
from memaopt.models.feasibility import check_feasible
from memaopt.problems.gemm import DIMS, OPERANDS
from memaopt.solver import limited

UNITS = 60.0
"""Of deterministic time for each question, about a second each."""
#: The share of it that each of two ways to search has before one of them gets all.
_SHORT = 0.01


def solve(space: Space, known: Answer | None = None, units: float = UNITS) -> Answer:
    """The optimal schedule of ``space``; ``proven`` says whether CP-SAT finished in ``units`` of deterministic time.

    With a ``known`` answer the model has to reach it, and to refute whatever is better, part by part: that is decided
    far sooner than an optimum is found. If it cannot do both, it looks for its own optimum.
    Raises InfeasibleError if no schedule fits, UnfinishedError if it found none, ContradictionError if it proves that
    nothing is as good as what it reaches itself where it is given the schedule.
    """
    if space.layers:
        return layer_kernels.cp_sat(space)
    start = time.perf_counter()
    check_feasible(space)
    answer = None if known is None else _confirmed(space, known, units)
    if answer is None:
        answer = _minimised_and_consistent(space, known, units)
    return answer.model_copy(update={"milliseconds": 1e3 * (time.perf_counter() - start)})


def _answer(
    space: Space, model: NestModel, solver: cp_model.CpSolver, objective: tuple[int, ...], proven: bool
) -> Answer:
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
    for solver in (_refuting(space, units * _SHORT), limited(units * _SHORT), _refuting(space, units)):
        better = build(space)
        for part, at in zip(better.parts, fixed, strict=False):
            better.cp.add(part == at)
        better.cp.add(better.parts[len(fixed)] <= value - 1)
        _hint(better, known)
        status = _solved(solver, better)
        if status != cp_model.UNKNOWN:
            break
    return status


def _refuting(space: Space, units: float) -> cp_model.CpSolver:
    """A solver for what has no solution: walk by walk, by propagation, without a linear relaxation that says little.

    Bytes alone are refuted sooner than such a model is simplified: it is taken as it stands.
    """
    solver = limited(units)
    solver.parameters.cp_model_presolve = space.objective != "bytes"
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
        if status == cp_model.MODEL_INVALID:
            raise UnfinishedError(
                f"gemm {space.problem.name} on {space.machine.name}: its costs are too large for CP-SAT's 64 bits, so "
                "it did not search; proof 'closed form' asks no solver"
            )
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


def _minimised_and_consistent(space: Space, known: Answer | None, units: float) -> Answer:
    """:func:`_minimised`, held against what the same model says of the ``known`` schedule by itself.

    A model that does not reach the known objective with that schedule really differs, and so its answer stands.
    """
    try:
        answer = _minimised(space, units)
    except InfeasibleError:
        if known is not None and _reaches(space, known, units):
            raise _contradiction(space, known, "says that no schedule fits") from None
        raise
    if known is not None and answer.proven and answer.objective > known.objective and _reaches(space, known, units):
        raise _contradiction(space, known, f"calls {answer.objective} the best")
    return answer


def _reaches(space: Space, known: Answer, units: float) -> bool:
    """Whether the model has the known objective where every choice is that of the known schedule."""
    assert isinstance(known.schedule, Schedule)
    model = build(space)
    _fix(model, known.schedule)
    for part, exact, scale in zip(model.parts, known.objective, model.scales, strict=True):
        if exact % scale:
            return False
        model.cp.add(part == exact // scale)
    return _solved(limited(units), model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


def _contradiction(space: Space, known: Answer, says: str) -> ContradictionError:
    return ContradictionError(
        f"gemm {space.problem.name} on {space.machine.name}: no certificate, CP-SAT contradicts itself: it {says}, and "
        f"reaches {known.objective} in the same model where it is given {known.schedule}; its version of OR-Tools errs "
        f"there: take another, or the proof of the closed form alone"
    )


def _solved(solver: cp_model.CpSolver, model: NestModel) -> Any:
    """The solver's status. OR-Tools 9.15 can fail on a hint while it simplifies a model: then it looks without one."""
    try:
        return solver.solve(model.cp)
    except IndexError:
        model.cp.clear_hints()  # type: ignore[no-untyped-call]
        return solver.solve(model.cp)


def _hint(model: NestModel, schedule: Schedule) -> None:
    """Where to look first."""
    model.cp.clear_hints()  # type: ignore[no-untyped-call]
    for var, value in _choices(model, schedule):
        model.cp.add_hint(var, value)


def _fix(model: NestModel, schedule: Schedule) -> None:
    """Nowhere else to look."""
    for var, value in _choices(model, schedule):
        model.cp.add(var == value)


def _choices(model: NestModel, schedule: Schedule) -> Iterator[tuple[Var, int]]:
    """The variables that say what a schedule is, with their values in this one."""
    for d, loop in model.loops.items():
        yield loop.block, schedule.block[d]
    for var, order in zip(model.nest.orders, ORDERS, strict=True):
        yield var, order == schedule.order
    yield model.nest.turning, schedule.turning
    for x in model.nest.free:
        for i, var in enumerate(model.nest.levels[x]):
            yield var, i == schedule.levels[x]
    for var, (family, tile) in zip(model.kernel.chosen, model.kernels, strict=True):
        yield var, (family.name, tile) == (schedule.kernel, schedule.tile)


def _schedule(space: Space, model: NestModel, solver: cp_model.CpSolver) -> Schedule:
    def first(chosen: list[Var]) -> int:
        return next(i for i, var in enumerate(chosen) if solver.value(var))

    tile: RegisterTile
    family: GemmFamily
    family, tile = space.kernels[first(model.kernel.chosen)]
    mc, kc, nc = (solver.value(model.loops[d].block) for d in DIMS)
    a, b, c = (first(model.nest.levels[x]) if x in space.staged else BLOCK_LEVEL for x in OPERANDS)
    turning = bool(solver.value(model.nest.turning))
    return space.schedule(ORDERS[first(model.nest.orders)], (a, b, c), turning, (mc, kc, nc), family, tile)
