"""A network compiled: simplified exactly, a kernel for each layer, a place in memory for each tensor, totals.

:func:`compile_network` decides everything and writes nothing; :mod:`memaopt.emit.network` turns its plan into C.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from memaopt.emit.layers import Emitted, Format, Plan, emit, plans
from memaopt.emit.layers.result import Access, Promise
from memaopt.errors import InfeasibleError, InputError
from memaopt.mcus import Mcu
from memaopt.networks import choice, fusion, liveness, memory, shapes, simplify, tflite
from memaopt.networks import operators as ops
from memaopt.networks.choice import Budgets, Candidate, Choice, Objective, Stage
from memaopt.networks.graph import Graph
from memaopt.networks.liveness import InPlace, elementwise_in_place
from memaopt.networks.lower import Lowered, lower
from memaopt.networks.memory import MemoryPlan
from memaopt.networks.operators import Operator
from memaopt.networks.placement import IN_FLASH, Placement, Waits, code_bytes, placements, stall_cycles, waits

ALIGNMENT = 16
#: The frame of ``invoke`` and what the layers' C around the kernels needs; the kernels' own stack comes on top.
_FRAME = 160
#: Code of ``invoke`` (with memmove), and of the call of one layer.
_INVOKE, _CALL = 500, 80
_KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long main "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"
)


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
    where: Placement = IN_FLASH
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

    @cached_property
    def promise(self) -> Promise:
        """What the layer accesses in one inference."""
        p = self.plan.promise
        return Promise(
            tuple(a.times(self.batch) for a in p.inputs),
            p.output.times(self.batch),
            p.parameters.times(self.batch),
            p.scratch.times(self.batch),
        )

    @property
    def traffic(self) -> Access:
        """All promised accesses, stack apart."""
        total = self.promise.output + self.promise.parameters + self.promise.scratch
        for access in self.promise.inputs:
            total = total + access
        return total

    @cached_property
    def emitted(self) -> Emitted:
        """The C text."""
        return emit(self.lowered.layer, self.plan, self.name)


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """A compiled network: what runs in which order, where everything lives, what it costs.

    ``source`` is the network as read, ``graph`` the simplified one (channels kept in multiples of ``multiple``), whose
    tensors keep their indices; ``steps`` the rewrites between them. ``model_sha256`` is the digest of the file, empty
    for a network that came from none.
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
    data_in_ram: bool = True
    model_sha256: str = ""

    @cached_property
    def roots(self) -> dict[int, int]:
        """The first tensor of each activation's alias class."""
        return _roots(self.graph)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def cycles(self) -> int:
        """Predicted at zero wait states."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def machine_cycles(self) -> int:
        """Predicted with the machine's wait states."""
        return self.cycles + sum(layer.stall_cycles for layer in self.layers)

    @property
    def ram_bytes(self) -> int:
        """Code and constants that start-up code copies into RAM."""
        code: dict[tuple[str, ...], int] = {}
        total = 0
        for layer in self.layers:
            total += layer.plan.data_bytes if layer.where.data else 0
            if layer.where.code and layer.plan.kernels:
                code[layer.plan.kernels] = code_bytes(layer.plan)
            elif layer.where.code:
                total += code_bytes(layer.plan)
        return total + sum(code.values())

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


