"""What a network was compiled to: the plan of each layer, and what all of them come to together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from memaopt.access import Access
from memaopt.choice import choice, in_ram, invoke, layout
from memaopt.choice.choice import Budgets, Choice
from memaopt.choice.customs import custom_facts, without
from memaopt.choice.in_ram import IN_FLASH, Where
from memaopt.choice.layout import Layout
from memaopt.choice.paths import Potentials
from memaopt.choice.placement import ON_CHIP, NetworkPlacement, sites
from memaopt.choice.stages import ALIGNMENT, stack_bytes
from memaopt.kernels.image import ConstantsImage
from memaopt.kernels.plan import Promise
from memaopt.kernels.registry import Emitted, Format, Plan, emit
from memaopt.kernels.sections import sharing
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory
from memaopt.memory import states
from memaopt.memory.liveness import roots_of
from memaopt.memory.plan import MemoryPlan
from memaopt.memory.states import StatePlan
from memaopt.models.fetching import FlashTiming
from memaopt.models.waits import timing
from memaopt.networks.chains import Chains
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Lowered, Operator
from memaopt.networks.streaming.push import Push
from memaopt.networks.streaming.window import Stream
from memaopt.overview import framed, summarised
from memaopt.printable import counted
from memaopt.problems.custom import CustomCode, CustomLayer
from memaopt.problems.words import Objective


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer that runs. ``position`` is that of its operator in the simplified graph, ``within`` that of the
    operator before it which it computes too; ``stall_cycles`` are what the machine's wait states are predicted to add,
    ``away_cycles`` those of them that accesses to tensors outside the chip wait. ``shared``: constants that lie among
    another network's, by the names that they have there.
    """

    position: int
    op: Operator
    name: str
    lowered: Lowered
    plan: Plan
    macs: int
    where: Where = IN_FLASH
    stall_cycles: int = 0
    within: int | None = None
    away_cycles: int = 0
    shared: Mapping[str, str] = field(default_factory=dict)

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

    def at(self, where: Where, machine: FlashTiming) -> int:
        """Predicted cycles with its code and constants elsewhere."""
        return self.cycles + in_ram.stall_cycles(self.plan, self.batch, where, machine) + self.away_cycles

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
        return sharing(emit(self.lowered.layer, self.plan, self.name), self.shared)


