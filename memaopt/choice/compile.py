"""A network compiled: simplified exactly, a kernel for each layer, a place in memory for each tensor, totals.

:func:`compile_network` decides everything and writes nothing; :mod:`memaopt.emit.network` turns its plan into C.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from memaopt.access import Access
from memaopt.arguments import public
from memaopt.choice import choice, fusion, in_ram, invoke, layout
from memaopt.choice.choice import Budgets, Candidate, Choice, Proof
from memaopt.choice.in_ram import IN_FLASH, InRam
from memaopt.choice.knee import in_arena, knee
from memaopt.choice.layout import Layout
from memaopt.choice.problem import Problem, left_by_project, prepare, refuse_weights_beyond, stack_bytes
from memaopt.choice.solution import cheaper, lower_bound, search, weakest, why_not
from memaopt.errors import InputError
from memaopt.kernels.plan import Promise
from memaopt.kernels.registry import Emitted, Format, Plan, emit
from memaopt.machines.mcu import Mcu
from memaopt.memory.liveness import roots_of
from memaopt.memory.plan import MemoryPlan
from memaopt.models.fetching import FlashTiming
from memaopt.models.waits import timing
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.names import identifier_of
from memaopt.networks.operators import Lowered, Operator
from memaopt.networks.simplify import simplify
from memaopt.overview import framed
from memaopt.problems.words import OBJECTIVES, Objective

#: What the number of kept channels is a multiple of, where channels are dropped: even numbers have faster kernels.
MULTIPLES = (1, 2)


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer that runs. ``position`` is that of its operator in the simplified graph, ``within`` that of the
    operator before it which it computes too; ``stall_cycles`` are what the machine's wait states are predicted to add.
    """

    position: int
    op: Operator
    name: str
    lowered: Lowered
    plan: Plan
    macs: int
    where: InRam = IN_FLASH
    stall_cycles: int = 0
    within: int | None = None

    @property
    def kind(self) -> str:
        """The kinds of the operators that it computes."""
        return self.op.kind if self.within is None else f"CONV_2D + {self.op.kind}"

    @property
    def batch(self) -> int:
        return self.lowered.batch

    @property
    def cycles(self) -> int:
        """Predicted at zero wait states."""
        return self.plan.cycles * self.batch

    @property
    def machine_cycles(self) -> int:
        """Predicted with the machine's wait states."""
        return self.cycles + self.stall_cycles

    def at(self, where: InRam, machine: FlashTiming) -> int:
        """Predicted cycles with its code and constants elsewhere."""
        return self.cycles + in_ram.stall_cycles(self.plan, self.batch, where, machine)

    @cached_property
    def promise(self) -> Promise:
        """What the layer accesses in one inference."""
        return self.plan.promise.times(self.batch)

    @property
    def traffic(self) -> Access:
        """All promised accesses."""
        return self.promise.total

    @cached_property
    def emitted(self) -> Emitted:
        """The C text."""
        return emit(self.lowered.layer, self.plan, self.name)


class Neighbour(NamedTuple):
    """Another plan of the same network: its arena, and its cycles with the machine's wait states."""

    arena_bytes: int
    machine_cycles: int


