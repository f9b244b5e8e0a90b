"""Several networks in one library: they run one at a time, so their arenas are the same bytes.

The arena is the largest that one of them takes; each of the others has the best kernels that fit it, whatever they
would take alone. Kernels and tables that several have are there once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from memaopt.alignment import align
from memaopt.choice import choice, joint, layout
from memaopt.choice.compile import compile_network
from memaopt.choice.in_ram import Where, constants_room
from memaopt.choice.joint import Together
from memaopt.choice.layout import Layout
from memaopt.choice.least import compile_smallest
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.placement import ON_CHIP, NetworkPlacement, sites
from memaopt.choice.problem import left_by_project
from memaopt.choice.stages import ALIGNMENT
from memaopt.errors import InfeasibleError, InputError
from memaopt.kernels.image import ConstantsImage
from memaopt.kernels.text.c import Array
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.names import identifier_of
from memaopt.networks.streaming.window import Stream, streamed
from memaopt.printable import counted
from memaopt.problems.words import Objective
from memaopt.spelling import either, option

_Home = Literal["flash", "RAM", "outside"]
#: Type, length, bytes, alignment and place of an array.
_Content = tuple[str, int, bytes, int, _Home]


class Excess(NamedTuple):
    """What networks take together of something, more than there is of it, in bytes; and what would do."""

    what: str
    taken: int
    most: int
    remedy: str


@dataclass(frozen=True, eq=False)
class BundlePlan:
    """Networks compiled for one library called ``name``: their ``plans``, each at home in it, and the bytes of SRAM and
    flash that all of them have together. ``together``: their kernels were chosen at once, as it says; None where each
    has the best by itself.
    """

    name: str
    plans: tuple[NetworkPlan, ...]
    sram: int
    flash: int
    together: Together | None = None

    @property
    def mcu(self) -> Mcu:
        return self.plans[0].mcu

    @property
    def placement(self) -> NetworkPlacement:
        """Which memories buffers may live in."""
        return self.plans[0].placement

    @property
    def layers(self) -> tuple[LayerPlan, ...]:
        """Those of all networks, one network after the other."""
        return tuple(layer for plan in self.plans for layer in plan.layers)

    @property
    def arena_bytes(self) -> int:
        """Of the one arena."""
        return max(plan.arena_bytes for plan in self.plans)

    @property
    def stack_bytes(self) -> int:
        """An estimate of what a call of any network puts on the stack."""
        return max(plan.stack_bytes for plan in self.plans)

    @property
    def state_bytes(self) -> int:
        """What callers keep from run to run, of one state for each network that has one."""
        return sum(plan.state_bytes for plan in self.plans)

    @property
    def library(self) -> str:
        """The library's name, as of a network that is alone in one."""
        return self.name

    @cached_property
    def shared_bytes(self) -> int:
        """Constants that are another network's too, and there once."""
        return sum(array.nbytes for layer in self.layers for array in layer.emitted.constants if array.of)

    @property
    def constant_bytes(self) -> int:
        """Flash for weights, tables and parameters."""
        return sum(plan.constant_bytes for plan in self.plans) - self._shared_in_flash

    @property
    def flash_bytes(self) -> int:
        """Constants and code, what is shared counted once."""
        overhead = sum(plan.budgets.flash_overhead for plan in self.plans)
        return choice.flash_bytes(self.layers, overhead) - self._shared_in_flash

    @property
    def _shared_in_flash(self) -> int:
        """What is shared and not outside the chip: what is copied into RAM has its image in flash."""
        return sum(
            a.nbytes for layer in self.layers for a in layer.emitted.constants if a.of and _home(layer, a) != "outside"
        )

    @cached_property
    def copied(self) -> tuple[str, ...]:
        """The layers whose constants are copied into RAM, but for those that have none of their own there."""
        return tuple(layer.name for layer in self._copied)

    @property
    def _copied(self) -> list[LayerPlan]:
        copied = [layer for layer in self.layers if layer.where.data]
        return [layer for layer in copied if not all(array.of for array in layer.emitted.constants)]

    @property
    def ram_bytes(self) -> int:
        """Code and constants that are copied into RAM, what is shared kept once."""
        return choice.ram_code_bytes(self.layers) + sum(constants_room(layer.plan) for layer in self._copied)

    @cached_property
    def layout(self) -> Layout | None:
        """Where the linker puts what is in RAM; None if that cannot be done."""
        code, sizes = choice.ram_code_bytes(self.layers), [constants_room(layer.plan) for layer in self._copied]
        other = self.mcu.setting.project_ram if code or sizes else 0
        return layout.place(self.mcu, self.arena_bytes, self.stack_bytes, code, sizes, other)

    @cached_property
    def outside(self) -> Memory | None:
        """The memory outside the chip that constants may live in, if there is one."""
        return self.plans[0].outside

    @cached_property
    def image(self) -> ConstantsImage:
        """The constants that live there, one after the other, what is shared once."""
        arrays = [(layer, array) for layer in self.layers for array in layer.emitted.constants]
        return ConstantsImage(array for layer, array in arrays if _home(layer, array) == "outside" and not array.of)

    @property
    def outer_bytes(self) -> int:
        """What the one arena of tensors outside the chip takes there."""
        return max(plan.outer_bytes for plan in self.plans)

    @property
    def has_init(self) -> bool:
        """Whether the library is initialised once."""
        return any(plan.has_init for plan in self.plans)

    @property
    def split(self) -> list[str]:
        """Kernels that one network has in flash and another in RAM."""
        places: dict[str, set[bool]] = {}
        for layer in self.layers:
            for kernel in layer.plan.kernels:
                places.setdefault(kernel, set()).add(layer.where.code)
        return [kernel for kernel, found in places.items() if len(found) > 1]

    def excesses(self) -> Iterator[Excess]:
        """What they take more of than there is."""

        def larger(what: str) -> str:
            return f"a larger {either(f'--ram-for-{what}', f'machine.with_ram({what}=...)')}"

        ram, limits, chip = self.ram_bytes, self.plans[0].budgets, "a larger chip"
        held = "SRAM for arena and stack" + (" and what is in RAM" if ram else "")
        code = choice.ram_code_bytes(self.layers)
        found = [
            Excess("flash", self.flash_bytes, self.flash, f"a larger {option('flash')}, fewer networks or {chip}"),
            Excess(held, self.arena_bytes + self.stack_bytes + ram, self.sram, f"a larger {option('sram')} or {chip}"),
            Excess("code in RAM", code, limits.code_ram or 0, larger("code")),
            Excess("constants in RAM", ram - code, limits.constants_ram or 0, larger("constants")),
        ]
        tensors = sites(self.placement, self.mcu).tensors
        taken = [(self.outside, align(self.image.nbytes, ALIGNMENT)), (tensors, self.outer_bytes)]
        for memory in {each.name: each for each, _ in taken if each is not None}.values():
            size = sum(most for each, most in taken if each == memory)
            resized = either(f"--size {memory.name}=...", f"machine.with_sizes({memory.name}=...)")
            found.append(Excess(memory.name, size, memory.size, f"a larger one ({resized})"))
        yield from (each for each in found if each.taken > each.most)


