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

from memaopt.choice import choice
from memaopt.choice.compile import compile_network
from memaopt.choice.least import compile_smallest
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.problem import left_by_project
from memaopt.errors import InfeasibleError, InputError
from memaopt.kernels.text.c import Array
from memaopt.machines.mcu import Mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.names import identifier_of
from memaopt.networks.streaming.window import Stream, streamed
from memaopt.problems.words import Objective


@dataclass(frozen=True, eq=False)
class BundlePlan:
    """Networks compiled for one library called ``name``: their ``plans``, each at home in it, and the bytes of SRAM and
    flash that all of them have together.
    """

    name: str
    plans: tuple[NetworkPlan, ...]
    sram: int
    flash: int

    @property
    def mcu(self) -> Mcu:
        return self.plans[0].mcu

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

    @cached_property
    def shared_bytes(self) -> int:
        """Constants that are another network's too, and there once."""
        return sum(array.nbytes for layer in self.layers for array in layer.emitted.constants if array.of)

    @property
    def constant_bytes(self) -> int:
        """Flash for weights, tables and parameters."""
        return sum(plan.constant_bytes for plan in self.plans) - self.shared_bytes

    @property
    def flash_bytes(self) -> int:
        """Constants and code, what is shared counted once."""
        overhead = sum(plan.budgets.flash_overhead for plan in self.plans)
        return choice.flash_bytes(self.layers, overhead) - self.shared_bytes


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
) -> BundlePlan:
    """Compile networks for one library with one arena.

    Without ``arena`` each is compiled by itself (``within`` as in :func:`~memaopt.choice.compile.compile_network`; with
    the objective ``ram`` for its least arena), the largest arena found is theirs, and those that could be better in it
    are compiled again. ``sram`` and ``flash`` are budgets of all together, by default what a stock project leaves. If
    flash is too small for all the best plans, one of them gets so much less, or all in proportion, whichever costs
    least: each is then the best in its share. ``streams``: the networks, by name, that run on a window that slides.
    Raises InputError for fewer than two networks, two of one name, a stream of none, or a machine that copies something
    into RAM, InfeasibleError if they do not fit.
    """
    models = [Model.read(each) if isinstance(each, str | Path) else each for each in networks]
    graphs = [each.graph if isinstance(each, Model) else each for each in models]
    called = _names(graphs, names)
    for name in streams:
        if name not in called:
            raise InputError(f"--stream {name}=...: no network is called {name}: there are {', '.join(called)}")
    if objective == "ram" and streams:
        raise InputError("--objective ram finds the least arena of whole runs: no --stream")
    graphs = [
        streamed(graph, streams[name])[0].graph if name in streams else graph
        for graph, name in zip(graphs, called, strict=True)
    ]
    if mcu.setting.code_in_ram or mcu.setting.constants_in_ram:
        raise InputError(
            f"setting {mcu.setting.name} copies code or constants into RAM, which one network's library does, and that "
            "of several does not: --ram-for-code 0 --ram-for-constants 0, or another --setting"
        )
    left = left_together(mcu, graphs)
    flash, sram = left[0] if flash is None else flash, left[1] if sram is None else sram

    def alone(number: int, share: int, arena: int | None) -> NetworkPlan:
        model, name = models[number], called[number]
        if objective == "ram" and arena is None:
            return compile_smallest(model, mcu, name=name, sram=sram, flash=share)
        goal = "cycles" if objective == "ram" else objective
        slack = None if arena is not None else within
        one = partial(compile_network, model, mcu, goal, name=name, within=slack, stream=streams.get(name))
        return one(sram=sram, flash=share, arena=arena)

    found = together(_in_one_arena([flash] * len(models), arena, alone), sram, flash)
    if found.flash_bytes > flash:
        tried = [
            together(plans, sram, flash)
            for shares in _shares(found)
            if (plans := _fitting(partial(_in_one_arena, shares, arena, alone))) is not None
        ]
        fitting = [each for each in tried if each.flash_bytes <= flash]
        found = min(fitting, key=lambda each: sum(plan.choice.price for plan in each.plans), default=found)
    room = sram - found.stack_bytes
    if arena is None and 0 < room < found.arena_bytes:
        budgets = {"sram": sram, "flash": flash, "arena": room}
        return compile_bundle(models, mcu, objective, names=called, streams=streams, **budgets)
    for what, taken, most, remedy in (
        ("flash", found.flash_bytes, flash, "a larger --flash, fewer networks or a larger chip"),
        ("SRAM for arena and stack", found.arena_bytes + found.stack_bytes, sram, "a larger --sram or a larger chip"),
    ):
        if taken > most:
            raise InfeasibleError(
                f"{found.name}: together the networks take {taken:,} bytes of {what}, {taken - most:,} more than the "
                f"{most:,} given; {remedy} would do"
            )
    return found


