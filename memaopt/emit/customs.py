"""The files of custom operators in a library: the user's, and the header that declares what a function is told."""

from __future__ import annotations

from memaopt.choice.network_plan import NetworkPlan
from memaopt.networks.custom_files import SOURCES, demand_apart
from memaopt.networks.operators.custom_program import files_of
from memaopt.problems.custom import DESCRIPTION


def files(plan: NetworkPlan) -> dict[str, str]:
    """By path; InputError where one would take another's place."""
    demand_apart(plan.customs, (DESCRIPTION, f"{plan.name}.c", f"{plan.name}.h"))
    return {path_of(name): text for code in plan.customs for name, text in files_of(code).items()}


def path_of(name: str) -> str:
    """Where a file of the user's lies: beside the library's source, which finds it without an include path."""
    return f"{SOURCES}/{name}"


def headers(plan: NetworkPlan) -> tuple[str, ...]:
    """The names of the headers that the library's source includes."""
    named = (code.header.name for code in plan.customs)
    return (DESCRIPTION, *dict.fromkeys(named)) if plan.customs else ()


def sources(plan: NetworkPlan) -> tuple[str, ...]:
    """The names of the sources that are built with the library's."""
    return tuple(dict.fromkeys(file.name for code in plan.customs for file in code.sources))
