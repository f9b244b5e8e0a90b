"""Machines, suites, kernels and objectives of one's own, without editing memaopt: ``from memaopt import register``.

>>> register.suite("mine", [(64, 576, 64)])      # doctest: +SKIP
>>> register.machine(my_mcu)                     # doctest: +SKIP
>>> register.kernel(MyFamily())                  # doctest: +SKIP
>>> register.objective("battery", energy=1, ram=40)  # doctest: +SKIP

A package does the same with entry points (:mod:`memaopt.extensions`), which all processes of a sweep see.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memaopt.errors import InputError
from memaopt.extensions import KERNELS, MACHINES, OBJECTIVES, SUITES

if TYPE_CHECKING:
    from memaopt.kernels.family import Family
    from memaopt.machines.mcu import Mcu


def machine(mcu: Mcu | str | Path) -> None:
    """Make a machine, or the one in a .toml file, known by its name to :func:`memaopt.mcu` and to every ``--mcu``."""
    from memaopt.machines import mcu as machines

    made = machines.mcu(mcu) if isinstance(mcu, str | Path) else mcu
    if not isinstance(made, machines.Mcu):
        raise InputError(f"register: a machine is an Mcu, or the path of a .toml file, not a {type(made).__name__}")
    if made.name.lower() in machines.preset_names():
        raise InputError(f"register: {made.name} comes with memaopt: give the machine another name")
    if made.name == "all" or made.name.endswith(".toml"):
        raise InputError(f"register: {made.name} is no name that mcu() finds: give the machine another one")
    MACHINES.add(made.name, made)


def suite(name: str, problems: Sequence[tuple[int, int, int]]) -> None:
    """Make a set of products, each M, K and N, known to ``--suite`` and to sweeps."""
    from memaopt.problems import suites
    from memaopt.problems.gemm import gemm

    if not isinstance(name, str) or not name.strip():
        raise InputError(f"register: suite {name!r}: give it a name")
    if name in suites.SUITES:
        raise InputError(f"register: suite {name} comes with memaopt: give it another name")
    try:
        made = tuple((m, k, n) for m, k, n in problems)
        for sizes in made:
            gemm(*sizes)
    except (TypeError, ValueError) as error:
        raise InputError(f"register: suite {name}: each problem is M, K and N: {error}") from None
    if not made:
        raise InputError(f"register: suite {name} has no problems")
    SUITES.add(name, made)


def kernel(family: Family) -> None:
    """Offer a family of kernels wherever a layer that it computes is to be computed.

    What it promises is counted by every ``--run``; :func:`memaopt.bench.kernel_check.check` counts it on random layers.
    """
    from memaopt.choice import problem
    from memaopt.kernels import registry

    registry.demand_other(family)
    KERNELS.add(family.name, family)
    registry.plans.cache_clear()
    problem.ways.cache_clear()


def objective(name: str, *, cycles: int = 0, energy: int = 0, ram: int = 0, **memories: int) -> None:
    """Give a name to weights: of a predicted cycle, a picojoule, a byte of an arena, a byte to or from each memory.

    ``--objective``, :func:`memaopt.certify` and sweeps know it; certificates have the weights in place of the name. An
    entry point of the group ``memaopt.objectives`` is the text, such as ``4*cycles + 1*qspi``.
    """
    from memaopt.problems import objectives, words

    if not isinstance(name, str) or name in (*words.OBJECTIVES, "ram") or not name.isidentifier():
        raise InputError(f"register: objective {name!r}: give it another name, of letters and digits")
    weights = objectives.ObjectiveWeights(cycles, energy, ram, tuple(sorted(memories.items())))
    text = str(weights)
    objectives.weights_of(text)
    OBJECTIVES.add(name, text)