def left_together(mcu: Mcu, graphs: Sequence[Graph]) -> tuple[int, int]:
    """Bytes of flash and of SRAM that a stock project leaves to a library of networks: the test vectors and the states
    of all of them are the project's."""
    free = (mcu.memory("flash").size - mcu.setting.project_flash, mcu.sram.size - mcu.setting.project_ram)
    left = [left_by_project(mcu, graph) for graph in graphs]
    flash, sram = (max(whole - sum(whole - each[i] for each in left), 1) for i, whole in enumerate(free))
    return flash, sram


def together(plans: Sequence[NetworkPlan], sram: int, flash: int) -> BundlePlan:
    """The bundle of networks that were compiled one by one, in this order; constants of a network that one before has
    too are that one's."""
    name = identifier_of("_".join(plan.name for plan in plans))
    known: dict[tuple[str, int, bytes, int], str] = {}
    at_home = []
    for plan in plans:
        own = [array for layer in plan.layers for array in layer.emitted.constants]
        same = {array.name: known[_content(array)] for array in own if _content(array) in known}
        for array in own:
            known.setdefault(_content(array), array.name)
        layers = tuple(
            dataclasses.replace(layer, shared={a.name: same[a.name] for a in layer.emitted.constants if a.name in same})
            for layer in plan.layers
        )
        at_home.append(dataclasses.replace(plan, layers=layers, home=name))
    return BundlePlan(name, tuple(at_home), sram, flash)


def _content(array: Array) -> tuple[str, int, bytes, int]:
    """What two arrays have in common that can be one."""
    return array.type, array.length, array.data, array.alignment


def _in_one_arena(
    shares: Sequence[int], arena: int | None, alone: Callable[[int, int, int | None], NetworkPlan]
) -> list[NetworkPlan]:
    """Each network's plan for its share of flash: ``alone``, or in the largest arena where that may be better."""
    found = [alone(number, share, arena) for number, share in enumerate(shares)]
    if arena is not None:
        return found
    room = max(plan.arena_bytes for plan in found)
    for number, plan in enumerate(found):
        gives_up = plan.within is None or any(other.arena_bytes > plan.arena_bytes for other in plan.neighbours)
        if plan.arena_bytes < room and gives_up:
            other = alone(number, shares[number], room)
            found[number] = other if other.choice.price < plan.choice.price else plan
    return found


def _shares(bundle: BundlePlan) -> Iterator[list[int]]:
    """How flash may be parted that the best plans exceed: one network takes so much less, or all in proportion."""
    best = [plan.flash_bytes for plan in bundle.plans]
    for number, most in enumerate(best):
        if most > bundle.flash_bytes - bundle.flash:
            yield [*best[:number], most - (bundle.flash_bytes - bundle.flash), *best[number + 1 :]]
    yield [bundle.flash * each // bundle.flash_bytes for each in best]


def _fitting(compiled: Callable[[], list[NetworkPlan]]) -> list[NetworkPlan] | None:
    """What is compiled, None if it does not fit."""
    try:
        return compiled()
    except InfeasibleError:
        return None


def _names(graphs: Sequence[Graph], names: Sequence[str] | None) -> list[str]:
    """The networks' names as C identifiers; InputError unless there is one for each, and no other's."""
    if len(graphs) < 2:
        raise InputError("a library of several networks: give two or more")
    if names is not None and len(names) != len(graphs):
        raise InputError(f"{len(names)} names for {len(graphs)} networks: give one for each, as in --names left,right")
    called = [identifier_of(name) for name in names or [graph.name for graph in graphs]]
    for name in called:
        if called.count(name) > 1:
            given = ",".join(f"{name}_{number}" if each == name else each for number, each in enumerate(called))
            raise InputError(f"two networks are called {name}: give each a name of its own, as in --names {given}")
    return called
