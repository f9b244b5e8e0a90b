"""OR-Tools CP-SAT as it is used here: one worker and one seed, so that an answer is the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


def empty_model() -> cp_model.CpModel:
    """A model with nothing in it.

    OR-Tools gives each one its methods by their old names too, as functions that hold it. So it would reach itself,
    and stay with its megabytes until Python looks for circles.
    """
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    for name in [name for name in vars(model) if name[0].isupper()]:
        delattr(model, name)
    return model


def reproducible() -> cp_model.CpSolver:
    """A solver without limits."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.catch_sigint_signal = False  # an interrupt is the caller's, not "no better answer"
    return solver


def limited(units: float) -> cp_model.CpSolver:
    """A solver that stops after ``units`` of deterministic time, about a second each on a common computer.

    The clock on the wall has no say, so what is found does not depend on what else the computer does.
    """
    solver = reproducible()
    solver.parameters.max_deterministic_time = units
    return solver
