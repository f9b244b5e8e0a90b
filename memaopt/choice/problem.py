"""The problem that a network's choice solves: what each layer could be, and what is alive while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from memaopt.choice import fusion, layout
from memaopt.choice.choice import Budgets, Candidate, Stage
from memaopt.choice.homes import away
from memaopt.choice.placement import NOWHERE, ON_CHIP, NetworkPlacement, Sites, sites
from memaopt.choice.stages import ALIGNMENT, Stages, in_place_of, leads_of, stack_bytes
from memaopt.choice.suits import suited
from memaopt.errors import InfeasibleError, InputError
from memaopt.kernels.registry import FAMILIES, Format, Plan, by_dma, fetched, in_parts, packed, plans, slid, staged
from memaopt.machines.mcu import Mcu
from memaopt.memory import liveness
from memaopt.memory import plan as memory
from memaopt.memory import states as places
from memaopt.memory.liveness import elementwise_in_place
from memaopt.memory.plan import MemoryPlan
from memaopt.models.waits import timing
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Lowered, Operator, Weighted
from memaopt.problems.layers import Conv, Depthwise, FullyConnected
from memaopt.problems.words import Objective
from memaopt.spelling import option

#: The families whose text this package makes.
OWN = frozenset(family.name for family in FAMILIES)
#: In the place of the bytes that tensors inside may take: those are outside that suit the kernels best, or all that may
#: be.
SUITED, ALL_AWAY = 0, -1
#: Operators of a network above which no chains are looked for where layers fit by themselves: of 65 that takes most of
#: a minute.
MOST_CHAINED = 48

#: NAME_init() that checks what lies outside: 180 bytes and a table of 64, by GCC 12.2 at -O3.
_CHECK = 244
#: Code of the three ways to invoke a network of one input and one output, of more; of the call of a layer; of helpers
#: and the compiler's memory routines. At most what GCC 12.2 made of 50 networks at -O3 (`tests/kernels/test_stack.py`
#: measures some again); its arithmetic in double, 1.6 KB where a plan needs it, is not in it.
_INVOKE, _INVOKE_MORE, _CALL, _HELPERS = 560, 1500, 130, 540


@dataclass(frozen=True, eq=False)
class Problem:
    """What is chosen from: the plans of every operator that runs, by position, and the stages in execution order.

    ``order`` has all operators in execution order. ``pairs`` has, for each depthwise convolution that can be computed
    with the convolution before it, that one's position. What is in RAM must have a layout on ``mcu``; with None there
    is as much RAM as it takes. ``sites``: where constants and tensors may be;
    ``away``: the tensors (alias roots) outside the chip, where those inside have ``room`` bytes (None: all are inside
    but for ends that are asked to be outside; SUITED: those suit the kernels best, and no choice with any others is
    below ``outer_bound``).
    """

    graph: Graph
    lowered: Mapping[int, Lowered]
    pairs: Mapping[int, int]
    positions: tuple[int, ...]
    stages: tuple[Stage, ...]
    plain: frozenset[int]
    limits: Budgets
    order: tuple[int, ...]
    mcu: Mcu | None = None
    sites: Sites = NOWHERE
    away: frozenset[int] = frozenset()
    room: int | None = None
    outer_bound: int | None = None
    #: What the stages were made by, for other tensors outside.
    made: Stages | None = None

    @property
    def in_order(self) -> bool:
        """Whether operators run in the order of the file, and no states are kept: else none is computed depth first."""
        return not self.graph.states and self.order == tuple(range(len(self.graph.operators)))

    def taken(self, picks: Sequence[int]) -> dict[int, Candidate]:
        """The candidate of each operator, by position."""
        rows = zip(self.positions, self.stages, picks, strict=True)
        return {i: stage.candidates[j] for i, stage, j in rows}

    def chosen(self, picks: Sequence[int]) -> dict[int, Plan]:
        """The plan of each operator, by position."""
        return {i: candidate.plan for i, candidate in self.taken(picks).items()}

    def apart(self, picks: Sequence[int]) -> list[tuple[int, Problem, tuple[int, ...]]]:
        """Each network's first stage, its problem and its picks: this one's alone (see :mod:`memaopt.choice.joint`)."""
        return [(0, self, tuple(picks))]

    def scratch(self, chosen: Mapping[int, Plan]) -> dict[int, int]:
        """Scratch bytes by position, where there are any."""
        return {i: plan.scratch_bytes for i, plan in chosen.items() if plan.scratch_bytes}

    def in_memory(self, chosen: Mapping[int, Plan]) -> Graph:
        """The network as its memory plan sees it."""
        return fusion.in_memory(self.graph, fusion.deferred(chosen))

    def laid_out(self, picks: Sequence[int], arena: int) -> bool:
        """Whether arena, stack, and what a choice copies into RAM have a layout there together."""
        taken = list(self.taken(picks).values())
        stack = max((c.stack_bytes for c in taken), default=stack_bytes(()))
        return self.mcu is None or layout.of(self.mcu, arena, stack, taken) is not None

    def memory_plan(self, picks: Sequence[int], *, reorder: bool = False, time_limit: float = 5.0) -> MemoryPlan:
        """The memory plan of a choice, in the problem's order or in the one that suits the choice best."""
        chosen = self.chosen(picks)
        return memory.plan(
            self.in_memory(chosen),
            scratch=self.scratch(chosen),
            alignment=ALIGNMENT,
            order=self.order,
            in_place=in_place_of(self.graph, chosen, self.lowered),
            leads=leads_of(self.graph, chosen, self.lowered),
            external=self.gone(chosen),
            reorder=reorder,
            time_limit=time_limit,
        )

    def gone(self, chosen: Mapping[int, Plan]) -> frozenset[int]:
        """The tensors outside as the memory plan sees them: what another layer computes within itself lies nowhere."""
        return self.away - {self.graph.operators[i].output for i in fusion.deferred(chosen)}

    def stays(self, chosen: Mapping[int, Plan]) -> frozenset[int]:
        """The tensors (alias roots) in SRAM, likewise: what lies nowhere is an alias of what it is computed from, so
        that its reader reads that, wherever it is."""
        nowhere = {self.graph.operators[i].output for i in fusion.deferred(chosen)}
        return frozenset(liveness.roots_of(self.graph).values()) - self.away - nowhere

    def outer_plan(self, picks: Sequence[int], order: Sequence[int]) -> MemoryPlan | None:
        """Where the tensors outside lie, in an order of execution; None if there are none."""
        if not self.away:
            return None
        chosen = self.chosen(picks)
        return memory.plan(
            self.in_memory(chosen),
            alignment=ALIGNMENT,
            order=order,
            in_place=in_place_of(self.graph, chosen, self.lowered),
            leads=leads_of(self.graph, chosen, self.lowered),
            external=self.stays(chosen),
            reorder=False,
        )

    def blocks(self, picks: Sequence[int]) -> liveness.ArenaProblem:
        """What is alive when, with the kernels of a choice."""
        chosen = self.chosen(picks)
        return liveness.problem(
            self.in_memory(chosen),
            ALIGNMENT,
            in_place_of(self.graph, chosen, self.lowered),
            self.scratch(chosen),
            self.gone(chosen),
            leads_of(self.graph, chosen, self.lowered),
        )


