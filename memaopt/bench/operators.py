"""How fast is each operator? One of each and of each type on the virtual board, without wait states: cycles counted."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel
from rich.console import Console

from memaopt.bench.operator_cases import OperatorCase
from memaopt.choice.compile import compile_network
from memaopt.errors import FalseClaimError
from memaopt.machines.mcu import Mcu
from memaopt.report.console import table
from memaopt.trials import network as trial


class OperatorSpeed(BaseModel, frozen=True):
    """An operator of one type: how it is computed, the cycles counted, and what they are divided by.

    ``count`` is of multiply-accumulates where there are any, else of the elements of its largest operand.
    """

    kind: str
    types: str
    size: str
    kernel: str
    of: str
    count: int
    cycles: int

    @property
    def each(self) -> float:
        """Cycles for one of them."""
        return self.cycles / self.count


class OperatorStudy(BaseModel, frozen=True):
    """The operators, and what the figures depend on."""

    mcu: str
    compiler: str
    flags: tuple[str, ...]
    speeds: tuple[OperatorSpeed, ...]


def study(machine: Mcu, chosen: Iterable[OperatorCase], compiler: str | None = None) -> OperatorStudy:
    """Operators, each compiled as a network of its own for a machine without wait states.

    FalseClaimError for one whose outputs or accesses are not as promised.
    """
    at_once = machine.with_wait_states(0)
    found, speeds = None, []
    for case in chosen:
        plan = compile_network(case.graph, at_once)
        found = trial.run(plan, compiler=compiler)
        if not found.passed:
            raise FalseClaimError(f"{case.kind} of {case.types}: {found.headline()}")
        kernels = dict.fromkeys(f"{each.plan.family} {each.plan.tile}".strip() for each in plan.layers)
        cycles = sum(each.ideal_cycles or 0 for each in found.layers)
        speeds.append(_speed(case, ", ".join(kernels), cycles))
    flags = () if found is None else found.flags
    return OperatorStudy(
        mcu=machine.name,
        compiler="" if found is None else found.compiler,
        flags=tuple(flag for flag in flags if not flag.startswith("-I")),
        speeds=tuple(speeds),
    )


def _speed(case: OperatorCase, kernel: str, cycles: int) -> OperatorSpeed:
    graph = case.graph
    macs = sum(op.macs(graph) for op in graph.operators)
    elements = max(graph.tensors[i].elements for i in (*graph.inputs, *graph.outputs))
    return OperatorSpeed(
        kind=case.kind,
        types=case.types,
        size=case.size,
        kernel=kernel,
        of="multiply-accumulate" if macs else "element",
        count=macs or elements,
        cycles=cycles,
    )


def print_operators(console: Console, found: OperatorStudy, machine: Mcu) -> None:
    """A line for each operator."""
    made = table(("operator", "types", "of", "kernel", "cycles", "each", "for each"), words=4)
    for speed in found.speeds:
        figures = (f"{speed.cycles:,}", f"{speed.each:.2f}", speed.of)
        made.add_row(speed.kind, speed.types, speed.size, speed.kernel, *figures)
    console.print(f"Operators, {machine.title}, no wait states", style="bold", highlight=False)
    console.print(made)