class _Space(NamedTuple):
    """A way to simplify a network, and the problem of choosing its kernels."""

    multiple: int
    simple: simplify.Simplified
    problem: Problem


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """A compiled network: what runs in which order, where everything lives, what it costs.

    ``source`` is the network as read, ``graph`` the simplified one (channels kept in multiples of ``multiple``), whose
    tensors keep their indices; ``steps`` the rewrites between them. ``model`` is the file that
    holds ``source``, if one does. ``within``: the arena that bounds the choice is the least in which one costs at most
    so much more than the best of all; None if nobody asked for that. ``neighbours`` on the front are then the best of
    all, where that is another one, and the best in an arena a tenth smaller, if that costs little.
    """

    name: str
    mcu: Mcu
    objective: Objective
    budgets: Budgets
    source: Graph
    graph: Graph
    kept: Mapping[int, tuple[int, ...]]
    steps: tuple[str, ...]
    layers: tuple[LayerPlan, ...]
    memory: MemoryPlan
    choice: Choice
    multiple: int = 1
    formats: bool = True
    model: Model | None = None
    within: float | None = None
    neighbours: tuple[Neighbour, ...] = ()

    def _repr_html_(self) -> str:
        from memaopt.api import html_report

        return framed(html_report(self))

    def __repr__(self) -> str:
        cycles = f", {self.machine_cycles:,} cycles" if self.mcu.core.is_timed else ""
        where = f"{self.mcu.name} in setting {self.mcu.setting.name}"
        return f"<NetworkPlan: {self.name} on {where}: {len(self.layers)} layers{cycles}>"

    @cached_property
    def roots(self) -> dict[int, int]:
        """The first tensor of each activation's alias class."""
        return roots_of(self.graph)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles(self) -> int:
        """Predicted at zero wait states, of ``invoke``."""
        return sum(layer.cycles for layer in self.layers) + self._around

    @property
    def machine_cycles(self) -> int:
        """Predicted with the machine's wait states."""
        waits = invoke.stall_cycles(timing(self.mcu))
        return sum(layer.machine_cycles for layer in self.layers) + self._around + waits

    def cycles_in(self, mcu: Mcu) -> int:
        """Predicted for this very plan on its machine in another setting, with that one's caches and prefetch."""
        machine = timing(mcu)
        return (
            sum(layer.at(layer.where, machine) for layer in self.layers) + self._around + invoke.stall_cycles(machine)
        )

    @property
    def _around(self) -> int:
        """Cycles beside the layers."""
        return invoke.cycles(layer.batch for layer in self.layers)

    @property
    def ram_bytes(self) -> int:
        """Code and constants that start-up code copies into RAM."""
        return choice.ram_bytes(self.layers)

    @property
    def arena_bytes(self) -> int:
        """Tensors and scratch together."""
        return self.memory.arena_bytes

    @property
    def tensor_bytes(self) -> int:
        """The largest live set of tensors."""
        return self.memory.tensor_bytes

    @property
    def scratch_bytes(self) -> int:
        """What scratch adds to the arena."""
        return self.arena_bytes - self.tensor_bytes

    @property
    def stack_bytes(self) -> int:
        """An estimate of what ``invoke`` puts on the stack."""
        return stack_bytes(layer.plan for layer in self.layers)

    @property
    def sram_bytes(self) -> int:
        """Arena, stack, and what is in RAM besides."""
        return self.arena_bytes + self.stack_bytes + self.ram_bytes

    @cached_property
    def layout(self) -> Layout | None:
        """Where the linker puts what is in RAM; None if that cannot be done."""
        return layout.of(self.mcu, self.arena_bytes, self.stack_bytes, self.layers)

    @property
    def constant_bytes(self) -> int:
        """Flash for weights, tables and parameters."""
        operands = {i for layer in self.layers for i in layer.lowered.inputs if self.graph.tensors[i].is_constant}
        return sum(layer.plan.data_bytes for layer in self.layers) + sum(self.graph.tensors[i].nbytes for i in operands)

    @property
    def code_bytes(self) -> int:
        """Flash for code, an estimate for a Cortex-M4."""
        return self.flash_bytes - self.constant_bytes

    @property
    def flash_bytes(self) -> int:
        return choice.flash_bytes([layer.plan for layer in self.layers], self.budgets.flash_overhead)

    def format_of(self, tensor: int) -> Format:
        """How an activation lies in memory."""
        root = self.roots[tensor]
        for layer in self.layers:
            if layer.op.output == root:
                return layer.plan.output_format
            if layer.within is not None and self.graph.operators[layer.within].output == root:
                return Format.FUSED
        return Format.S8

    def place(self, tensor: int) -> int:
        """The byte offset of an activation in the arena."""
        return self.memory.offset(tensor)


@public
def compile_network(
    network: Graph | Model | str | Path,
    mcu: Mcu,
    objective: Objective = "cycles",
    *,
    name: str | None = None,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    formats: bool = True,
    within: float | None = None,
    near: bool = True,
) -> NetworkPlan:
    """Compile a network (a graph, a model, or the path of a ``.tflite`` file) for a machine.

    ``objective``: ``cycles``, ``bytes`` (moved) or ``energy``. ``sram`` and ``flash`` are budgets in bytes, by default
    what a stock project leaves of the machine's; ``arena`` is one for tensors and scratch. What may be copied into RAM
    is what the machine's setting allows. ``within``: of all arenas the least, to a hundredth, in which the search finds
    a price at most so much above the best of all, as in 0.05; it has no effect with ``arena``, or where no enumeration
    proves the best; ``near``: its neighbours on the front are found too.
    ``formats``: whether tensors inside the network may lie in memory as their reader wants them, instead of as int8.
    Raises InfeasibleError if a budget cannot be met, InputError for a network that cannot be read.
    """
    given = Model.read(network) if isinstance(network, str | Path) else network
    model, graph = (given, given.graph) if isinstance(given, Model) else (None, given)
    if objective not in OBJECTIVES:
        raise InputError(f"objective {objective!r}: there are {', '.join(OBJECTIVES)}")
    if objective == "energy":
        mcu.core.require_timing("objective energy")
    identifier = identifier_of(graph.name if name is None else name)
    spaces = []
    for multiple, simple in simplifications(graph):
        refuse_weights_beyond(left_by_project(mcu, graph)[0] if flash is None else flash, simple.graph, identifier)
        spaces.append(
            _Space(multiple, simple, prepare(simple.graph, mcu, sram=sram, flash=flash, arena=arena, formats=formats))
        )
    cheapest = partial(
        _cheapest, identifier=identifier, mcu=mcu, objective=objective, graph=graph, formats=formats, model=model
    )
    best = cheapest(spaces)
    if best is None:
        raise why_not(spaces[0].problem, identifier)
    if within is None or arena is not None or best.choice.proof != "enumeration":
        return best  # where the search gives up once, it would do so for every arena

    def smaller(limit: int, most: int) -> NetworkPlan | None:
        if limit <= 0:
            return None
        inside = [space._replace(problem=in_arena(space.problem, limit)) for space in spaces]
        return cheapest(inside, below=most + 1)

    chosen, less = knee(smaller, best.choice.price, best, within, near=near)
    others = [plan for plan in (best if chosen is not best else None, less) if plan is not None]
    neighbours = tuple(Neighbour(each.arena_bytes, each.machine_cycles) for each in others)
    return dataclasses.replace(chosen, within=within, neighbours=neighbours)