def prepare(
    graph: Graph,
    mcu: Mcu,
    *,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    formats: bool = True,
    place: NetworkPlacement | None = None,
    room: int | None = None,
    objective: Objective = "cycles",
) -> Problem:
    """The problem of choosing kernels for a simplified network; budgets are what a project leaves of the machine's
    memories by default, and what may be copied into RAM is what its setting allows. ``place``: which memories buffers
    may live in, on the chip by default; ``room``: the bytes that tensors inside may take, where some may be outside, or
    SUITED: those that suit the kernels best under the ``objective`` are, or ALL_AWAY.
    """
    _refuse_budgets(mcu, sram=sram, flash=flash, arena=arena)
    allowed = sites(place or ON_CHIP, mcu)
    machine = timing(mcu, allowed.outside)
    beyond = allowed.outside is not None, allowed.tensors is not None, allowed.dma is not None
    lowered, options, pairs, order, roots = ways(graph, formats, mcu.core.has_fpu, *beyond)
    constants = {t for low in lowered.values() for t in low.inputs if graph.tensors[t].is_constant}
    invoke = _INVOKE if len(graph.inputs) == len(graph.outputs) == 1 else _INVOKE_MORE
    overhead = invoke + _CALL * len(lowered) + _HELPERS + sum(graph.tensors[t].nbytes for t in constants)
    overhead += 0 if allowed.outside is None else _CHECK
    flash_left, sram_left = left_by_project(mcu, graph)
    code_ram = next(place.size for place in mcu.places if place.name == mcu.code_ram)
    limits = Budgets(
        flash_left if flash is None else flash,
        sram_left if sram is None else sram,
        overhead,
        min(code_ram, mcu.setting.code_in_ram),
        arena,
        mcu.setting.constants_in_ram,
    )
    made = Stages(graph, lowered, pairs, options, roots, order, machine, limits, allowed)
    ends = allowed.ends_away(graph)
    gone: frozenset[int] | None = ends
    bound: int | None = None
    if room == SUITED:
        best = suited(made, objective)
        gone, bound = (None, None) if best is None else best
    elif room == ALL_AWAY:
        gone = frozenset(roots.values()) - (frozenset(roots.get(t, t) for t in (*graph.inputs, *graph.outputs)) - ends)
    elif room is not None:
        gone = away(graph, order, room, ALIGNMENT, ends)
    if gone is None:
        most = limits.sram if room == SUITED else room
        what = "whichever tensors are outside, the rest takes"
        raise InfeasibleError(f"{graph.name}: {what} more than {most:,} bytes of SRAM")
    stages = tuple(made.every(gone))
    plain = frozenset(roots.get(t, t) for t in (*graph.inputs, *graph.outputs))
    positions = tuple(i for i in order if i in lowered)
    return Problem(
        graph, lowered, pairs, positions, stages, plain, limits, order, mcu, allowed, gone, room, bound, made
    )