def compile_network(
    network: Graph | str | Path,
    mcu: Mcu,
    objective: Objective = "cycles",
    *,
    name: str | None = None,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    formats: bool = True,
    data_in_ram: bool = True,
) -> NetworkPlan:
    """Compile a network (a graph, or the path of a ``.tflite`` file) for a machine.

    ``objective``: ``cycles``, ``bytes`` (moved) or ``energy``. ``sram`` and ``flash`` are budgets in bytes, by default
    the machine's; ``arena`` is one for tensors and scratch. ``data_in_ram``: whether constants may be copied into RAM,
    instead of being streamed from flash. ``formats``: whether tensors inside the network may lie in memory as their
    reader wants them, instead of as int8. Raises InfeasibleError if a budget cannot be met, InputError for a network
    that cannot be read.
    """
    digest = ""
    if isinstance(network, Graph):
        graph = network
    else:
        graph = tflite.read(network)
        digest = hashlib.sha256(Path(network).read_bytes()).hexdigest()
    if objective not in choice.OBJECTIVES:
        raise InputError(f"objective {objective!r}: there are {', '.join(choice.OBJECTIVES)}")
    identifier = identifier_of(graph.name if name is None else name)
    best: NetworkPlan | None = None
    failure: InfeasibleError | None = None
    for multiple in (1, 2):
        simple = simplify.simplify(graph, multiple=multiple)
        try:
            problem = prepare(
                simple.graph, mcu, sram=sram, flash=flash, arena=arena, formats=formats, data_in_ram=data_in_ram
            )
            picked, placed = solve(problem, identifier, objective)
        except InfeasibleError as error:
            failure = failure or error
            continue
        finally:
            once = not simple.kept  # without dropped channels every multiple gives the same network
        if best is None or picked.price < best.choice.price:
            layers = layers_of(problem, identifier, placed.order, picked.picks)
            best = NetworkPlan(
                identifier, mcu, objective, problem.limits, graph, simple.graph, simple.kept, simple.steps, layers,
                placed, picked, multiple, formats, data_in_ram, digest,
            )  # fmt: skip
        if once:
            break
    if best is None:
        assert failure is not None
        raise failure
    return best


def identifier_of(name: str) -> str:
    """A C identifier made of a file's or network's name."""
    text = re.sub(r"\W+", "_", Path(name).name.removesuffix(".tflite"), flags=re.ASCII).strip("_").lower()[:48]
    if not text or text[0].isdigit() or text in _KEYWORDS.split():
        text = f"net_{text}".rstrip("_")
    return text


@dataclass(frozen=True, eq=False)
class Problem:
    """What is chosen from: the plans of every operator that runs, by position, and the stages in execution order.

    ``pairs`` has, for each depthwise convolution that can be computed with the convolution before it, that one's
    position.
    """

    graph: Graph
    lowered: Mapping[int, Lowered]
    pairs: Mapping[int, int]
    positions: tuple[int, ...]
    stages: tuple[Stage, ...]
    plain: frozenset[int]
    limits: Budgets

    def taken(self, picks: Sequence[int]) -> dict[int, Candidate]:
        """The candidate of each operator, by position."""
        rows = zip(self.positions, self.stages, picks, strict=True)
        return {i: stage.candidates[j] for i, stage, j in rows}

    def chosen(self, picks: Sequence[int]) -> dict[int, Plan]:
        """The plan of each operator, by position."""
        return {i: candidate.plan for i, candidate in self.taken(picks).items()}

    def scratch(self, chosen: Mapping[int, Plan]) -> dict[int, int]:
        """Scratch bytes by position, where there are any."""
        return {i: plan.scratch_bytes for i, plan in chosen.items() if plan.scratch_bytes}

    def in_memory(self, chosen: Mapping[int, Plan]) -> Graph:
        """The network as its memory plan sees it."""
        return fusion.in_memory(self.graph, fusion.deferred(chosen))


def prepare(
    graph: Graph,
    mcu: Mcu,
    *,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    formats: bool = True,
    data_in_ram: bool = True,
) -> Problem:
    """The problem of choosing kernels for a simplified network; budgets are the machine's memories by default."""
    lowered = {i: found for i, op in enumerate(graph.operators) if (found := lower(graph, op)) is not None}
    options = {i: _options(graph, graph.operators[i], low, formats) for i, low in lowered.items()}
    constants = {t for low in lowered.values() for t in low.inputs if graph.tensors[t].is_constant}
    overhead = _INVOKE + _CALL * len(lowered) + sum(graph.tensors[t].nbytes for t in constants)
    flash_bytes = mcu.memory("flash").size if flash is None else flash
    code_ram = next(place.size for place in mcu.places if place.name == mcu.code_ram)
    limits = Budgets(flash_bytes, mcu.sram.size if sram is None else sram, overhead, code_ram, arena)
    roots, order = _roots(graph), _order(graph)
    pairs = fusion.pairs(graph, lowered, order) if formats else {}
    for i, first in dict(pairs).items():
        fused = _options(graph, graph.operators[i], fusion.together(lowered[first], lowered[i]), formats)
        options[i] += fused
        if fused:
            options[first] += (fusion.DEFERRED,)
        else:
            del pairs[i]
    stages = tuple(_stages(graph, lowered, pairs, options, roots, order, waits(mcu), data_in_ram))
    plain = frozenset(roots[t] for t in (*graph.inputs, *graph.outputs))
    positions = tuple(i for i in order if i in lowered)
    return Problem(graph, lowered, pairs, positions, stages, plain, limits)


