"""Networks with operators that the user's C computes: what cannot be done with them, what is said of their figures."""

from __future__ import annotations

from collections.abc import Iterable

from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.operators.custom import Custom
from memaopt.spelling import option


def refuse_with_customs(graph: Graph, *, stream: bool, tensors: bool) -> None:
    """InputError where the user's C would have to be known: which rows it reads, how it waits for tensors outside."""
    for op in graph.operators:
        if isinstance(op, Custom) and (stream or tensors):
            asked, why = (
                (option("stream"), "which frames it reads")
                if stream
                else (f"{option('place')} of tensors", "what it reads there")
            )
            raise InputError(f"{asked}: {graph.place(op)} is {op.code.name}, the user's C: {why} nobody knows")


def without(names: Iterable[str]) -> str:
    """What follows a figure that has nothing of these operators, which C of the user's computes."""
    named = " and ".join(f"{name}'s" for name in names)
    return named and f" without {named}"


def custom_facts(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """What is to be said beside all predicted figures that have nothing of these operators."""
    named = ", ".join(names)
    told = "C of the user's: no predicted figure has its cycles, accesses, energy, stack or code"
    return (("custom", f"{named}: {told}"),) if named else ()