def compile_bundle(
    networks: Sequence[Graph | Model | str | Path],
    mcu: Mcu,
    objective: Objective = "cycles",
    *,
    names: Sequence[str] | None = None,
    sram: int | None = None,
    flash: int | None = None,
    arena: int | None = None,
    within: float | None = None,
    streams: Mapping[str, Stream] = MappingProxyType({}),
    place: NetworkPlacement | None = None,
) -> BundlePlan:
    """Compile networks for one library with one arena.

    Without ``arena`` each is compiled by itself (``within`` as in :func:`~memaopt.choice.compile.compile_network`; with
    the objective ``ram`` for its least arena), the largest arena found is theirs, and those that could be better in it
    are compiled again. ``sram`` and ``flash`` are budgets of all together, by default what a stock project leaves, and
    so are those of the machine's setting for what is copied into RAM. If all the best plans do not fit these, or have a
    kernel in two places, kernels are chosen for all networks at once, for the least sum of prices in that arena.
    ``streams``: the networks, by name, that run on a window that slides. ``place``: the memories that buffers may live
    in. Raises InputError for fewer than two networks, two of one name or a stream of none, InfeasibleError if they do
    not fit.
    """
    models = [Model.read(each) if isinstance(each, str | Path) else each for each in networks]
    graphs = [each.graph if isinstance(each, Model) else each for each in models]
    called = _names(graphs, names)
    for name in streams:
        if name not in called:
            raise InputError(
                f"{option('stream', f'{name}=...')}: no network is called {name}: there are {', '.join(called)}"
            )
    least = f"{option('objective', 'ram')} finds the least arena"
    if objective == "ram" and streams:
        raise InputError(f"{least} of whole runs: no {option('stream')}")
    if objective == "ram" and place not in (None, ON_CHIP):
        raise InputError(f"{least} of networks on the chip: no {option('place')}")
    graphs = [
        streamed(graph, streams[name])[0].graph if name in streams else graph
        for graph, name in zip(graphs, called, strict=True)
    ]
    left = left_together(mcu, graphs)
    flash, sram = left[0] if flash is None else flash, left[1] if sram is None else sram

    def alone(number: int, arena: int | None) -> NetworkPlan:
        model, name = models[number], called[number]
        if objective == "ram" and arena is None:
            return compile_smallest(model, mcu, name=name, sram=sram, flash=flash)
        goal = "cycles" if objective == "ram" else objective
        slack = None if arena is not None else within
        one = partial(compile_network, model, mcu, goal, name=name, within=slack, stream=streams.get(name), place=place)
        return one(sram=sram, flash=flash, arena=arena)

    plans = _in_one_arena(len(models), arena, alone)
    found = together(plans, sram, flash)
    if not (found.split or found.layout is None or any(found.excesses())):
        return found
    most = max(plan.arena_bytes for plan in plans) if arena is None else arena
    # Constants that they share are there once: with those of the best plans first.
    for budget in dict.fromkeys((flash + found.shared_bytes, flash)):
        chosen = joint.choose(plans, budget, sram, most)
        if chosen is not None:
            at_once = together(chosen[0], sram, flash, chosen[1])
            if at_once.layout is not None and not any(at_once.excesses()):
                return at_once
    for what, taken, most, remedy in found.excesses():
        raise InfeasibleError(
            f"{found.name}: together the networks take {taken:,} bytes of {what} with the best kernels of each, "
            f"{taken - most:,} more than the {most:,} given, and none were found that fit; {remedy} would do"
        )
    raise InfeasibleError(
        f"{found.name}: arena, stack and what the networks copy into RAM have no layout there together; a larger chip, "
        f"or {either('--ram-for-code 0', 'machine.with_ram(code=0)')}, would do"
    )