def solve(problem: Problem, name: str, objective: Objective) -> tuple[Choice, MemoryPlan]:
    """The best choice whose tensors and scratch can be placed within the SRAM, and where they are placed."""
    budgets = problem.limits
    assert budgets.sram is not None
    limit = budgets.sram
    while True:
        picked = choice.choose(problem.stages, problem.plain, objective, budgets)
        if picked is None:
            raise _why(problem, name)
        chosen = problem.chosen(picked.picks)
        in_place = in_place_of(problem.graph, chosen, problem.lowered)
        placed = memory.plan(
            problem.in_memory(chosen), scratch=problem.scratch(chosen), alignment=ALIGNMENT, in_place=in_place
        )
        taken = list(problem.taken(picked.picks).values())
        arena = max((c.arena_bytes for c in taken), default=0)
        over = placed.arena_bytes + choice.sram_bytes(taken) - arena - limit
        wide = 0 if problem.limits.arena is None else placed.arena_bytes - problem.limits.arena
        if over <= 0 and wide <= 0:
            return picked, placed
        # Packing needs more than what is alive at any time: ask for less until it fits, or nothing does.
        assert budgets.sram is not None
        if over > 0:
            budgets = dataclasses.replace(budgets, sram=budgets.sram - max(over, ALIGNMENT))
        if wide > 0:
            assert budgets.arena is not None
            budgets = dataclasses.replace(budgets, arena=budgets.arena - max(wide, ALIGNMENT))


def stack_bytes(chosen: Iterable[Plan]) -> int:
    """An estimate of what ``invoke`` puts on the stack with these plans."""
    return _FRAME + max((plan.stack_bytes for plan in chosen), default=0)


def layers_of(
    problem: Problem, name: str, order: Sequence[int], picks: Sequence[int]
) -> tuple[LayerPlan, ...]:
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
        macs=shapes.macs(graph, op) + (0 if first is None else shapes.macs(graph, graph.operators[first])),
        where=taken.where,
        stall_cycles=taken.stall_cycles,
        within=first,
    )