class Ways(NamedTuple):
    """What can be chosen for a graph on whatever machine has such a core: see :class:`Problem`; ``options`` are the
    plans of each operator that runs."""

    lowered: Mapping[int, Lowered]
    options: Mapping[int, tuple[Plan, ...]]
    pairs: Mapping[int, int]
    order: tuple[int, ...]
    roots: Mapping[int, int]


@lru_cache(maxsize=4)
def ways(graph: Graph, formats: bool, has_fpu: bool, outside: bool, away: bool, dma: bool = False) -> Ways:
    """What can be chosen for a graph, found once for all settings of a machine; see :func:`options_of`."""
    lowered = {i: found for i, op in enumerate(graph.operators) if (found := op.lower(graph)) is not None}
    given = formats, has_fpu, outside, away, dma
    options = {i: options_of(graph, graph.operators[i], low, *given) for i, low in lowered.items()}
    order = _order(graph)
    pairs = fusion.pairs(graph, lowered, order) if formats else {}
    for i, first in dict(pairs).items():
        together = fusion.together(lowered[first], lowered[i])
        fused = options_of(graph, graph.operators[i], together, *given)
        options[i] += fused
        if fused:
            options[first] += (fusion.DEFERRED,)
        else:
            del pairs[i]
    return Ways(lowered, options, pairs, order, liveness.roots_of(graph))


def _refuse_budgets(mcu: Mcu, **budgets: int | None) -> None:
    """InputError for a budget that is negative, or of a memory that has less: no certificate of it would hold."""
    for name, given in budgets.items():
        size = given if name == "arena" else mcu.memory(name).size
        if given is not None and size is not None and not 0 <= given <= size:
            more = f"{mcu.name} has {size:,}: resize it by with_sizes({name}=...)" if given > size else "give 0 or more"
            raise InputError(f"{option(name)} is {given:,} bytes; {more}")