class Neighbour(NamedTuple):
    """Another plan of the same network: its arena, and its cycles with the machine's wait states."""

    arena_bytes: int
    machine_cycles: int


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """A compiled network: what runs in which order, where everything lives, what it costs.

    ``source`` is the network as read, ``graph`` the simplified one (channels kept in multiples of ``multiple``), whose
    tensors keep their indices; ``steps`` the rewrites between them. ``chains``: operators of that which are one in
    ``graph``. ``model`` is the file that holds ``source``, if one does; where a window slides, ``source`` is the
    network of a ``push``, made from it as ``slides`` says. ``within``: the arena that bounds the choice is the least in
    which one costs at most so much more than the best of all; None if nobody asked for that. ``neighbours`` on the
    front are then the best of all, where that is another one, and the best in an arena a tenth smaller, if that costs
    little. ``outer``: where the tensors (alias roots) lie that are ``away``, outside the chip, since those inside have
    ``room`` bytes; if that is SUITED, nothing costs less than ``outer_bound``, whichever tensors are outside.
    ``chained_bound``: what no partition into chains costs less than, whichever tensors are outside, up to the plan's
    own price. ``placement``: which memories buffers may live in. ``home``: the library that it is in with other
    networks, None for one of its own; ``initialised``: whether that is initialised once, for whichever of them.
    ``potentials``: with chains, what proves for each way to simplify the network that no partition into chains costs
    less than the bound.
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
    chains: Chains = ()
    model: Model | None = None
    within: float | None = None
    push: Push | None = None
    slides: Stream | None = None
    neighbours: tuple[Neighbour, ...] = ()
    placement: NetworkPlacement = ON_CHIP
    outer: MemoryPlan | None = None
    away: frozenset[int] = frozenset()
    room: int | None = None
    outer_bound: int | None = None
    chained_bound: int | None = None
    home: str | None = None
    initialised: bool = False
    potentials: tuple[Potentials, ...] = ()

    def headline(self) -> str:
        """The network, the machine, and how many layers are left."""
        where = f"{self.mcu.name} in setting {self.mcu.setting.name}"
        return f"{self.name} on {where}: {counted(len(self.layers), 'layer')}"

    def summary(self) -> str:
        """The headline, and what it takes, a line each."""
        cycles = [("cycles", f"{self.machine_cycles:,} predicted{self.behind}")] if self.mcu.core.is_timed else []
        facts = (
            ("multiply-accumulates", f"{self.macs:,}"),
            *cycles,
            ("arena", f"{self.arena_bytes:,} bytes"),
            ("RAM besides", f"{self.stack_bytes:,} bytes of stack, {self.ram_bytes:,} of code and constants"),
            ("flash", f"{self.flash_bytes:,} bytes"),
            *self.custom_facts,
        )
        return summarised(self.headline(), facts)

    def to_dict(self) -> dict[str, Any]:
        """What ``solve --json`` prints of it, without certificate and trial."""
        from memaopt.api import data_of

        return data_of(self)

    def _repr_html_(self) -> str:
        from memaopt.api import html_report

        return framed(html_report(self))

    def __repr__(self) -> str:
        cycles = f", {self.machine_cycles:,} cycles{self.behind}" if self.mcu.core.is_timed else ""
        return f"<NetworkPlan: {self.headline()}{cycles}>"

    @property
    def library(self) -> str:
        """The name of the library that it is in."""
        return self.name if self.home is None else self.home

    @cached_property
    def roots(self) -> dict[int, int]:
        """The first tensor of each activation's alias class."""
        return roots_of(self.graph)

    @cached_property
    def customs(self) -> tuple[CustomCode, ...]:
        """The C of the user's that computes layers, each once."""
        layers = (layer.lowered.layer for layer in self.layers)
        return tuple(dict.fromkeys(layer.code for layer in layers if isinstance(layer, CustomLayer)))

    @property
    def promises_cycles(self) -> bool:
        """Whether all of a call's cycles are predicted: by a core whose timing is known, of C that is memaopt's own."""
        return self.mcu.core.is_timed and not self.customs

    @property
    def custom_facts(self) -> tuple[tuple[str, str], ...]:
        """What is to be said beside all figures, if C of the user's computes layers."""
        return custom_facts(code.name for code in self.customs)

    @property
    def without(self) -> str:
        """Whose cycles, accesses, stack and code no predicted figure has: `` without rasp's``; empty for nobody's."""
        return without(code.name for code in self.customs)

    @property
    def with_dma(self) -> str:
        """What stands behind predicted cycles of a machine that was asked for with its DMA, which is modelled."""
        used = any(layer.plan.dma for layer in self.layers)
        return "" if self.mcu.dma is None else " with DMA" if used else " (DMA: cheaper for no layer)"

    @property
    def behind(self) -> str:
        """All that stands behind them."""
        return f"{self.with_dma}{self.without}"

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
        machine = timing(mcu, self.outside)
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

    @cached_property
    def outside(self) -> Memory | None:
        """The memory outside the chip that constants may live in, if there is one."""
        return sites(self.placement, self.mcu).outside

    @cached_property
    def image(self) -> ConstantsImage:
        """The constants that live there, one after the other."""
        return ConstantsImage(
            array
            for layer in self.layers
            if layer.where.outside
            for array in layer.emitted.constants
            if not array.stays
        )

    @property
    def has_init(self) -> bool:
        """Whether the library is initialised once: it copies something into RAM, or checks what lies outside."""
        return self.initialised or bool(self.ram_bytes or self.image.places)

    @property
    def copied(self) -> tuple[str, ...]:
        """The layers whose constants are copied into RAM, in the order of the layout's."""
        return tuple(layer.name for layer in self.layers if layer.where.data)

    @property
    def arena_bytes(self) -> int:
        """Tensors and scratch together."""
        return self.memory.arena_bytes

    @cached_property
    def states(self) -> StatePlan:
        """What is kept from run to run, in memory of the caller's."""
        return states.of(self.graph, ALIGNMENT)

    @property
    def state_bytes(self) -> int:
        """What the caller keeps from run to run: the states, whether there was a first frame, if that fills, and which
        copies' turn it is, if there are some.
        """
        return self.turn_at + (ALIGNMENT if self.states.apart else 0)

    @property
    def turn_at(self) -> int:
        """Where the number of the run is kept, whose copies of states have their turn, if there are some."""
        flag = ALIGNMENT if self.push is not None and self.push.fill == "first" else 0
        return self.states.bytes + flag

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
        own = sum(layer.plan.data_bytes + layer.plan.channel_bytes for layer in self.layers)
        own -= choice.outside_constants(self.layers)
        return own + sum(self.graph.tensors[i].nbytes for i in operands)

    @property
    def code_bytes(self) -> int:
        """Flash for code, an estimate for a Cortex-M4."""
        return self.flash_bytes - self.constant_bytes

    @property
    def flash_bytes(self) -> int:
        return choice.flash_bytes(self.layers, self.budgets.flash_overhead)

    def format_of(self, tensor: int) -> Format:
        """How an activation lies in memory."""
        root = self.roots.get(tensor, tensor)
        for layer in self.layers:
            if layer.op.output == root:
                return layer.plan.output_format
            if layer.within is not None and self.graph.operators[layer.within].output == root:
                return Format.FUSED
        return Format.S8

    def is_away(self, tensor: int) -> bool:
        """Whether a tensor lies outside the chip."""
        return self.roots.get(tensor) in self.away

    @property
    def ends_away(self) -> str:
        """The network's ends that lie outside the chip, as in ``the input and the outputs``; empty for none."""
        of = {"input": self.graph.given, "output": self.graph.wanted}
        away = [
            f"the {end}{'s' * (len(tensors) > 1)}" for end, tensors in of.items() if any(map(self.is_away, tensors))
        ]
        return " and ".join(away)

    @property
    def outer_bytes(self) -> int:
        """What the tensors outside the chip take there."""
        return 0 if self.outer is None else self.outer.arena_bytes

    def place(self, tensor: int) -> int:
        """The byte offset of an activation in its arena, or of one that is kept in the state."""
        kept = self.graph.outside.get(tensor)
        if self.outer is not None and self.is_away(tensor):
            return self.outer.offset(tensor)
        return self.memory.offset(tensor) if kept is None else self.states.offsets[kept]