def left_together(mcu: Mcu, graphs: Sequence[Graph]) -> tuple[int, int]:
    """Bytes of flash and of SRAM that a stock project leaves to a library of networks: the test vectors and the states
    of all of them are the project's."""
    free = (mcu.memory("flash").size - mcu.setting.project_flash, mcu.sram.size - mcu.setting.project_ram)
    left = [left_by_project(mcu, graph) for graph in graphs]
    flash, sram = (max(whole - sum(whole - each[i] for each in left), 1) for i, whole in enumerate(free))
    return flash, sram


def together(plans: Sequence[NetworkPlan], sram: int, flash: int, chosen: Together | None = None) -> BundlePlan:
    """The bundle of networks that were compiled one by one, in this order, or ``chosen`` at once; constants of a
    network that one before has in the same place are that one's. InputError for fewer than two.
    """
    _demand_several(plans)
    name = identifier_of("_".join(plan.name for plan in plans))
    initialised = any(plan.has_init for plan in plans)
    known: dict[_Content, str] = {}
    at_home = []
    for plan in plans:
        own = [(_content(array, layer), array) for layer in plan.layers for array in layer.emitted.constants]
        same = {array.name: known[content] for content, array in own if content in known}
        for content, array in own:
            known.setdefault(content, array.name)
        layers = tuple(
            dataclasses.replace(layer, shared={a.name: same[a.name] for a in layer.emitted.constants if a.name in same})
            for layer in plan.layers
        )
        at_home.append(dataclasses.replace(plan, layers=layers, home=name, initialised=initialised))
    return BundlePlan(name, tuple(at_home), sram, flash, chosen)


def _content(array: Array, layer: LayerPlan) -> _Content:
    """What two arrays have in common that can be one."""
    return array.type, array.length, array.data, array.alignment, _home(layer, array)


def _home(layer: LayerPlan, array: Array) -> _Home:
    """Where a layer's array lies; of what is copied into RAM the flash has an image."""
    where = Where() if array.stays else layer.where
    return "outside" if where.outside else "RAM" if where.data else "flash"


def _in_one_arena(count: int, arena: int | None, alone: Callable[[int, int | None], NetworkPlan]) -> list[NetworkPlan]:
    """Each network's plan: ``alone``, or in the largest arena where that may be better."""
    found = [alone(number, arena) for number in range(count)]
    if arena is not None:
        return found
    room = max(plan.arena_bytes for plan in found)
    for number, plan in enumerate(found):
        gives_up = plan.within is None or any(other.arena_bytes > plan.arena_bytes for other in plan.neighbours)
        if plan.arena_bytes < room and gives_up:
            other = alone(number, room)
            found[number] = other if other.choice.price < plan.choice.price else plan
    return found


def _demand_several(networks: Sequence[object]) -> None:
    if len(networks) < 2:
        raise InputError("a library of several networks: give two or more")


def _names(graphs: Sequence[Graph], names: Sequence[str] | None) -> list[str]:
    """The networks' names as C identifiers; InputError unless there is one for each, and no other's."""
    _demand_several(graphs)
    if names is not None and len(names) != len(graphs):
        given = option("names", ["left", "right"])
        raise InputError(f"{counted(len(names), 'name')} for {len(graphs)} networks: give one for each, as in {given}")
    called = [identifier_of(name) for name in names or [graph.name for graph in graphs]]
    for name in called:
        if called.count(name) > 1:
            given = option("names", [f"{name}_{n}" if each == name else each for n, each in enumerate(called)])
            raise InputError(f"two networks are called {name}: give each a name of its own, as in {given}")
    return called