def left_by_project(mcu: Mcu, graph: Graph) -> tuple[int, int]:
    """Bytes of flash and of SRAM that a stock project leaves to a network's library.

    A test vector, an input and what it gives, is part of the project; so is what the network keeps from run to run.
    """
    flash, sram = _spare(mcu, graph)
    return max(flash, 1), max(sram, 1)


def _spare(mcu: Mcu, graph: Graph) -> tuple[int, int]:
    """As above; less than nothing where the project has no room itself."""
    vector = sum(graph.tensors[tensor].nbytes for tensor in (*graph.given, *graph.wanted))
    setting = mcu.setting
    flash = mcu.memory("flash").size - setting.project_flash - vector
    return flash, mcu.sram.size - setting.project_ram - places.of(graph, ALIGNMENT).bytes


def allowance(what: Literal["flash", "sram"], limit: int, mcu: Mcu | None, graph: Graph) -> tuple[int, str]:
    """Bytes of a budget and whose they are, in words: what the project leaves, unless another budget was given."""
    if mcu is None or limit != left_by_project(mcu, graph)[what == "sram"]:
        return limit, "given"
    left = max(_spare(mcu, graph)[what == "sram"], 0)
    return left, f"that the project leaves of {mcu.memory(what).size:,}"


def refuse_weights_beyond(most: int, where: str, graph: Graph, name: str, whose: str = "given") -> None:
    """InfeasibleError if the weights alone exceed the memory ``where`` they go: none takes less than a byte. ``whose``
    the bytes there are, in words."""
    sizes: dict[int, int] = {}
    owners: dict[int, Operator] = {}
    for op in graph.operators:
        if isinstance(op, Weighted):
            sizes[op.weights] = graph.tensors[op.weights].nbytes
            owners.setdefault(op.weights, op)
    total = sum(sizes.values())
    if total > most:
        heaviest = max(sizes, key=lambda tensor: sizes[tensor])
        raise InfeasibleError(
            f"{name} has {total:,} bytes of weights, {total - most:,} more than the {most:,} bytes of {where} {whose}: "
            f"{graph.place(owners[heaviest])} has most, {sizes[heaviest]:,}; fewer weights, or a machine with more "
            f"{where}, would do"
        )


def options_of(
    graph: Graph,
    op: Operator,
    low: Lowered,
    formats: bool,
    has_fpu: bool,
    outside: bool = False,
    away: bool = False,
    dma: bool = False,
) -> tuple[Plan, ...]:
    """The plans for such a core whose alignment holds for every image of a batch, also with their constants staged;
    those that pack what crosses, or stage parts of it, where constants may be ``outside`` the chip, by a ``dma`` too
    where there is one; and those that read each byte of their input once, where tensors may be ``away``."""
    sizes = [graph.tensors[t].nbytes // low.batch for t in (low.inputs[0], op.output)]
    streamed = [
        plan
        for plan in plans(low.layer)
        if plan.runs_on(has_fpu)
        and (low.batch == 1 or all(size % plan.alignment == 0 for size in sizes))
        and plan.alignment <= ALIGNMENT
        and (formats or plan.input_format is plan.output_format is Format.S8)
    ]
    once = [slid(low.layer, plan) for plan in streamed] if away else []
    streamed += [plan for plan in once if plan is not None]
    copied = [staged(plan) for plan in streamed]
    copied += [packed(plan, apart) for plan in streamed for apart in (False, True)] if outside else []
    parted = [part for plan in streamed for part in in_parts(low.layer, plan)] if outside else []
    parted += [part for plan in streamed for part in by_dma(low.layer, plan)] if dma else []
    found = (*streamed, *(plan for plan in copied if plan is not None), *parted)
    if not away or low.batch > 1 or not isinstance(low.layer, Conv | Depthwise | FullyConnected):
        return found
    still = (fetched(plan, sizes[0]) for plan in found if not plan.slides and plan.family in OWN)
    return (*found, *(plan for plan in still if plan is not None))


def _order(graph: Graph) -> tuple[int, ...]:
    """The order whose largest live set of tensors is the least."""
    problem = liveness.problem(graph, ALIGNMENT, elementwise_in_place, {}, ())
    return liveness.best_order(problem)[0]