def _cheapest(
    spaces: Sequence[_Space],
    below: int | None = None,
    *,
    identifier: str,
    mcu: Mcu,
    objective: Objective,
    graph: Graph,
    formats: bool,
    model: Model | None,
) -> NetworkPlan | None:
    """The plan of the best choice in any of the spaces, below a price if one is given; None if there is none.

    Below a price no solver is asked: there is none where the search gives up.
    """
    best: NetworkPlan | None = None
    problems: list[Problem] = []
    proof: Proof = "enumeration"
    for multiple, simple, problem in spaces:
        least = below if best is None else best.choice.price
        found = search(problem, objective, least, solver=below is None)
        proof = weakest(proof, found.proof)
        problems.append(problem)
        if found.choice is not None and found.memory is not None:
            layers = layers_of(problem, identifier, found.memory.order, found.choice.picks)
            best = NetworkPlan(
                identifier,
                mcu,
                objective,
                problem.limits,
                graph,
                simple.graph,
                simple.kept,
                simple.steps,
                layers,
                found.memory,
                found.choice,
                multiple,
                formats,
                model,
            )
    if best is None or (below is not None and proof != "enumeration"):
        return None
    price = best.choice.price
    if proof != "enumeration" and all(cheaper(problem, objective, price) is None for problem in problems):
        proof = "enumeration"  # below the best of the spaces there may be little to look at in each
    bound = price if proof != "none" else _least(problems, objective, price)
    return dataclasses.replace(best, choice=dataclasses.replace(best.choice, proof=proof, bound=bound))


def simplifications(graph: Graph) -> Iterator[tuple[int, simplify.Simplified]]:
    """The simplified networks to choose from: with channels dropped down to any number, and to an even one."""
    for multiple in MULTIPLES:
        simple = simplify.simplify(graph, multiple=multiple)
        yield multiple, simple
        if not simple.kept:
            return  # without dropped channels every multiple gives the same network


def problems_of(plan: NetworkPlan) -> Iterator[Problem]:
    """The problems that a plan's choice is the best of, one for each way to simplify the network."""
    limits = plan.budgets
    for _, simple in simplifications(plan.source):
        yield prepare(
            simple.graph, plan.mcu, sram=limits.sram, flash=limits.flash, arena=limits.arena, formats=plan.formats
        )


def lower_bound_of(plan: NetworkPlan) -> int:
    """What no choice is below in any of a plan's problems, found without looking at each."""
    return _least(list(problems_of(plan)), plan.objective, plan.choice.price)


def _least(problems: Sequence[Problem], objective: Objective, price: int) -> int:
    return min(price, *(lower_bound(problem, objective) for problem in problems))


def layers_of(problem: Problem, name: str, order: Sequence[int], picks: Sequence[int]) -> tuple[LayerPlan, ...]:
    """The layers in execution order, named."""
    taken = problem.taken(picks)
    later = fusion.deferred(problem.chosen(picks))
    return tuple(
        _layer(problem, i, f"{name}_{step}", taken[i])
        for step, i in enumerate(i for i in order if i in taken and i not in later)
    )


def _layer(problem: Problem, i: int, name: str, taken: Candidate) -> LayerPlan:
    graph, lowered, op = problem.graph, problem.lowered, problem.graph.operators[i]
    first = problem.pairs[i] if taken.plan.input_format is Format.FUSED else None
    return LayerPlan(
        position=i,
        op=op,
        name=f"{name}_{op.kind.lower()}" if first is None else f"{name}_conv_2d_{op.kind.lower()}",
        lowered=lowered[i] if first is None else fusion.together(lowered[first], lowered[i]),
        plan=taken.plan,
        macs=op.macs(graph) + (0 if first is None else graph.operators[first].macs(graph)),
        where=taken.where,
        stall_cycles=taken.stall_cycles,
        within=first,
    )
