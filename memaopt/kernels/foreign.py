"""Kernels of other packages: a fault of theirs is one line that names them, not a traceback of memaopt's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from memaopt.errors import InputError, MemaoptError
from memaopt.extensions import KERNELS
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import Family
from memaopt.kernels.plan import Plan
from memaopt.problems.layers import Layer

_T = TypeVar("_T")


def plans_of(family: Family, layer: Layer) -> tuple[Plan, ...]:
    """The plans that a registered family offers for ``layer``; InputError if it raises, or offers something else."""
    found = _asked(family, "plans", lambda: tuple(family.plans(layer)))
    for plan in found:
        if not isinstance(plan, Plan):
            raise InputError(f"{_named(family)}: plans: a {type(plan).__name__} is no Plan")
    return found


def emitted_by(family: Family, layer: Layer, plan: Plan, name: str) -> Emitted:
    """The C text of a registered family; InputError if it raises."""
    return _asked(family, "emit", lambda: family.emit(layer, plan, name))


def _asked(family: Family, part: str, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except MemaoptError:
        raise
    except Exception as error:  # whatever a kernel of somebody else does
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{_named(family)}: {part}: {said}") from error


def _named(family: Family) -> str:
    """The kernel and the package that brought it."""
    package = dict(KERNELS.origins()).get(family.name)
    return f"kernel {family.name}{f' of {package}' if package else ''}"