def _options(graph: Graph, op: Operator, low: Lowered, formats: bool) -> tuple[Plan, ...]:
    """The plans whose alignment holds for every image of a batch."""
    sizes = [graph.tensors[t].nbytes // low.batch for t in (low.inputs[0], op.output)]
    return tuple(
        plan
        for plan in plans(low.layer)
        if (low.batch == 1 or all(size % plan.alignment == 0 for size in sizes))
        and plan.alignment <= ALIGNMENT
        and (formats or plan.input_format is plan.output_format is Format.S8)
    )


def in_place_of(graph: Graph, chosen: Mapping[int, Plan], lowered: Mapping[int, Lowered]) -> InPlace:
    """Which inputs the chosen kernels may overwrite, for :func:`memaopt.networks.memory.plan`."""
    by_output = {graph.operators[i].output: i for i in chosen}

    def in_place(graph: Graph, op: Operator) -> tuple[int, ...]:
        i = by_output.get(op.output)
        if i is None or not chosen[i].in_place or graph.tensors[op.input].is_constant:
            return ()
        if isinstance(op, (ops.Add, ops.Sub, ops.Mul)):
            # Element by element: either input will do, if no element of it is read again for another output.
            return elementwise_in_place(graph, op)
        if isinstance(op, ops.FullyConnected):
            return ()  # only the assembly has read all inputs before it writes; the plain C has not
        sizes = {graph.tensors[op.input].nbytes, graph.tensors[op.output].nbytes}
        return (0,) if lowered[i].batch == 1 or len(sizes) == 1 else ()

    return in_place


def _roots(graph: Graph) -> dict[int, int]:
    roots = {tensor: tensor for tensor in graph.inputs}
    for op in graph.operators:
        alias = isinstance(op, ops.Reshape) and op.input in roots
        roots[op.output] = roots[op.input] if alias else op.output
    return roots


def _order(graph: Graph) -> tuple[int, ...]:
    """The order whose largest live set of tensors is the least."""
    problem = liveness.problem(graph, ALIGNMENT, elementwise_in_place, {}, ())
    return liveness.best_order(problem)[0]


def _stages(
    graph: Graph, lowered: Mapping[int, Lowered], pairs: Mapping[int, int], options: Mapping[int, tuple[Plan, ...]],
    roots: Mapping[int, int], order: tuple[int, ...], machine: Waits, data_in_ram: bool,
) -> list[Stage]:  # fmt: skip
    """A stage for each operator that runs, in execution order, with what is alive while it does."""
    ready: list[Stage] = []
    done = 0
    apart = liveness.problem(graph, ALIGNMENT, elementwise_in_place, {}, ())
    for i in order:
        if i in lowered:
            op = graph.operators[i]
            alive: dict[tuple[bool, bool], int] = {}
            for plan in options[i]:
                if _lives(plan) not in alive:
                    rule = in_place_of(graph, {i: plan}, lowered)
                    view = dataclasses.replace(apart, in_place=rule)
                    if plan.input_format is Format.FUSED:
                        view = liveness.problem(fusion.in_memory(graph, [pairs[i]]), ALIGNMENT, rule, {}, ())
                    alive[_lives(plan)] = view.during(i, done)
            candidates = tuple(
                Candidate(
                    plan,
                    lowered[i].batch,
                    alive[_lives(plan)] + liveness.align(plan.scratch_bytes, ALIGNMENT),
                    plan.stack_bytes + _FRAME,
                    where,
                    stall_cycles(plan, lowered[i].batch, where, machine),
                )
                if plan is not fusion.DEFERRED
                else Candidate(plan, lowered[i].batch, 0)
                for plan in options[i]
                for where in placements(plan, machine)
                if data_in_ram or not where.data
            )
            ready.append(Stage(candidates, tuple(roots.get(t) for t in lowered[i].inputs), roots[op.output]))
        done |= 1 << i
    return ready


def _lives(plan: Plan) -> tuple[bool, bool]:
    """What decides which tensors are alive while a plan runs."""
    return plan.in_place, plan.input_format is Format.FUSED


def _why(problem: Problem, name: str) -> InfeasibleError:
    """What does not fit, by how many bytes, where, and what would help."""
    graph, stages, plain, limits = problem.graph, problem.stages, problem.plain, problem.limits
    positions = problem.positions
    assert limits.sram is not None
    assert limits.flash is not None
    sram, peak = choice.least_sram(stages, plain)
    least_arena, widest = (0, 0) if limits.arena is None else choice.least_arena(stages, plain)
    if limits.arena is not None and least_arena > limits.arena:
        return InfeasibleError(
            f"{name} needs an arena of {least_arena:,} bytes, {least_arena - limits.arena:,} more than the "
            f"{limits.arena:,} given: {graph.place(graph.operators[positions[widest]])} sets the peak"
        )
    where = graph.place(graph.operators[positions[peak]])
    if sram > limits.sram:
        return InfeasibleError(
            f"{name} needs {sram:,} bytes of SRAM, {sram - limits.sram:,} more than the {limits.sram:,} given: "
            f"{where} sets the peak, with the kernel that takes least; smaller images or fewer channels there, or "
            f"--sram {sram} on a larger machine, would do"
        )
    try:
        flash = choice.least_flash(stages, plain, limits)
    except InfeasibleError:
        return InfeasibleError(
            f"{name} does not fit {limits.sram:,} bytes of SRAM: {where} needs {sram:,} with the kernels that take "
            f"least, but they do not agree on formats or do not pack; a little more --sram would do"
        )
    if flash > limits.flash:
        heaviest = max(range(len(stages)), key=lambda i: min(c.plan.flash_bytes for c in stages[i].candidates))
        return InfeasibleError(
            f"{name} needs {flash:,} bytes of flash, {flash - limits.flash:,} more than the {limits.flash:,} given, "
            f"with the kernels that take least: {graph.place(graph.operators[positions[heaviest]])} takes most; fewer "
            f"weights there, or --flash {flash} on a larger machine, would do"
        )
    return InfeasibleError(
        f"{name} fits {limits.flash:,} bytes of flash and {limits.sram:,} of SRAM each, but not both; at least "
        f"{flash:,} of flash are needed with that SRAM, {sram:,} of SRAM without a limit of flash"
    )
